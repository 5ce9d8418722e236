import Primitives

/// A text of a mapping's `local` part, in which `{0}`, `{1}`… stand for the values of the `remote` part.
///
/// It is the part of Python's format strings that mappings use, and no more of it: no attributes, no indices of
/// values. Braces are written twice.
struct MappingTemplate: Sendable, Hashable {
    private enum Part: Sendable, Hashable {
        case text(String)
        case value(Int)
    }

    private var parts: [Part] = []

    /// A text that is taken as it is.
    init(literal text: String) { parts = [.text(text)] }

    /// Reads a template; nil when its braces are wrong.
    init?(_ text: String) {
        var rest = Substring(text)
        var literal = ""
        while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            literal += rest[..<brace]
            let after = rest.index(after: brace)
            if after < rest.endIndex, rest[after] == rest[brace] {
                literal.append(rest[brace])
                rest = rest[rest.index(after: after)...]
                continue
            }
            guard rest[brace] == "{", let end = rest[after...].firstIndex(of: "}"), rest[after..<end].count <= 3,
                rest[after..<end].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let index = Int(rest[after..<end])
            else { return nil }
            if !literal.isEmpty { parts.append(.text(literal)) }
            literal = ""
            parts.append(.value(index))
            rest = rest[rest.index(after: end)...]
        }
        literal += rest
        if !literal.isEmpty { parts.append(.text(literal)) }
    }

    /// The text with `values`. Of several values at one place it has a list as Python writes it, which is what Keystone
    /// does; of none nothing can be made.
    func text(_ values: [[String]]) throws(MappingError) -> String {
        var text = ""
        for part in parts {
            switch part {
            case .text(let literal): text += literal
            case .value(let index):
                guard values.indices.contains(index), !values[index].isEmpty else { throw .missingValue("{\(index)}") }
                text += values[index].count == 1 ? values[index][0] : PythonList.text(values[index])
            }
            guard text.utf8.count <= FederationAssertion.sizeMax else { throw .tooLarge }
        }
        return text
    }

    /// The texts for a list: all values of a single reference, the entries of a list that the mapping itself spells
    /// out, or one text. What a provider says is never read as a list.
    func list(_ values: [[String]]) throws(MappingError) -> [String] {
        if parts.count == 1, case .value(let index) = parts[0] {
            guard values.indices.contains(index) else { throw .missingValue("{\(index)}") }
            return values[index]
        }
        let text = try text(values)
        guard parts.count == 1, case .text = parts[0] else { return [text] }
        return PythonList.texts(text) ?? [text]
    }
}

/// Lists of texts as Python writes them.
enum PythonList {
    /// For example `['a', 'b']`.
    static func text(_ texts: [String]) -> String {
        let quoted = texts.map { text in
            let quote = text.contains("'") && !text.contains("\"") ? "\"" : "'"
            var escaped = ""
            for character in text {
                switch character {
                case "\\": escaped += "\\\\"
                case "'" where quote == "'": escaped += "\\'"
                case "\n": escaped += "\\n"
                case "\r": escaped += "\\r"
                case "\t": escaped += "\\t"
                default: escaped.append(character)
                }
            }
            return quote + escaped + quote
        }
        return "[\(quoted.joined(separator: ", "))]"
    }

    /// Reads such a list; nil when `text` is none.
    static func texts(_ text: String) -> [String]? {
        var rest = text.drop(while: \.isWhitespace)
        guard rest.popFirst() == "[" else { return nil }
        var texts: [String] = []
        while true {
            rest = rest.drop(while: \.isWhitespace)
            if rest.first == "]" { break }
            guard let entry = quoted(&rest) else { return nil }
            texts.append(entry)
            rest = rest.drop(while: \.isWhitespace)
            guard rest.first == "," else { break }
            rest.removeFirst()
        }
        guard rest.popFirst() == "]", rest.allSatisfy(\.isWhitespace) else { return nil }
        return texts
    }

    private static func quoted(_ rest: inout Substring) -> String? {
        guard let quote = rest.popFirst(), quote == "'" || quote == "\"" else { return nil }
        var text = ""
        while let character = rest.popFirst() {
            if character == quote { return text }
            guard character == "\\" else {
                text.append(character)
                continue
            }
            switch rest.popFirst() {
            case nil: return nil
            case "n": text.append("\n")
            case "r": text.append("\r")
            case "t": text.append("\t")
            case let escaped?: text.append(escaped)
            }
        }
        return nil
    }
}
