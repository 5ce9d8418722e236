/// Why the rules say what they say of a machine: how each was held against it, in their order.
public struct RuleExplanation: Codable, Sendable, Hashable {
    /// The rules in the order in which they were tried.
    public var rules: [Trial]
    /// What contradicts, one sentence each: two rules of one order that both match and give different values.
    public var conflicts: [String]
    /// The rules that fail in one fact only, one sentence each; at most `nearMissCountMax`.
    public var nearMisses: [String]

    /// The most near misses that are told.
    public static let nearMissCountMax = 8

    /// An explanation.
    public init(rules: [Trial] = [], conflicts: [String] = [], nearMisses: [String] = []) {
        self.rules = rules
        self.conflicts = conflicts
        self.nearMisses = nearMisses
    }

    /// One rule.
    public struct Trial: Codable, Sendable, Hashable {
        /// The rule's name.
        public var rule: String
        /// Its order; lower comes first.
        public var order: Int
        /// Whether all its facts hold.
        public var matches: Bool
        /// Its facts.
        public var facts: [FactTrial]
        /// What it gives, and what became of that; empty when it does not match.
        public var gives: [Gift]

        /// A trial.
        public init(rule: String, order: Int, matches: Bool, facts: [FactTrial], gives: [Gift] = []) {
            self.rule = rule
            self.order = order
            self.matches = matches
            self.facts = facts
            self.gives = gives
        }
    }

    /// One fact of a rule.
    public struct FactTrial: Codable, Sendable, Hashable {
        /// The fact, for example `system.serial`.
        public var path: String
        /// What the rule asks for, for example `at least 8 GiB`.
        public var wanted: String
        /// What the machine has, at most the first 8 values; empty when it does not tell.
        public var found: [String]
        /// Whether it holds.
        public var holds: Bool

        /// A fact that was compared.
        public init(path: String, wanted: String, found: [String], holds: Bool) {
            self.path = path
            self.wanted = wanted
            self.found = found
            self.holds = holds
        }
    }

    /// One thing that a rule gives.
    public struct Gift: Codable, Sendable, Hashable {
        /// For example `name` or `root disk`.
        public var field: String
        /// Its value.
        public var value: String
        /// What became of it.
        public var outcome: Outcome
        /// The other rule: the one that decided before, or that contradicts.
        public var other: String?

        /// What became of a gift.
        public enum Outcome: String, Codable, Sendable, Hashable {
            /// It holds.
            case decides
            /// A rule before it gives the same.
            case repeats
            /// A rule before it gives something else, which holds.
            case overruled
            /// A rule of the same order gives something else, so nothing holds.
            case conflicts
        }

        /// A gift.
        public init(field: String, value: String, outcome: Outcome, other: String? = nil) {
            self.field = field
            self.value = value
            self.outcome = outcome
            self.other = other
        }
    }

    /// The gifts that hold, with the rule that each came from.
    public var decided: [(field: String, value: String, rule: String)] {
        rules.flatMap { trial in
            trial.gives.filter { $0.outcome == .decides }.map { ($0.field, $0.value, trial.rule) }
        }
    }

    /// One line a rule, for people.
    public var lines: [String] {
        rules.map { trial in
            guard trial.matches else { return "rule \(trial.rule) does not match: \(trial.misses)" }
            let decided = trial.gives.filter { $0.outcome == .decides }.map(\.field)
            return "rule \(trial.rule) matches and decides "
                + (decided.isEmpty ? "nothing new" : decided.joined(separator: ", "))
        }
    }
}

extension RuleExplanation.Trial {
    /// The facts that do not hold, for people.
    public var misses: String { facts.filter { !$0.holds }.map(\.description).joined(separator: "; ") }
}

extension RuleExplanation.FactTrial: CustomStringConvertible {
    /// For example `system.serial is 'SRV-2' (found SRV-1)`.
    public var description: String {
        "\(path) \(wanted) (found \(found.isEmpty ? "nothing" : found.joined(separator: ", ")))"
    }
}
