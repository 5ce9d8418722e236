import AgentProtocol
import ArgumentParser
import CatalogBareMetal
import ClientSDK
import FleetContract
import Glibc
import Primitives

struct NodeSSH: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh", abstract: "Log in to a machine.",
        discussion: """
            Runs ssh with the machine's address. Its host key is remembered in ~/.cache/muster/known_hosts, anew for each \
            deployment; of a machine in rescue it comes from the conductor. What stands after -- is run there: muster node ssh NODE -- uptime
            """)

    @OptionGroup var node: NodeArgument

    @Option(help: "The user.")
    var user = "root"

    @Option(help: "The private key; else what ssh finds itself.")
    var identity: String?

    @Argument(parsing: .postTerminator, help: "What to run there.")
    var command: [String] = []

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let detail = try await client.node(node.name)
        if let rescue = detail.rescue, let address = rescue.access.addresses.first {
            let alias = "\(detail.node.id).rescue.\(detail.rescued ?? 0)"
            let file = try Self.knownHostsFile()
            try Self.learn(rescue.access.hostKey, of: alias, in: file)
            let arguments = try Self.arguments(
                address: address.description, alias: alias, user: user, identity: identity, knownHosts: file,
                command: command, isKeyKnown: true)
            await client.shutdown()
            throw Self.exec(arguments)
        }
        let leases = try await client.leases().filter { detail.identity.macs.contains($0.mac) && $0.phase == .bound }
        guard let address = detail.node.address ?? leases.max(by: { $0.expires < $1.expires })?.address else {
            throw Failure(
                message:
                    "No address of '\(detail.node.name)' is known; 'muster node why \(detail.node.name)' tells more.",
                exitCode: 3)
        }
        let arguments = try Self.arguments(
            address: address.description, alias: "\(detail.node.id).\(detail.deployed)", user: user, identity: identity,
            knownHosts: try Self.knownHostsFile(), command: command)
        await client.shutdown()
        throw Self.exec(arguments)
    }

    static func arguments(
        address: String, alias: String, user: String, identity: String?, knownHosts: String, command: [String],
        isKeyKnown: Bool = false
    ) throws -> [String] {
        guard user.utf8.first != UInt8(ascii: "-"), user.hasOnlyPrintableScalars, !user.contains("@") else {
            throw InvalidValue("user", user, expected: "a login name")
        }
        var arguments = [
            "ssh", "-o", "StrictHostKeyChecking=\(isKeyKnown ? "yes" : "accept-new")", "-o",
            "UserKnownHostsFile=\(knownHosts)",
            "-o", "HostKeyAlias=\(alias)", "-o", "ConnectTimeout=10",
        ]
        if let identity { arguments += ["-i", identity, "-o", "IdentitiesOnly=yes"] }
        return arguments + ["\(user)@\(address)"] + (command.isEmpty ? [] : ["--"] + command)
    }

    /// Notes a host key that the conductor has told.
    private static func learn(_ key: String, of alias: String, in path: String) throws {
        guard key.hasOnlyPrintableScalars, !key.isEmpty else {
            throw InvalidValue("host key", key, expected: "a line of known_hosts")
        }
        guard let file = fopen(path, "a") else {
            throw Failure(message: "\(path) cannot be written: \(String(cString: strerror(errno))).", exitCode: 1)
        }
        defer { fclose(file) }
        fputs("\(alias) \(key)\n", file)
    }

    private static func knownHostsFile() throws -> String {
        guard let home = ConnectionOptions.variable("HOME") else {
            throw Failure(message: "HOME is not set; host keys have no place to be remembered.", exitCode: 2)
        }
        let folder = ConnectionOptions.variable("XDG_CACHE_HOME") ?? "\(home)/.cache"
        for path in [folder, "\(folder)/muster"] where mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw Failure(message: "\(path) cannot be made: \(String(cString: strerror(errno))).", exitCode: 1)
        }
        return "\(folder)/muster/known_hosts"
    }

    /// Becomes the program; returns only when that fails.
    private static func exec(_ arguments: [String]) -> Failure {
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        execvp(arguments[0], pointers)
        let code = errno
        for pointer in pointers { free(pointer) }
        let why = code == ENOENT ? "it is not installed (apt install openssh-client)" : String(cString: strerror(code))
        return Failure(message: "ssh cannot be run: \(why).")
    }
}
