import AgentProtocol
import BareMetal
import CatalogBareMetal
import FleetContract
import Primitives

/// What the rules say of one machine, and how that compares with its node; pure.
struct RuleJudgement {
    let inventory: InventoryReport
    let decision: RuleDecision
    let explanation: RuleExplanation
    /// What keeps the machine from being let in.
    let blocks: [Node.Block]

    /// `sku` is the bill of materials that its node names already.
    init(rules: [Rule], skus: [SKU], sku: String? = nil, inventory: InventoryReport) {
        self.inventory = inventory
        (decision, explanation) = RuleEvaluation.evaluate(rules: rules, inventory: inventory)
        blocks = decision.blocks(sku: sku, among: skus, inventory)
    }

    /// The rule that decides a field, with the field's value.
    private func gift(_ field: String) -> (value: String, rule: String)? {
        explanation.decided.first { $0.field == field }.map { ($0.value, $0.rule) }
    }

    /// The name that a machine which nobody has named gets.
    static func nameOfNobody(_ inventory: InventoryReport) -> String {
        Registrar.defaultName(IdentityFusion.claim(of: inventory))
    }

    /// The name that the rules give it now.
    func naming(isTaken: (String) -> Bool) -> NodeNaming.Outcome {
        NodeNaming.name(
            for: decision, inventory: inventory, otherwise: Self.nameOfNobody(inventory), isTaken: isTaken)
    }

    // MARK: Fields

    /// Where the fields of `node` came from.
    func fields(of node: Node) -> [ExplainReply.Field] {
        let spec = node.spec
        var fields = [name(of: node)]
        func add(_ name: String, _ value: String?) {
            fields.append(.init(field: name, value: value, source: source(name, value)))
        }
        add("role", spec.role?.rawValue)
        add("rack", spec.rack)
        add("root disk", spec.rootDisk == RootDiskHint() ? nil : "\(spec.rootDisk)")
        let found = node.status.identity.bmc
        if spec.bmc == nil, let found {
            fields.append(
                .init(field: "bmc", value: found, source: "found: that BMC's machine has the same SMBIOS UUID"))
        } else {
            add("bmc", spec.bmc)
        }
        add("network", spec.network)
        add("sku", spec.sku)
        if let approval = spec.approval {
            fields.append(.init(field: "approval", value: "let in", source: approval.by))
        } else {
            let rule = gift("approval").map { "rule \($0.rule) lets such machines in when they are seen first" }
            fields.append(
                .init(field: "approval", value: nil, source: rule ?? "no rule lets it in: an operator has to"))
        }
        return fields
    }

    private func name(of node: Node) -> ExplainReply.Field {
        let name = node.spec.name
        let source: String
        if let gift = gift("name") {
            source =
                NodeNaming.fits(name, decision, inventory)
                ? "rule \(gift.rule)" + (gift.value == name ? "" : ", '\(gift.value)'")
                : "an operator or an earlier site file; rule \(gift.rule) gives '\(gift.value)' now"
        } else if name == Self.nameOfNobody(inventory) {
            source = "its own marks: no rule names it"
        } else {
            source = "an operator or an earlier site file"
        }
        return .init(field: "name", value: name, source: source)
    }

    private func source(_ field: String, _ value: String?) -> String {
        let gift = gift(field)
        let isContested = explanation.rules.contains { trial in
            trial.gives.contains { $0.field == field && $0.outcome == .conflicts }
        }
        switch (value, gift) {
        case (nil, nil): return isContested ? "nothing: rules contradict each other" : "no rule gives it"
        case (nil, let gift?):
            return "nothing yet: rule \(gift.rule) gives '\(gift.value)', taken over when it is approved"
        case (let value?, let gift?) where gift.value == value: return "rule \(gift.rule)"
        case (_, let gift?):
            return "an operator or an earlier site file; rule \(gift.rule) gives '\(gift.value)' now"
        case (_, nil): return "an operator or an earlier site file"
        }
    }

    /// What a machine that is not known yet would get.
    func fields(named naming: NodeNaming.Outcome) -> [ExplainReply.Field] {
        var fields: [ExplainReply.Field] = []
        let rule = gift("name").map { "rule \($0.rule)" } ?? "its own marks: no rule names it"
        fields.append(
            .init(field: "name", value: naming.name, source: rule + (naming.note.map { "; \($0)" } ?? "")))
        for field in ["role", "rack", "root disk", "bmc", "network", "sku", "approval"] {
            let gift = gift(field)
            fields.append(.init(field: field, value: gift?.value, source: source(field, gift?.value)))
        }
        return fields
    }

    /// What would become of a machine that is not known yet.
    func headline(named naming: NodeNaming.Outcome) -> String {
        let what =
            "It would be '\(naming.name)'" + (decision.role.map { " in the role \($0.rawValue)" } ?? ", without a role")
        if let block = blocks.first { return "\(what), and would be kept out: \(block.message)." }
        if let rule = decision.approvedBy, blocks.isEmpty { return "\(what), let in by rule \(rule)." }
        return "\(what), and would wait for an operator."
    }

    /// The rules as a link in the chain of causes.
    var cause: WhyReply.Cause {
        if let conflict = decision.conflicts.first {
            return WhyReply.Cause(
                subject: "rules", what: conflict, owner: .operator,
                next: "correct the site file, then: muster site apply FILE", isProblem: true)
        }
        let matching = explanation.rules.filter(\.matches).map(\.rule)
        if matching.isEmpty {
            let nearest = explanation.nearMisses.first.map { "; nearest: \($0)" } ?? ""
            return WhyReply.Cause(subject: "rules", what: "no rule matches it\(nearest)")
        }
        let decided = explanation.decided.map { "\($0.field) \($0.value) (\($0.rule))" }
        let what =
            decided.isEmpty
            ? "\(matching.joined(separator: ", ")) match and give nothing" : decided.joined(separator: ", ")
        return WhyReply.Cause(subject: "rules", what: what)
    }
}
