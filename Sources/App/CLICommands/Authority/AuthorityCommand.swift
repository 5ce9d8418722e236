import ArgumentParser
import ClientSDK
import FleetContract
import Primitives

struct AuthorityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca", abstract: "See the site's certificate authority, and replace it.",
        subcommands: [AuthorityShow.self, AuthorityRotate.self, AuthorityTrust.self])
}

struct AuthorityShow: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show which authority is in force, and what a rotation waits for.")

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let record = try await client.authority()
        if terminal.isJSON { return terminal.json(record) }
        Self.print(record, terminal)
    }

    /// The most nodes that are listed.
    private static let waitingCountMax = 20

    static func print(_ record: AuthorityRecord, _ terminal: Terminal) {
        var facts = Facts()
        let age = Ages.since(record.since, now: record.time)
        facts.add("state", record.state == "steady" ? "steady" : "\(record.state), for \(age)")
        for (index, authority) in record.authorities.enumerated() {
            facts.add(
                index == 0 ? "authority" : "older",
                "\(authority.number), \(authority.fingerprint), until \(authority.notAfter)")
        }
        facts.add("ordered by", record.orderedBy)
        facts.add(
            "hastened", record.orderedBy.map { _ in record.isHastened ? "yes" : "no; 'muster ca rotate --hasten'" })
        facts.add("next", record.next)
        if record.orderedBy != nil {
            facts.add("clients", "have to trust the newer one by then: 'muster ca trust' on each")
        }
        for line in facts.lines(for: terminal) { terminal.print(line) }
        guard !record.waiting.isEmpty else { return }
        terminal.print("")
        terminal.print("It waits for \(record.waiting.count) nodes; 'muster ca rotate --force' does not:")
        for node in record.waiting.prefix(waitingCountMax) {
            let end = node.until.map { ", until \($0) at the latest" } ?? ""
            terminal.print("  \(node.node) \(node.reasons.joined(separator: ", "))\(end); by force \(node.whenForced)")
        }
        let more = record.waiting.count - waitingCountMax
        if more > 0 { terminal.print("  and \(more) more; --json lists all") }
    }
}

struct AuthorityRotate: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate", abstract: "Replace the certificate authority, without an installation anew.",
        discussion: """
            A newer authority is made and told to all nodes. Once all trust it, the servers show certificates of it; once no \
            node holds a certificate of the older one, that is dropped. Nodes renew within two and a half days by \
            themselves. Nodes that are switched off are waited for until their certificates end, seven days at most; \
            after that they need a deployment, with or without a rotation.
            """)

    @Flag(help: "Have nodes renew their certificates at once.")
    var hasten = false

    @Flag(help: "Make the step that waits now; 'muster ca show' tells which nodes that cuts off.")
    var force = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let record = try await client.rotateAuthority(
            RotateAuthorityRequest(hastens: hasten ? true : nil, force: force ? true : nil))
        if terminal.isJSON { return terminal.json(record) }
        terminal.print("The rotation is ordered; 'muster ca show' tells how far it is.")
        if force {
            for node in record.waiting { terminal.print("  \(node.node): \(node.whenForced)") }
        }
    }
}

struct AuthorityTrust: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust", abstract: "Write the authorities that clients have to trust into this client's file.",
        discussion: """
            The answer comes over TLS from the conductor that the file trusts already. Run it on each client while a \
            rotation is under way, and once more after its end to trust the older authority no more.
            """)

    @Option(help: ArgumentHelp("The file to write; else the one of --ca or MUSTER_CA.", valueName: "file"))
    var file: String?

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        guard let path = file ?? connection.ca ?? ConnectionOptions.variable("MUSTER_CA") else {
            throw Failure(message: "Say which file to write: --file, --ca or MUSTER_CA.", exitCode: 2)
        }
        let record = try await client.authority()
        try TextFile.replace(path, with: record.bundle)
        if terminal.isJSON { return terminal.json(record) }
        let names = record.authorities.map { "authority \($0.number)" }.joined(separator: " and ")
        terminal.print("\(path) trusts \(names) now.")
    }
}
