import AgentProtocol
import CatalogBareMetal
import Primitives

/// Finds the name of a new machine.
public enum NodeNaming {
    /// The largest number in a name.
    public static let numberMax = 9999

    /// A name, and what is to be told of it.
    public struct Outcome: Hashable, Sendable {
        /// The name; a DNS label.
        public var name: String
        /// Why it is not the one that the rules give, or nil.
        public var note: String?
        /// The name with `{n}` in place of its number; nil when it has none.
        public var numbered: String?
    }

    /// The name that `decision` gives the machine with `inventory`; `otherwise` when it gives none that can be used.
    ///
    /// A number is the lowest that is free; `firstNumber` may tell of a name with `{n}` in place of its number that all
    /// lower ones are taken. A fixed name that another node has is followed by a number, and the note
    /// says so.
    public static func name(
        for decision: RuleDecision, inventory: InventoryReport, otherwise: String,
        firstNumber: (String) -> Int = { _ in 1 }, isTaken: (String) -> Bool
    ) -> Outcome {
        guard let text = decision.name else { return Outcome(name: free(otherwise, isTaken)) }
        let pattern: NamePattern
        do { pattern = try NamePattern(text) } catch {
            return Outcome(name: free(otherwise, isTaken), note: error.publicMessage)
        }
        var missing: [String] = []
        let pieces = pattern.parts.map { part -> String? in
            switch part {
            case .text(let text): return text
            case .number: return nil
            case .rack: return value(decision.rack.map { [$0] } ?? [], "rack", &missing)
            case .role: return value(decision.role.map { [$0.rawValue] } ?? [], "role", &missing)
            case .fact(let path): return value(RuleFacts.values(of: path, in: inventory), path.rawValue, &missing)
            }
        }
        guard missing.isEmpty else {
            return Outcome(
                name: free(otherwise, isTaken),
                note: "the name '\(text)' needs \(missing.joined(separator: " and ")), which "
                    + "\(missing.count == 1 ? "is" : "are") not known of this machine")
        }
        var width = 1
        for part in pattern.parts { if case .number(let digits) = part { width = digits } }
        func made(_ number: Int) -> String { pieces.map { $0 ?? padded(number, to: width) }.joined() }
        guard (try? DNSLabel(made(numberMax))) != nil else {
            return Outcome(
                name: free(otherwise, isTaken),
                note: "the name '\(text)' comes to '\(made(1).printable(limit: 80))', which is no name: more than 63 "
                    + "characters, or '-' at an end")
        }
        guard pattern.hasNumber else {
            let wanted = made(0)
            guard isTaken(wanted) else { return Outcome(name: wanted) }
            let name = free(wanted, isTaken)
            return Outcome(
                name: name,
                note: "the name '\(wanted)' belongs to another node, so it is '\(name)'; the rule should match one "
                    + "machine only, or have a place such as {n} in its name")
        }
        let numbered = pieces.map { $0 ?? "{n}" }.joined()
        for number in max(1, firstNumber(numbered))...max(numberMax, firstNumber(numbered)) {
            guard number <= numberMax else { break }
            let name = made(number)
            if !isTaken(name) { return Outcome(name: name, numbered: numbered) }
        }
        return Outcome(
            name: free(otherwise, isTaken), note: "the name '\(text)' has no free number up to \(numberMax) any more")
    }

    /// Whether `name` is one that `decision` can give the machine, with whatever number.
    public static func fits(_ name: String, _ decision: RuleDecision, _ inventory: InventoryReport) -> Bool {
        var tried = 0
        let outcome = self.name(for: decision, inventory: inventory, otherwise: "none") { candidate in
            tried += 1
            return candidate != name && tried < numberMax
        }
        return outcome.name == name
    }

    private static func value(_ values: [String], _ what: String, _ missing: inout [String]) -> String? {
        let slug = values.first.map(NamePattern.slug) ?? ""
        if slug.isEmpty { missing.append(what) }
        return slug
    }

    private static func padded(_ number: Int, to width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    private static func free(_ wanted: String, _ isTaken: (String) -> Bool) -> String {
        guard isTaken(wanted) else { return wanted }
        for number in 2...10_000 where !isTaken("\(wanted)-\(number)") { return "\(wanted)-\(number)" }
        return wanted
    }
}
