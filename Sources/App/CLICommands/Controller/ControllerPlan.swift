import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct ControllerPlan: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Show the steps to other controllers, and what each does to the quorum.",
        discussion:
            "Changes nothing. Without names it shows what is left to be done for those that were asked for last.")

    @Argument(help: ArgumentHelp("The nodes that would be the controllers, all of them.", valueName: "node"))
    var nodes: [String] = []

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let plan = try await client.controllersPlan(nodes.isEmpty ? nil : nodes)
        if terminal.isJSON { return terminal.json(plan) }
        for line in Self.lines(plan, terminal) { terminal.print(line) }
    }

    static func lines(_ plan: ControllersPlan, _ terminal: Terminal) -> [String] {
        let names = plan.controllers.joined(separator: ", ")
        let warnings = warningLines(plan.warnings, terminal)
        guard !plan.steps.isEmpty else { return ["The controllers are \(names); nothing to do."] + warnings }
        var table = Table([
            .init("", priority: 1, isRightAligned: true), .init("STEP", priority: 2, least: 20),
            .init("VOTE", priority: 1, isRightAligned: true), .init("NEEDED", priority: 3, isRightAligned: true),
            .init("MAY FAIL", priority: 1, isRightAligned: true),
        ])
        table.rows = [row("", "as it is", plan.now, isChange: true)]
        table.rows += plan.steps.enumerated().map { index, step in
            row("\(index + 1)", step.step, step.voters, isChange: step.changesVoters)
        }
        let last = plan.steps.last?.voters ?? plan.now
        return table.lines(for: terminal)
            + [
                "",
                "The controllers are \(names) then, and \(last.mayFail == 0 ? "none" : "\(last.mayFail)") of them may fail.",
            ].flatMap { $0.wrapped(to: terminal.width) } + warnings
    }

    /// The warnings of a plan, after an empty line; nothing when there are none.
    static func warningLines(_ warnings: [String], _ terminal: Terminal) -> [String] {
        var facts = Facts()
        for warning in warnings { facts.add("warning", warning, .yellow) }
        return warnings.isEmpty ? [] : [""] + facts.lines(for: terminal)
    }

    /// A step that is not about the voters leaves them as they are, and out.
    private static func row(
        _ number: String, _ step: String, _ voters: ControllersPlan.Voters, isChange: Bool
    ) -> [Table.Cell] {
        guard isChange else { return [.init(number, .dim), .init(step), "", "", ""] }
        let isWhole = voters.answering == voters.count
        return [
            .init(number, .dim), .init(step),
            .init(isWhole ? "\(voters.count)" : "\(voters.answering) of \(voters.count)", isWhole ? .plain : .yellow),
            .init("\(voters.quorum)"), .init("\(voters.mayFail)", voters.mayFail == 0 ? .yellow : .green),
        ]
    }
}
