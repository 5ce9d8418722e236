import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Primitives

struct NodeRescue: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "rescue",
        abstract: "Boot an active machine into the ramdisk, to log in and mend what is on its disks.",
        discussion: """
            The machine is booted from the network; its disks are not mounted and not written. The password for root is \
            shown here and nowhere else, and is good for one login within the time given: 'muster node ssh' logs in and \
            checks the machine's host key. Whoever is in may add keys to /root/.ssh/authorized_keys. 'muster node unrescue' \
            boots the disk again.
            """)

    @OptionGroup var node: NodeArgument

    @Option(help: "For how many hours the password is good, 1 to 72; else 24.")
    var hours: Int?

    @Flag(help: "The machine is in rescue already: give another password, and have the one before void.")
    var newPassword = false

    @Flag(help: "Wait until one can log in.")
    var wait = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard hours.map({ Node.RescueRequest.hours.contains($0) }) ?? true else {
            throw ValidationError("--hours has to be 1 to \(Node.RescueRequest.hours.upperBound).")
        }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.rescue(
            node.name, RescueRequestBody(hours: hours, newPassword: newPassword ? true : nil))
        if terminal.isJSON {
            terminal.json(reply)
        } else {
            terminal.print("\(reply.node.name): \(reply.message)")
            terminal.print("password of root, for one login until \(reply.passwordEnds): \(reply.password)")
        }
        guard wait else { return }
        var watch = FleetWatch(client, terminal, node: reply.node.id.raw, until: "rescue")
        watch.rescue = reply.number
        try await watch.run()
    }
}

struct NodeUnrescue: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "unrescue", abstract: "End the rescue of a machine: boot its disk again.",
        discussion: """
            Logins end, what is mounted is written back, and the disk is booted; nothing is deployed anew. The machine is \
            active again when its agent has come back.
            """)

    @OptionGroup var node: NodeArgument

    @Flag(help: "Wait until it is active again.")
    var wait = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.unrescue(node.name)
        terminal.isJSON ? terminal.json(reply) : terminal.print("\(reply.node.name): \(reply.message)")
        guard wait else { return }
        var watch = FleetWatch(client, terminal, node: reply.node.id.raw, until: "active")
        watch.rescue = (try await client.node(reply.node.id.raw)).spec.rescue?.number
        try await watch.run()
    }
}
