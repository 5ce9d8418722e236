import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract

extension Node.PowerRequest.Action: ExpressibleByArgument {}

struct NodePower: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "power", abstract: "Have a machine's BMC switch its power.")

    @OptionGroup var node: NodeArgument

    @Argument(help: "What to do: on, off or reset.")
    var action: Node.PowerRequest.Action

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.power(node.name, action)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
    }
}
