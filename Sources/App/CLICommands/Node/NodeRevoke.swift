import ArgumentParser
import ClientSDK
import FleetContract

struct NodeRevoke: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke-certificate", abstract: "Accept a node's certificates no more.",
        discussion: """
            Its stream ends at once and no conductor takes it again with what it has. What runs on the machine goes on \
            with the last view. The way back is a new deployment; deleting, cleaning and deploying a node revoke its \
            certificates too.
            """)

    @OptionGroup var node: NodeArgument

    @Option(help: ArgumentHelp("Why; kept with the revocation and told to whoever asks.", valueName: "text"))
    var reason: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.revokeCertificate(of: node.name, RevokeRequest(reason: reason))
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
    }
}
