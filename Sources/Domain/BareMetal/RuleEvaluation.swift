import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// What the rules say of a machine.
public struct RuleDecision: Hashable, Sendable {
    /// The name it shall have, or the pattern for it; see `NamePattern`.
    public var name: String?
    /// The role it shall do.
    public var role: Role?
    /// The rack it stands in.
    public var rack: String?
    /// The disk that its image goes to.
    public var rootDisk: RootDiskHint?
    /// The disks of its pool.
    public var dataDisks: DataDisks?
    /// Its BMC, by name.
    public var bmc: String?
    /// Its node network, by name.
    public var network: String?
    /// Its bill of materials, by name.
    public var sku: String?
    /// The rule that lets it in without an operator; nil: none does, or the rules contradict each other.
    public var approvedBy: String?
    /// What contradicts, one sentence each; none of the fields concerned is decided.
    public var conflicts: [String] = []

    /// Nothing is decided.
    public init() {}

    /// What keeps the machine with `inventory` from being let in: that the rules contradict each other, or that it is not
    /// what its bill of materials says. `sku` is the bill that its node names already.
    public func blocks(sku: String? = nil, among skus: [SKU], _ inventory: InventoryReport) -> [Node.Block] {
        let conflicts = conflicts.map { Node.Block(kind: .rules, message: $0) }
        let differences = BillOfMaterials.blocks(sku: sku ?? self.sku, among: skus, inventory)
        return Array((conflicts + differences).prefix(Node.Block.countMax))
    }
}

/// Something that rules give, each at most once: how it is read, told and taken over.
struct RuleField {
    /// What people call it.
    let name: String
    /// Its value as people read it; nil: the rule does not give it.
    let text: (Rule.Spec) -> String?
    let isSame: (Rule.Spec, Rule.Spec) -> Bool
    let take: (Rule.Spec, inout RuleDecision) -> Void

    init<Value: Equatable>(
        _ name: String, _ rule: KeyPath<Rule.Spec, Value?>, _ decision: WritableKeyPath<RuleDecision, Value?>,
        text: @escaping (Value) -> String
    ) {
        self.name = name
        self.text = { $0[keyPath: rule].map(text) }
        isSame = { $0[keyPath: rule] == $1[keyPath: rule] }
        take = { $1[keyPath: decision] = $0[keyPath: rule] }
    }

    /// Every field; another thing that rules give is a line here.
    static var all: [RuleField] {
        [
            RuleField("name", \.name, \.name) { $0 },
            RuleField("role", \.role, \.role) { $0.rawValue },
            RuleField("rack", \.rack, \.rack) { $0 },
            RuleField("root disk", \.rootDisk, \.rootDisk) { "\($0)" },
            RuleField("data disks", \.dataDisks, \.dataDisks) { $0.all ? "all" : "\($0.matches.count) matches" },
            RuleField("bmc", \.bmc, \.bmc) { $0 },
            RuleField("network", \.network, \.network) { $0 },
            RuleField("sku", \.sku, \.sku) { $0 },
        ]
    }
}

/// Holds rules against an inventory; pure, so that the same machine and rules always give the same answer.
public enum RuleEvaluation {
    /// What `rules` say of the machine with `inventory`, and why.
    ///
    /// Rules are tried by order, then name. Of those that match, the ones of the lowest order that give a field decide
    /// it; when they give different values, the field is not decided and a conflict is told. The first that matches
    /// and approves lets the machine in, unless there is a conflict. A fact that the machine does not tell holds for
    /// `exists: false` only.
    public static func evaluate(
        rules: [Rule], inventory: InventoryReport
    ) -> (decision: RuleDecision, explanation: RuleExplanation) {
        let sorted = rules.sorted { ($0.spec.order, $0.metadata.name) < ($1.spec.order, $1.metadata.name) }
        var explanation = RuleExplanation()
        for rule in sorted {
            let facts = rule.spec.match.map { RuleFacts.trial(of: $0, on: inventory) }
            explanation.rules.append(
                RuleExplanation.Trial(
                    rule: rule.metadata.name, order: rule.spec.order, matches: facts.allSatisfy(\.holds), facts: facts))
        }
        var decision = RuleDecision()
        let matching = sorted.indices.filter { explanation.rules[$0].matches }
        for field in RuleField.all { decide(field, sorted, matching, &decision, &explanation) }
        let approving = matching.filter { sorted[$0].spec.approves }
        if let first = approving.first, decision.conflicts.isEmpty {
            decision.approvedBy = sorted[first].metadata.name
        }
        for index in approving {
            let first = sorted[approving[0]].metadata.name
            let outcome: RuleExplanation.Gift.Outcome =
                index != approving[0] ? .repeats : decision.conflicts.isEmpty ? .decides : .conflicts
            explanation.rules[index].gives.append(
                .init(
                    field: "approval", value: "lets it in", outcome: outcome,
                    other: outcome == .repeats ? first : nil))
        }
        explanation.conflicts = decision.conflicts
        explanation.nearMisses = nearMisses(sorted, explanation.rules, inventory)
        return (decision, explanation)
    }

    private static func decide(
        _ field: RuleField, _ rules: [Rule], _ matching: [Int], _ decision: inout RuleDecision,
        _ explanation: inout RuleExplanation
    ) {
        let giving = matching.filter { field.text(rules[$0].spec) != nil }
        guard let first = giving.first else { return }
        let rule = rules[first]
        let equals = giving.filter { rules[$0].spec.order == rule.spec.order }
        let different = equals.first { !field.isSame(rules[$0].spec, rule.spec) }
        if let different, let one = field.text(rule.spec), let other = field.text(rules[different].spec) {
            decision.conflicts.append(
                "the rules '\(rule.metadata.name)' and '\(rules[different].metadata.name)' have the same order "
                    + "\(rule.spec.order) and give different values of \(field.name): '\(one)' and '\(other)'; "
                    + "give one of them a lower order")
        } else {
            field.take(rule.spec, &decision)
        }
        for index in giving {
            let isSame = field.isSame(rules[index].spec, rule.spec)
            let outcome: RuleExplanation.Gift.Outcome
            var other: String? = rule.metadata.name
            if different != nil, equals.contains(index) {
                outcome = .conflicts
                other = index == first ? different.map { rules[$0].metadata.name } : rule.metadata.name
            } else if index == first {
                outcome = .decides
                other = nil
            } else {
                outcome = isSame && different == nil ? .repeats : .overruled
            }
            explanation.rules[index].gives.append(
                .init(field: field.name, value: field.text(rules[index].spec) ?? "", outcome: outcome, other: other))
        }
    }

    /// Rules that fail in one fact only and hold in another, or whose only fact is all but met.
    private static func nearMisses(
        _ rules: [Rule], _ trials: [RuleExplanation.Trial], _ inventory: InventoryReport
    ) -> [String] {
        var misses: [String] = []
        for (rule, trial) in zip(rules, trials) where !trial.matches {
            let failing = trial.facts.indices.filter { !trial.facts[$0].holds }
            guard failing.count == 1, misses.count < RuleExplanation.nearMissCountMax else { continue }
            let fact = rule.spec.match[failing[0]]
            let found = FactPath(rawValue: fact.path).map { RuleFacts.values(of: $0, in: inventory) } ?? []
            guard trial.facts.count > 1 || RuleFacts.isClose(fact, found: found) else { continue }
            misses.append("rule \(trial.rule) would match but for \(trial.misses)")
        }
        return misses
    }
}
