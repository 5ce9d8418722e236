import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeDeploy: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy", abstract: "Write a machine's image anew.",
        discussion: "What is on its root disk is lost.")

    @OptionGroup var node: NodeArgument

    @Option(help: "The image to write; else the one asked for last, or the role's own.")
    var image: String?

    @Flag(help: "Wait until it is active, and show how it goes on.")
    var wait = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.deploy(node.name, DeployRequest(image: image))
        if wait {
            var watch = FleetWatch(client, terminal, node: reply.node.id.raw, until: "active")
            watch.deployment = reply.deployment
            return try await watch.run()
        }
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
    }
}
