import CatalogIdentity

extension ValidToken {
    /// Whether it may make a request; only tokens of application credentials with access rules are bounded.
    ///
    /// In a rule's path `{name}` and `*` stand for one part and `**` for any number (Keystone API v3, "Access rules").
    public func mayRequest(_ method: String, _ path: String, ofService type: String) -> Bool {
        guard let accessRules else { return true }
        return accessRules.contains { rule in
            rule.spec.service == type && rule.spec.method == method
                && Self.fits(rule.spec.path.split(separator: "/")[...], path.split(separator: "/")[...])
        }
    }

    private static func fits(_ pattern: ArraySlice<Substring>, _ path: ArraySlice<Substring>) -> Bool {
        // `reached` says for each length of the path whether the pattern so far fits that much of it.
        let parts = Array(path)
        var reached = [true] + parts.map { _ in false }
        for part in pattern {
            var next = reached.map { _ in false }
            for length in reached.indices {
                if part == "**" {
                    next[length] = reached[length] || (length > 0 && next[length - 1])
                } else if length > 0, reached[length - 1] {
                    next[length] = part == "*" || (part.first == "{" && part.last == "}") || part == parts[length - 1]
                }
            }
            reached = next
        }
        return reached[parts.count]
    }
}
