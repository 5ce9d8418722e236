/// Reads one check, a word without white space: `@`, `!` or `left:right`.
struct PolicyWordReader {
    private let characters: [Character]
    private let position: Int
    private let rule: String?

    /// A reader of `text`, which stands at the 1-based character `position` of the check of `rule`.
    init(_ text: String, position: Int, rule: String?) {
        characters = Array(text)
        self.position = position
        self.rule = rule
    }

    func read() throws(PolicyError) -> PolicyCheck {
        if characters == ["@"] { return .always }
        if characters == ["!"] { return .never }
        let colon = try colon()
        let kind = String(characters[..<colon])
        let rest = characters[(colon + 1)...]
        guard !rest.isEmpty else { throw error(at: colon + 1, "something to compare with after '\(kind):'") }
        switch kind {
        case "rule": return .rule(try name(rest))
        case "role": return .role(try text(rest))
        case "http", "https": throw error(at: 0, "a check that is decided here; rules cannot ask another server")
        default: return .same(try subject(kind), try text(rest))
        }
    }

    private func error(at index: Int, _ expected: String) -> PolicyError {
        PolicyError(rule: rule, .syntax(position: position + index, expected: expected))
    }

    /// Where the left side ends: at the first colon outside its quotes.
    private func colon() throws(PolicyError) -> Int {
        if let quote = characters.first, quote == "'" || quote == "\"" {
            guard let closing = characters.dropFirst().firstIndex(of: quote) else {
                throw error(at: characters.count, "the closing \(quote); a quoted text has no white space")
            }
            guard closing + 1 < characters.count, characters[closing + 1] == ":" else {
                throw error(at: closing + 1, "':' and what to compare with, such as 'manager':%(target.role.name)s")
            }
            return closing + 1
        }
        guard let colon = characters.firstIndex(of: ":"), colon > 0 else {
            throw error(at: 0, "a check such as role:admin, rule:owner or user_id:%(target.user.id)s")
        }
        return colon
    }

    private func name(_ rest: ArraySlice<Character>) throws(PolicyError) -> String {
        if let bad = rest.firstIndex(where: { "%()'\"".contains($0) }) { throw error(at: bad, "a rule's name") }
        return String(rest)
    }

    private func subject(_ kind: String) throws(PolicyError) -> PolicySubject {
        switch kind {
        case "None": return .null
        case "True", "False": return .text(kind)
        default: break
        }
        if kind.hasPrefix("'") || kind.hasPrefix("\"") {
            if let bad = characters.firstIndex(of: "\\") { throw error(at: bad, "a text without '\\'") }
            return .text(String(kind.dropFirst().dropLast()))
        }
        if Int(kind) != nil { return .text(kind) }
        guard let attribute = PolicyAttribute(rawValue: kind) else {
            let known = PolicyAttribute.allCases.map(\.rawValue).joined(separator: ", ")
            throw error(at: 0, "role, rule, a constant, or an attribute of the caller (\(known))")
        }
        return .attribute(attribute)
    }

    /// The right side: text with `%(name)s` for members of the target and `%%` for a percent sign.
    private func text(_ rest: ArraySlice<Character>) throws(PolicyError) -> PolicyText {
        if rest == ["N", "o", "n", "e"] { return .null }
        var pieces: [PolicyText] = []
        var plain = ""
        var index = rest.startIndex
        while index < rest.endIndex {
            let character = rest[index]
            if "()'\"".contains(character) {
                throw error(at: index, "white space before '\(character)'; quotes and parentheses end a check")
            }
            guard character == "%" else {
                plain.append(character)
                index += 1
                continue
            }
            if rest[index...].starts(with: ["%", "%"]) {
                plain.append("%")
                index += 2
                continue
            }
            if !plain.isEmpty { pieces.append(.text(plain)) }
            plain = ""
            let (path, next) = try reference(rest, at: index)
            pieces.append(.target(path))
            index = next
        }
        if !plain.isEmpty { pieces.append(.text(plain)) }
        return pieces.count == 1 ? pieces[0] : .joined(pieces)
    }

    /// `%(name)s` at `start`, and where it ends.
    private func reference(
        _ rest: ArraySlice<Character>, at start: Int
    ) throws(PolicyError) -> (path: PolicyPath, next: Int) {
        let form = "%(name)s, with a member of the target such as target.user.id"
        guard rest[start...].starts(with: ["%", "("]), let close = rest[start...].firstIndex(of: ")"),
            close + 1 < rest.endIndex, rest[close + 1] == "s"
        else { throw error(at: start, form) }
        let path = PolicyPath(String(rest[(start + 2)..<close]))
        guard path.parts.allSatisfy({ !$0.isEmpty && !$0.contains(where: { "%('\"".contains($0) }) }) else {
            throw error(at: start + 2, form)
        }
        return (path, close + 2)
    }
}
