import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeWatch: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Follow machines as they change: one, or all.",
        discussion: """
            Ends by itself with --until: with 0 once the machine is in that state, with 1 when something has failed. When \
            the conductor restarts in between it goes on where it was.
            """)

    @Argument(help: ArgumentHelp("The node's name or identifier; else all.", valueName: "node"))
    var name: String?

    @Option(help: "End when the machine is in this state, for example active.")
    var until: String?

    @Option(help: "Give up after so many seconds.")
    var timeout: Int?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        if until != nil, name == nil { throw ValidationError("--until needs the name of a node.") }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        var id: String?
        if let name { id = try await client.node(name).node.id.raw }
        var watch = FleetWatch(client, terminal, node: id, until: until)
        watch.timeout = timeout.map { .seconds($0) }
        try await watch.run()
    }
}
