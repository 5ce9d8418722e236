import Primitives

/// A name that a rule gives, with places for what tells machines apart, for example `compute-{rack}-{nn}` or
/// `node-{system.serial}`.
///
/// `{n}` is the lowest number from 1 that no other node's name has in this place, `{nn}` and `{nnn}` the same with
/// zeros before it; `{rack}` and `{role}` are what the rules give; every other place is a fact with one value. Values
/// become lowercase, and what a name cannot have becomes `-`.
public struct NamePattern: Hashable, Sendable {
    /// A part of it.
    public enum Part: Hashable, Sendable {
        /// As it stands.
        case text(String)
        /// The number, with at least this many digits.
        case number(width: Int)
        /// The rack.
        case rack
        /// The role.
        case role
        /// A fact of the machine.
        case fact(FactPath)
    }

    /// The parts in their order.
    public let parts: [Part]

    /// Whether it has a number, so that it gives each machine another name.
    public var hasNumber: Bool {
        parts.contains { part in if case .number = part { true } else { false } }
    }

    /// Reads `text`; throws `InvalidValue` for what can never become a DNS label.
    public init(_ text: String) throws(InvalidValue) {
        func wrong(_ expected: String) -> InvalidValue { InvalidValue("node name", text, expected: expected) }
        guard (1...120).contains(text.utf8.count) else { throw wrong("1 to 120 bytes") }
        var parts: [Part] = []
        var rest = text[...]
        while let open = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            guard rest[open] == "{", let close = rest[open...].firstIndex(of: "}") else {
                throw wrong("each '{' with a '}' after it")
            }
            if open > rest.startIndex { parts.append(.text(String(rest[..<open]))) }
            let place = String(rest[rest.index(after: open)..<close])
            guard let part = Self.part(place) else {
                throw wrong("{n}, {nn}, {nnn}, {rack}, {role} or a fact with one value such as {system.serial}")
            }
            parts.append(part)
            rest = rest[rest.index(after: close)...]
        }
        if !rest.isEmpty { parts.append(.text(String(rest))) }
        let numbers = parts.count { part in if case .number = part { true } else { false } }
        guard numbers <= 1 else { throw wrong("at most one number") }
        self.parts = parts
        // What stands for a value is a letter here: only the fixed text is checked.
        let sample = parts.map { part in if case .text(let text) = part { text } else { "x" } }.joined()
        _ = try DNSLabel(sample, as: "node name")
    }

    private static func part(_ place: String) -> Part? {
        switch place {
        case "n", "nn", "nnn", "nnnn": return .number(width: place.count)
        case "rack": return .rack
        case "role": return .role
        default:
            guard let path = FactPath(rawValue: place), !path.isList else { return nil }
            return .fact(path)
        }
    }

    /// `text` as a part of a name: lowercase, each run of what a name cannot have one `-`, none at either end.
    public static func slug(_ text: String) -> String {
        var result = ""
        for scalar in text.lowercased().unicodeScalars {
            let isPlain = ("a"..."z").contains(scalar) || ("0"..."9").contains(scalar)
            if isPlain {
                result.unicodeScalars.append(scalar)
            } else if !result.isEmpty, !result.hasSuffix("-") {
                result += "-"
            }
        }
        if result.hasSuffix("-") { result.removeLast() }
        return result
    }
}
