import Primitives

extension FederationAssertion {
    /// The claims of a verified token, under the names that Apache's mod_auth_openidc gives them as Keystone's guides
    /// set it up, so that mappings which were written for it go on to work: `OIDC-groups`, `HTTP_OIDC_GROUPS`, and the
    /// subject as `REMOTE_USER` too.
    ///
    /// A list of texts and numbers is a list of values; any other value is one, JSON where it has members. A text is never
    /// parted: what a user may write into their own name becomes no group.
    public init(claims: [String: JSONValue]) {
        var values: [String: [String]] = [:]
        var heads: [String: Int] = [:]
        for name in claims.keys { heads[Self.header(name), default: 0] += 1 }
        for (name, claim) in claims {
            guard let list = Self.values(claim) else { continue }
            values["OIDC-\(name)"] = list
            // Where two claims would have one name, neither has it.
            if heads[Self.header(name)] == 1 { values[Self.header(name)] = list }
        }
        if let subject = claims["sub"]?.string { values["REMOTE_USER"] = [subject] }
        self.init(values: values)
    }

    /// The name of a header of a request in CGI (RFC 3875 section 4.1.18).
    private static func header(_ name: String) -> String {
        "HTTP_OIDC_"
            + name.map { character in
                character.isASCII && (character.isLetter || character.isNumber) ? character.uppercased() : "_"
            }.joined()
    }

    private static func values(_ claim: JSONValue) -> [String]? {
        guard case .array(let elements) = claim else { return scalar(claim).map { [$0] } ?? json(claim) }
        let texts = elements.compactMap(scalar)
        return texts.count == elements.count ? texts : json(claim)
    }

    private static func json(_ claim: JSONValue) -> [String]? {
        claim == .null ? nil : [String(decoding: claim.text, as: UTF8.self)]
    }

    private static func scalar(_ claim: JSONValue) -> String? {
        switch claim {
        case .string(let text): text
        case .bool(let isTrue): isTrue ? "1" : "0"
        case .integer(let number): "\(number)"
        case .unsigned(let number): "\(number)"
        case .number(let number): "\(number)"
        case .null, .array, .object: nil
        }
    }
}
