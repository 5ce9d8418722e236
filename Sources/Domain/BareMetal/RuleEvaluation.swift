import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// What the rules say of a machine.
public struct RuleDecision: Hashable, Sendable {
    /// The name it shall have.
    public var name: String?
    /// The role it shall do.
    public var role: Role?
    /// The disk that its image goes to.
    public var rootDisk: RootDiskHint?
    /// Its BMC, by name.
    public var bmc: String?
    /// Its node network, by name.
    public var network: String?
    /// The rule that lets it in without an operator; nil: none does.
    public var approvedBy: String?

    /// Nothing is decided.
    public init() {}
}

/// Why the rules say it: how each was held against the machine, in their order.
public struct RuleExplanation: Hashable, Sendable {
    /// The rules in the order in which they were tried.
    public var rules: [Trial]

    /// One rule.
    public struct Trial: Hashable, Sendable {
        /// The rule's name.
        public var rule: String
        /// Whether all its facts hold.
        public var matches: Bool
        /// Its facts.
        public var facts: [FactTrial]
        /// What it decided, for example `name` and `role`; empty when earlier rules had decided all.
        public var decided: [String]
    }

    /// One fact of a rule.
    public struct FactTrial: Hashable, Sendable {
        /// What the rule asks for.
        public var fact: Rule.Fact
        /// What the machine has, at most the first 8 values; empty when it does not tell.
        public var found: [String]
        /// Whether it holds.
        public var holds: Bool
    }

    /// One line a rule, for people.
    public var lines: [String] {
        rules.map { trial in
            if trial.matches {
                let decided = trial.decided.isEmpty ? "nothing new" : trial.decided.joined(separator: ", ")
                return "rule \(trial.rule) matches and decides \(decided)"
            }
            let misses = trial.facts.filter { !$0.holds }.map { miss in
                let found = miss.found.isEmpty ? "nothing" : miss.found.joined(separator: ", ")
                return "\(miss.fact.path) \(miss.fact.comparison.rawValue) '\(miss.fact.value)' (found \(found))"
            }
            return "rule \(trial.rule) does not match: \(misses.joined(separator: "; "))"
        }
    }
}

/// Holds rules against an inventory; pure, so that the same machine and rules always give the same answer.
public enum RuleEvaluation {
    /// What `rules` say of the machine with `inventory`, and why.
    ///
    /// Rules are tried by order, then name. Each that matches decides what no earlier one has; the first that matches
    /// and approves lets the machine in. A fact that the machine does not tell never holds, whatever the comparison.
    public static func evaluate(
        rules: [Rule], inventory: InventoryReport
    ) -> (decision: RuleDecision, explanation: RuleExplanation) {
        var decision = RuleDecision()
        var trials: [RuleExplanation.Trial] = []
        let sorted = rules.sorted { ($0.spec.order, $0.metadata.name) < ($1.spec.order, $1.metadata.name) }
        for rule in sorted {
            let facts = rule.spec.match.map { fact in
                let found = values(of: fact.path, in: inventory)
                return RuleExplanation.FactTrial(
                    fact: fact, found: Array(found.prefix(8)), holds: holds(fact, found: found))
            }
            var trial = RuleExplanation.Trial(
                rule: rule.metadata.name, matches: facts.allSatisfy(\.holds), facts: facts, decided: [])
            if trial.matches { trial.decided = decide(rule, &decision) }
            trials.append(trial)
        }
        return (decision, RuleExplanation(rules: trials))
    }

    private static func decide(_ rule: Rule, _ decision: inout RuleDecision) -> [String] {
        var decided: [String] = []
        func take<Value>(_ field: String, _ value: Value?, _ target: WritableKeyPath<RuleDecision, Value?>) {
            guard let value, decision[keyPath: target] == nil else { return }
            decision[keyPath: target] = value
            decided.append(field)
        }
        take("name", rule.spec.name, \.name)
        take("role", rule.spec.role, \.role)
        take("root disk", rule.spec.rootDisk, \.rootDisk)
        take("bmc", rule.spec.bmc, \.bmc)
        take("network", rule.spec.network, \.network)
        take("approval", rule.spec.approves ? rule.metadata.name : nil, \.approvedBy)
        return decided
    }

    /// Whether `fact` holds of the values `found`: of none for `notEquals`, of any for the others.
    static func holds(_ fact: Rule.Fact, found: [String]) -> Bool {
        guard let path = FactPath(rawValue: fact.path), !found.isEmpty else { return false }
        let wanted = normal(fact.value, path)
        switch fact.comparison {
        case .equals: return found.contains { normal($0, path) == wanted }
        case .notEquals: return found.allSatisfy { normal($0, path) != wanted }
        case .hasPrefix: return found.contains { normal($0, path).hasPrefix(wanted) }
        case .atLeast, .atMost:
            guard path.isNumber, let limit = UInt64(fact.value) else { return false }
            return found.compactMap(UInt64.init).contains { fact.comparison == .atLeast ? $0 >= limit : $0 <= limit }
        }
    }

    private static func normal(_ value: String, _ path: FactPath) -> String {
        path == .systemUUID || path == .nicMAC ? value.lowercased() : value
    }

    private static func values(of path: String, in inventory: InventoryReport) -> [String] {
        guard let path = FactPath(rawValue: path) else { return [] }
        let system = inventory.system
        func one(_ value: String?) -> [String] { value.map { [$0] } ?? [] }
        switch path {
        case .systemSerial: return one(system.serial)
        case .systemUUID: return one(system.uuid)
        case .systemVendor: return one(system.vendor)
        case .systemProduct: return one(system.product)
        case .boardSerial: return one(system.boardSerial)
        case .chassisSerial: return one(system.chassisSerial)
        case .firmwareMode: return [system.firmwareMode.rawValue]
        case .cpuArchitecture: return [inventory.cpu.architecture]
        case .cpuModel: return one(inventory.cpu.model)
        case .cpuThreads: return [String(inventory.cpu.threads)]
        case .memoryBytes: return [String(inventory.memory.total.bytes)]
        case .diskCount: return [String(inventory.disks.count)]
        case .diskSerial: return inventory.disks.compactMap(\.serial)
        case .diskBytes: return inventory.disks.map { String($0.size.bytes) }
        case .nicCount: return [String(inventory.nics.count)]
        case .nicMAC: return inventory.nics.map { ($0.permanentMAC ?? $0.mac).description }
        case .virtualization: return one(inventory.virtualization)
        }
    }
}
