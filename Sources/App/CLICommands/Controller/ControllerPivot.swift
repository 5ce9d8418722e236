import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct ControllerPivot: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "pivot", abstract: "Move the site from its first conductor to controllers, or back.",
        discussion: """
            The nodes have the role controller. They get the site's keys, found a store of their own and start conductors that \
            wait; agents are told of them. Then the first conductor takes no changes for some seconds, in which its catalog \
            is copied, compared with the copy and opened. From then on there is no way back; until then there is, with \
            --back. Whatever is broken off goes on with the next start, and the same command watches it again.
            """)

    @Argument(help: ArgumentHelp("The nodes that shall be the controllers: one, three or five.", valueName: "node"))
    var nodes: [String] = []

    @Option(
        help: ArgumentHelp(
            "A free address of their segment that one controller at a time has, with the network's length: 10.77.0.5/24.",
            valueName: "address/length"))
    var vip: String?

    @Option(
        help: ArgumentHelp(
            "VRRP's number for it, 1 to 255, which nobody else on that network has (51 unless given).",
            valueName: "number"))
    var routerID: Int?

    @Flag(help: "Undo a move that is under way.")
    var back = false

    @OptionGroup var options: ControllerChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard back == nodes.isEmpty else {
            throw ValidationError(back ? "--back takes no nodes." : "Name the nodes that shall be the controllers.")
        }
        guard !back || (vip == nil && routerID == nil) else { throw ValidationError("--back takes no address.") }
        guard routerID == nil || vip != nil else { throw ValidationError("--router-id is of a --vip; give that too.") }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        var endpoints: [String] = []
        let now = try await client.controllers()
        let isUnderWay = now.phase == .pivoting && now.wanted?.controllers == nodes.sorted()
        if !back, isUnderWay {
            if !terminal.isJSON { terminal.print("It is ordered already.") }
        } else {
            endpoints = try await order(client, terminal, now)
        }
        guard !options.noWait else {
            if terminal.isJSON { return terminal.json(try await client.controllers()) }
            return terminal.print("It is ordered; muster controller list tells how far it is.")
        }
        try await follow(client, terminal, endpoints)
    }

    /// Shows what would be done, asks, and orders it. Returns where the API is then.
    private func order(
        _ client: FleetClient, _ terminal: Terminal, _ now: ControllersReport
    ) async throws -> [String] {
        if back {
            guard now.phase == .pivoting else {
                throw Failure(message: "The site is not being moved; see: muster controller list", exitCode: 4)
            }
            if !terminal.isJSON { for line in Self.backLines(now, terminal) { terminal.print(line) } }
            try options.ask(terminal)
            return try await client.undoPivot().places
        }
        var request = PivotRequest(controllers: nodes, vip: vip, routerID: routerID, dryRun: true)
        let plan = try await client.pivot(request)
        if !terminal.isJSON { for line in Self.lines(plan, terminal) { terminal.print(line) } }
        try options.ask(terminal)
        request.dryRun = nil
        return try await client.pivot(request).places
    }

    private func follow(_ client: FleetClient, _ terminal: Terminal, _ endpoints: [String]) async throws {
        let end = try await ControllerFollow.run(
            back ? .back : .moved, client, terminal, endpoints: endpoints, silenceMax: .seconds(300))
        if terminal.isJSON { return terminal.json(end.report) }
        for line in Self.endLines(end, cloud: client.cloud, terminal) { terminal.print(line) }
    }

    // MARK: What is shown

    static func lines(_ plan: PivotReport, _ terminal: Terminal) -> [String] {
        var table = Table([
            .init("", priority: 1, isRightAligned: true), .init("STEP", priority: 1, least: 20),
            .init("MEANWHILE", priority: 2),
        ])
        table.rows = plan.steps.enumerated().map { index, step in
            [.init("\(index + 1)", .dim), .init(step.step), meanwhile(step)]
        }
        let names = plan.controllers.joined(separator: ", ")
        let place = plan.endpoints.joined(separator: " and ")
        return table.lines(for: terminal)
            + [
                "",
                "The controllers are \(names) then, and the API is at \(place). Until the new store is opened, all of it can "
                    + "be undone with: muster controller pivot --back",
            ].flatMap { $0.wrapped(to: terminal.width) } + ControllerPlan.warningLines(plan.warnings, terminal)
    }

    private static func meanwhile(_ step: PivotReport.Step) -> Table.Cell {
        if step.isPointOfNoReturn { return .init("no way back after it", .red) }
        if step.isFrozen { return .init("no changes are taken", .yellow) }
        return step.isWait ? .init("waits for others", .dim) : ""
    }

    static func backLines(_ now: ControllersReport, _ terminal: Terminal) -> [String] {
        let names = now.wanted?.controllers.joined(separator: ", ") ?? "its controllers"
        return
            "The site stays with its first conductor, with all that was changed meanwhile. What \(names) run for it is taken away again."
            .wrapped(to: terminal.width)
    }

    /// What to change on this side once it is over.
    static func endLines(_ end: ControllerFollow.End, cloud: CloudAccess?, _ terminal: Terminal) -> [String] {
        guard let api = end.api else { return ["The site stays with its first conductor."] }
        let names = end.report.wanted?.controllers.joined(separator: ", ") ?? "its controllers"
        var lines = "The site has moved to \(names). From now on:".wrapped(to: terminal.width)
        lines.append("    export MUSTER_API=\(api)")
        if let cloud {
            lines += "In \(cloud.file), auth_url of the cloud \(cloud.name) begins with \(api) now."
                .wrapped(to: terminal.width)
        }
        lines +=
            "The certificate authority and all tokens are the same. The first conductor ends by itself; its machine is not needed any more."
            .wrapped(to: terminal.width)
        return lines
    }
}
