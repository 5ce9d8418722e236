import ArgumentParser
import ClientSDK
import FleetContract
import Glibc
import Primitives

/// The options of every command that changes the controllers.
struct ControllerChangeOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @Flag(help: "Only say what is wanted, and do not wait until it is so.")
    var noWait = false

    /// Throws `Failure` unless the operator says yes.
    func ask(_ terminal: Terminal) throws {
        guard !yes else { return }
        guard isatty(STDIN_FILENO) == 1, !terminal.isJSON else {
            throw Failure(message: "Nobody can be asked here; say --yes to do it.", exitCode: 2)
        }
        Terminal.write("Do it? [y/N] ", to: STDOUT_FILENO)
        guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
            throw Failure(message: "Nothing was changed.")
        }
    }
}

/// Changes the controllers: shows the plan, asks, says what is wanted, and follows until it is so.
struct ControllerChange {
    let client: FleetClient
    let terminal: Terminal
    let options: ControllerChangeOptions

    /// What the controllers shall be, from what they shall be now.
    typealias Wish = (ControllersReport, ControllersReport.Wanted) throws -> (controllers: [String], retired: [String])

    func run(_ wish: Wish) async throws {
        let report = try await client.controllers()
        guard let wanted = report.wanted else {
            throw Failure(message: report.beginning ?? "The site has no control plane.", exitCode: 4)
        }
        let (controllers, retired) = try wish(report, wanted)
        let plan = try await client.controllersPlan(controllers, retired: retired)
        if !terminal.isJSON { for line in ControllerPlan.lines(plan, terminal) { terminal.print(line) } }
        let isSame = Set(controllers) == Set(wanted.controllers) && Set(retired) == Set(wanted.retired)
        if isSame, plan.steps.isEmpty {
            if terminal.isJSON { terminal.json(report) }
            return
        }
        try options.ask(terminal)
        let ordered = try await client.changeControllers(
            ChangeControllersRequest(controllers: plan.controllers, retired: plan.retired, generation: plan.generation))
        guard !options.noWait else {
            terminal.isJSON
                ? terminal.json(ordered) : terminal.print("It is ordered; muster controller list tells how far it is.")
            return
        }
        let last = try await ControllerFollow.run(
            .settled, client, terminal, endpoints: ordered.places ?? [], silenceMax: .seconds(60))
        if terminal.isJSON { terminal.json(last.report) }
    }
}

struct ControllerGrow: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "grow", abstract: "Add controllers.",
        discussion: """
            The nodes have the role controller and are active. With three controllers one may fail, with five two; an even \
            number is refused, as it may lose no more than one less. Each learns all of the store before it votes.
            """)

    @Argument(help: ArgumentHelp("The nodes to add.", valueName: "node"))
    var nodes: [String]

    @OptionGroup var options: ControllerChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        try await ControllerChange(client: client, terminal: terminal, options: options).run { _, wanted in
            if let known = nodes.first(where: wanted.controllers.contains) {
                throw Failure(message: "\(known) is a controller already.", exitCode: 2)
            }
            return (wanted.controllers + nodes, wanted.retired)
        }
    }
}

struct ControllerShrink: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "shrink", abstract: "Take controllers out; they stay nodes.",
        discussion: """
            What they alone have of the site's images is copied first, and the one that leads the store makes way. One that \
            is dead is taken out as well, as long as more than half of the rest answer.
            """)

    @Argument(help: ArgumentHelp("The controllers to take out.", valueName: "node"))
    var nodes: [String]

    @OptionGroup var options: ControllerChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        try await ControllerChange(client: client, terminal: terminal, options: options).run { _, wanted in
            if let unknown = nodes.first(where: { !wanted.controllers.contains($0) }) {
                throw Failure(message: "\(unknown) is not a controller; muster controller list has them.", exitCode: 3)
            }
            return (wanted.controllers.filter { !nodes.contains($0) }, wanted.retired)
        }
    }
}

struct ControllerReplace: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "replace", abstract: "Put another node in a controller's place, dead or alive.",
        discussion: """
            A dead one is taken out of the store before the new one comes, a live one after it. With its own name a \
            controller gets a new member of the store in the place of the one it had, as after the loss of its disk.
            """)

    @Argument(help: ArgumentHelp("The controller that leaves.", valueName: "node"))
    var node: String

    @Option(
        name: .customLong("with"),
        help: ArgumentHelp("The node that comes; it has the role controller.", valueName: "node"))
    var other: String

    @OptionGroup var options: ControllerChangeOptions
    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        try await ControllerChange(client: client, terminal: terminal, options: options).run {
            try Self.wish($0, $1, node, with: other)
        }
    }

    static func wish(
        _ report: ControllersReport, _ wanted: ControllersReport.Wanted, _ node: String, with other: String
    ) throws -> (controllers: [String], retired: [String]) {
        guard wanted.controllers.contains(node) else {
            throw Failure(message: "\(node) is not a controller; muster controller list has them.", exitCode: 3)
        }
        guard node != other else {
            let members = report.controllers.first { $0.name == node }?.members ?? []
            let left = members.map(\.id).filter { !wanted.retired.contains($0) }
            guard !left.isEmpty else { throw Failure(message: "\(node) has no member of the store to be replaced.") }
            return (wanted.controllers, wanted.retired + left)
        }
        guard !wanted.controllers.contains(other) else {
            throw Failure(message: "\(other) is a controller already.", exitCode: 2)
        }
        return (wanted.controllers.map { $0 == node ? other : $0 }, wanted.retired)
    }
}
