import ArgumentParser
import ClientSDK
import FleetContract

struct NodeConsole: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "console", abstract: "Show the newest lines of a machine's serial console.")

    @OptionGroup var node: NodeArgument

    @Option(help: "How many of the newest lines.")
    var lines = 200

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.console(of: node.name, lines: lines)
        if terminal.isJSON { return terminal.json(reply) }
        for line in reply.lines { terminal.print(line) }
    }
}
