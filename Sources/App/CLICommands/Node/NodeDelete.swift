import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeDelete: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Take a machine out of the inventory.",
        discussion: """
            Its certificate, its tokens, its events and its logs are gone with it. What runs on the machine goes on, but \
            no conductor hears of it; when it boots over the network again, it is seen as a new machine.
            """)

    @OptionGroup var node: NodeArgument

    @Flag(help: "Also a machine that was let in.")
    var force = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.deleteNode(node.name, force: force)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.name): \(reply.message)")
    }
}
