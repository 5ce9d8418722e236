import AgentProtocol
import ArgumentParser
import ClientSDK
import FleetContract

struct NodeSet: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Change what is asked of a machine.",
        discussion: "A new role, image or root disk is taken up by the next 'muster node deploy'.")

    enum Switch: String, ExpressibleByArgument {
        case on
        case off
    }

    @OptionGroup var node: NodeArgument

    @Option(help: "Another name.")
    var name: String?

    @Option(help: "Another role.")
    var role: Role?

    @Option(help: "The rack it stands in; '' when that is not known.")
    var rack: String?

    @Option(help: "Another image; '' for the role's own.")
    var image: String?

    @Option(help: "The BMC, by its name in the site; '' for none.")
    var bmc: String?

    @Option(help: "The node network, by its name in the site, taken up at once; '' for DHCP on every card.")
    var network: String?

    @Option(help: "The root disk, by its serial number; '' for the only one there is.")
    var rootDisk: String?

    @Option(
        help:
            "The disks of a storage node's pool: 'all', or serial numbers with commas between; '' for no further ones.")
    var dataDisks: String?

    @Option(help: "The name of that pool.")
    var pool: String = DataDisks.poolDefault

    @Option(help: "Whether nothing shall be done to it: on or off.")
    var maintenance: Switch?

    @Option(help: "Why, with --maintenance on.")
    var reason: String?

    @Flag(help: "It is not known by its TPM any more: the board or the TPM was replaced.")
    var forgetTpm = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        let given = [name, role?.rawValue, rack, image, bmc, network, rootDisk, dataDisks, maintenance?.rawValue]
        guard reason == nil || maintenance == .on else {
            throw ValidationError("--reason goes with --maintenance on.")
        }
        guard forgetTpm || given.contains(where: { $0 != nil }) else {
            throw ValidationError(
                "Nothing is to be changed; give --name, --role, --rack, --image, --bmc, --network, --root-disk, --data-disks, "
                    + "--maintenance or --forget-tpm.")
        }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let hint = rootDisk.map { RootDiskHint(serial: $0.isEmpty ? nil : $0) }
        let disks = dataDisks.map { text in
            let serials = text == "all" ? [] : text.split(separator: ",").map(String.init)
            return DataDisks(pool: pool, all: text == "all", matches: serials.map { DataDisks.Match(serial: $0) })
        }
        var patch = NodePatch(
            name: name, role: role, image: image, rootDisk: hint, dataDisks: disks, bmc: bmc, network: network,
            isInMaintenance: maintenance.map { $0 == .on }, maintenanceReason: reason, rack: rack)
        if forgetTpm { patch.forgetsTPM = true }
        let reply = try await client.change(node.name, patch)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
    }
}
