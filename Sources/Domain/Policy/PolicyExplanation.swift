import Primitives

extension PolicyTable {
    /// Why `rule` lets `who` act on `target` or not: a line for the outcome, then the rule's tree, two spaces deeper
    /// with each level, and for each comparison whether it held and what was compared.
    public func explain(_ rule: String, _ who: PolicyCredentials, _ target: PolicyTarget) -> [String] {
        guard let found = rules[rule] else {
            return ["denied: there is no rule '\(rule.printable(limit: 80))'"]
        }
        let question = PolicyQuestion(rules: rules, who: who, target: target)
        var lines: [String] = []
        if found.admits(who.scope) {
            lines.append("\(question.holds(found.check) ? "allowed" : "denied") by \(rule)")
        } else {
            lines.append("denied: \(found.scopeReason(who.scope))")
        }
        question.explain(found.check, indent: 1, into: &lines)
        return lines
    }
}

extension PolicyQuestion {
    fileprivate func explain(_ check: PolicyCheck, indent: Int, into lines: inout [String]) {
        func add(_ text: String) {
            lines.append(String(repeating: "  ", count: indent) + (holds(check) ? "yes  " : "no   ") + text)
        }
        switch check {
        case .always: add("@ (everybody)")
        case .never: add("! (nobody)")
        case .role:
            let roles = who.roles.isEmpty ? "none" : who.roles.sorted().joined(separator: ", ").printable(limit: 200)
            add("\(check)  (roles: \(roles))")
        case .same(let left, let right):
            let sides = [told(left)] + members(of: right).map { "\($0) is \(told(target[$0]))" }
            add("\(check)  (\(sides.compactMap(\.self).joined(separator: ", ")))")
        case .rule(let name):
            add("\(check)")
            if let rule = rules[name] { explain(rule.check, indent: indent + 1, into: &lines) }
        case .not(let inner):
            add("not")
            explain(inner, indent: indent + 1, into: &lines)
        case .all(let checks):
            add("all of")
            for inner in checks { explain(inner, indent: indent + 1, into: &lines) }
        case .any(let checks):
            add("any of")
            for inner in checks { explain(inner, indent: indent + 1, into: &lines) }
        }
    }

    private func told(_ subject: PolicySubject) -> String? {
        guard case .attribute(let attribute) = subject else { return nil }
        return "\(attribute.rawValue) is \(told(attribute.value(of: who)))"
    }

    private func told(_ value: JSONValue?) -> String {
        switch value {
        case nil: "missing"
        case .array(let values)?: "[\(values.map(told).joined(separator: ", "))]"
        case .object?: "an object"
        case .string(let text)?: "'\(text.printable(limit: 80))'"
        case let value?: Compared(value)?.description ?? "missing"
        }
    }

    private func members(of text: PolicyText) -> [PolicyPath] {
        switch text {
        case .text, .null: []
        case .target(let path): [path]
        case .joined(let pieces): pieces.flatMap(members)
        }
    }
}
