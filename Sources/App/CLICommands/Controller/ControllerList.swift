import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ControllerList: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the controllers, how each is, and how far a change of them is.",
        discussion: """
            STORE is what the controller's member of the store does: one leads, the others follow; a learner has no vote yet. \
            BEHIND counts what it has not got yet. Nodes with the role controller that are none yet are listed as spare.
            """)

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let report = try await client.controllers()
        if terminal.isJSON { return terminal.json(report) }
        for line in Self.lines(report, terminal) { terminal.print(line) }
    }

    static func lines(_ report: ControllersReport, _ terminal: Terminal) -> [String] {
        var lines: [String] = []
        if !report.controllers.isEmpty { lines += table(report.controllers).lines(for: terminal) + [""] }
        lines += facts(report).lines(for: terminal)
        return lines
    }

    private static func table(_ controllers: [ControllersReport.Controller]) -> Table {
        var table = Table([
            .init("NAME", priority: 1, least: 12), .init("PART", priority: 1), .init("STORE", priority: 1),
            .init("BEHIND", priority: 4, isRightAligned: true), .init("CONDUCTOR", priority: 2),
            .init("VIP", priority: 3), .init("READY", priority: 2), .init("ADDRESS", priority: 3),
            .init("MEMBER", priority: 5),
        ])
        table.rows = controllers.map { controller in
            let member = controller.members.last
            return [
                .init(controller.name, .bold), part(controller.part), store(controller.members),
                .init(member?.behind.map(String.init) ?? "-"), conductor(controller.conductor),
                .init(controller.hasVIP == true ? "yes" : "-", .green), ready(controller),
                .init(controller.address?.description ?? "-"), .init(member?.id ?? "-"),
            ]
        }
        return table
    }

    private static func part(_ part: ControllersReport.Controller.Part) -> Table.Cell {
        switch part {
        case .stays: "stays"
        case .comes: .init("comes", .yellow)
        case .leaves: .init("leaves", .yellow)
        case .spare: .init("spare", .dim)
        case .byHand: "by hand"
        }
    }

    private static func store(_ members: [ControllersReport.Member]) -> Table.Cell {
        guard !members.isEmpty else { return "-" }
        let text = members.map(\.state.rawValue).joined(separator: ", ")
        let isSilent = members.contains { $0.state == .silent }
        return .init(text, isSilent ? .red : members.contains { $0.state == .leader } ? .green : .plain)
    }

    private static func conductor(_ conductor: ControllersReport.Conductor?) -> Table.Cell {
        guard let conductor else { return "-" }
        if let lag = conductor.lagMilliseconds { return .init("\(lag / 1000) s behind", .red) }
        return conductor.isLeader ? .init("leads", .green) : "serves"
    }

    private static func ready(_ controller: ControllersReport.Controller) -> Table.Cell {
        switch (controller.isReady, controller.hasSecrets) {
        case (nil, _): "-"
        case (true, _): .init("yes", .green)
        case (false, false): .init("no keys", .red)
        case (false, _): .init("no", .red)
        }
    }

    private static func facts(_ report: ControllersReport) -> Facts {
        var facts = Facts()
        if let wanted = report.wanted {
            let names = wanted.controllers.joined(separator: ", ")
            facts.add("wanted", names + (wanted.vip.map { ", at \($0)" } ?? ""))
        }
        facts.add("state", state(report), report.isSettled ? .green : report.phase == .refused ? .red : .yellow)
        facts.add("problem", report.problem, .red)
        facts.add("members", report.membersUnknown.map { "not known: \($0)" }, .red)
        facts.add("control plane", report.beginning)
        return facts
    }

    static func state(_ report: ControllersReport) -> String? {
        let age = report.since.map { ", for \(Ages.since($0, now: report.time))" } ?? ""
        let next = report.plan.first.map { step in
            switch report.plan.count {
            case 1: ": \(step.step)"
            case 2: ": \(step.step), and one step more"
            default: ": \(step.step), and \(report.plan.count - 1) steps more"
            }
        }
        switch report.phase {
        case nil: return nil
        case .settled: return "settled"
        case .pivoting: return "moving from the first conductor" + (next ?? "") + age
        case .changing: return "changing" + (next ?? "") + age
        case .refused: return "it does not go on"
        }
    }
}
