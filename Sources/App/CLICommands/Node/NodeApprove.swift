import AgentProtocol
import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

extension Role: ExpressibleByArgument {}

struct NodeApprove: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Let a machine in, and give it a role.",
        discussion: """
            Until then a machine gets nothing secret. Compare its serial numbers first ('muster node inventory'): who is \
            approved is trusted with the network's certificates. Approving again trusts the machine's present boot.
            """)

    @OptionGroup var node: NodeArgument

    @Option(help: "What it shall do; needed unless a rule of the site gives it a role.")
    var role: Role?

    @Option(help: "A new name for it.")
    var name: String?

    @Option(help: "The image to write; else the role's own.")
    var image: String?

    @Flag(help: "Let it in although it is not what its bill of materials says, or the rules contradict each other.")
    var acceptDifference = false

    @Flag(help: "Wait until it is active, and show how it goes on.")
    var wait = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.approve(
            node.name,
            ApproveRequest(
                role: role, name: name, image: image, acceptsDifference: acceptDifference ? true : nil))
        if wait { return try await FleetWatch(client, terminal, node: reply.node.id.raw, until: "active").run() }
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
    }
}
