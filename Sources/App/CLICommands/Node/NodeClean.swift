import AgentProtocol
import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct NodeClean: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "clean", abstract: "Empty disks of a machine, and read back that they are empty.",
        discussion: """
            The machine boots the ramdisk, which empties the disks and checks that nothing is recognised on them. What was \
            on each is an event ('muster node events'). With a role and without --release, the machine is deployed anew \
            afterwards.
            """)

    @OptionGroup var node: NodeArgument

    @Option(help: "A disk, by serial number, WWN or path as 'muster node inventory' shows it; may be repeated.")
    var disk: [String] = []

    @Flag(help: "Every disk that is neither read-only nor removable.")
    var all = false

    @Option(
        help: """
            quick: both ends of the disk and of its partitions are overwritten, the rest is discarded; overwrite: every \
            byte is overwritten and read back; format: the NVMe controller erases it; erase: the ATA disk erases itself (not \
            proved on hardware).
            """)
    var method: CleanMethod = .quick

    @Flag(help: "Also when it is active: its role is taken away, and what it does ends.")
    var release = false

    @Flag(help: "Wait until it is available, and show how it goes on.")
    var wait = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard all != !disk.isEmpty else {
            throw ValidationError("Say which disks: --disk SERIAL for each, or --all.")
        }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let request = CleanRequestBody(disks: all ? nil : disk, method: method, release: release)
        let reply = try await client.clean(node.name, request)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
        if wait { try await FleetWatch(client, terminal, node: reply.node.id.raw, until: "available").run() }
    }
}

extension CleanMethod: ExpressibleByArgument {}
