import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeConsole: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "console", abstract: "Show what a machine's serial console has shown.",
        discussion: "The conductor keeps the newest 4 MiB of what it has seen of each console.")

    @OptionGroup var node: NodeArgument

    @OptionGroup var window: LineWindow

    @Flag(name: .shortAndLong, help: "Go on with what comes, until interrupted.")
    var follow = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let filter = LineFilter(lines: window.lines, since: try window.start(terminal.clock.now))
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
