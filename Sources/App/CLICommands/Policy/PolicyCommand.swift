import ArgumentParser
import ClientSDK
import FleetContract

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "See the rules that say who may do what.",
        subcommands: [PolicyExplain.self, PolicyList.self])
}

struct PolicyList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the rules, those marked that the conductor's --policy file has changed.")

    @Argument(help: ArgumentHelp("Only those whose name begins so, for example fleet:node.", valueName: "beginning"))
    var prefix: String?

    @Flag(help: "Only those that were changed.")
    var overridden = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let rules = try await client.policyRules().rules.filter { rule in
            rule.name.hasPrefix(prefix ?? "") && (!overridden || rule.shippedCheck != nil)
        }
        if terminal.isJSON { return terminal.json(RecordList(items: rules)) }
        for line in Self.table(rules).lines(for: terminal) { terminal.print(line) }
    }

    static func table(_ rules: [PolicyRuleRecord]) -> Table {
        var table = Table([
            .init("RULE", priority: 1, least: 30), .init("IS", priority: 1), .init("CHECK", priority: 2, least: 20),
            .init("GUARDS", priority: 3, least: 12),
        ])
        table.rows = rules.map { rule in
            let isShipped = rule.shippedCheck == nil
            return [
                .init(rule.name, .bold), isShipped ? "shipped" : .init("overridden", .yellow), .init(rule.check),
                .init(rule.summary),
            ]
        }
        return table
    }
}
