import ArgumentParser
import ClientSDK
import FleetContract
import Glibc
import Primitives

struct NodeConsole: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "console", abstract: "Work at a machine's serial console, or show what it has shown.",
        discussion: """
            On a terminal the console is live: keys go to the machine. Ctrl-] then . leaves, Ctrl-] then ? tells more. \
            Several may look, one types; who typed and when is in the audit log, not what. What the machine sends is \
            recorded. With --since, --lines, --follow or --recorded, or without a terminal, the record is printed; the \
            newest 4 MiB of each machine are kept.
            """)

    @OptionGroup var node: NodeArgument

    @Flag(help: "Only look; do not type.")
    var view = false

    @Flag(help: "Type also if somebody else does, and end what others have open at the BMC.")
    var take = false

    @Flag(help: "Print what was recorded.")
    var recorded = false

    @OptionGroup var window: LineWindow

    @Flag(name: .shortAndLong, help: "Print what was recorded and go on with what comes, until interrupted.")
    var follow = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        if view, take { throw ValidationError("--view and --take exclude each other.") }
        if view || take, wantsRecord { throw ValidationError("--view and --take are for the live console.") }
    }

    private var wantsRecord: Bool { recorded || follow || window.since != nil || window.lines != nil }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        if !wantsRecord, terminal.isScreen, isatty(STDIN_FILENO) == 1 {
            let name = try await client.node(node.name).node.name
            return try await ConsoleSession(client: client, node: name, isViewing: view, takes: take).run()
        }
        guard !view, !take else {
            throw Failure(message: "A live console needs a terminal.", exitCode: 2)
        }
        let filter = LineFilter(lines: window.count, since: try window.start(terminal.clock.now))
        let reply = try await client.console(of: node.name, filter)
        if !follow, terminal.isJSON { return terminal.json(reply) }
        show(reply.lines, terminal)
        guard follow else { return }
        try await Following(terminal: terminal).run(from: reply.next) { place in
            let more = try await client.console(of: node.name, LineFilter(lines: 1000, after: place))
            show(more.lines, terminal)
            return more.next
        }
    }

    private func show(_ lines: [String], _ terminal: Terminal) {
        for line in lines { terminal.print(terminal.isJSON ? JSONText.line(line) : line) }
    }
}
