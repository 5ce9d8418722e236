import ArgumentParser
import ClientSDK
import FleetContract

struct NodeLogs: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show the log lines that a machine's agents have sent.")

    @OptionGroup var node: NodeArgument

    @Option(help: "Only of this program, for example network-agent.")
    var source: String?

    @Option(help: "How many of the newest lines.")
    var lines = 200

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.logs(of: node.name, source: source, lines: lines)
        if terminal.isJSON { return terminal.json(reply) }
        guard !reply.lines.isEmpty else { return terminal.print("No lines are kept of this machine.") }
        let isMixed = reply.sources.count > 1
        for line in reply.lines { terminal.print(isMixed ? "\(line.source): \(line.text)" : line.text) }
    }
}
