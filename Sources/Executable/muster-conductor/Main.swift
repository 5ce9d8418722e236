import ArgumentParser
import ConductorServer
import Foundation
import Logging
import Primitives

/// Runs the conductor: what `muster-conductor` does when it is told nothing else.
struct ConductorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Discovers, registers, deploys and looks after bare-metal machines.",
        discussion: """
            Keeps its whole state in one directory: the catalog, the images, the keys (0600) and the logs. At the \
            first start it makes a certificate authority (ca.pem) and the operator's token (operator.token). \
            Everything else comes from the site file: muster site apply FILE.
            """,
        version: Conductor.version)

    @Option(help: ArgumentHelp("The state directory; made with mode 0700.", valueName: "dir"))
    var stateDir = "/var/lib/muster"

    @Option(help: ArgumentHelp("The address of the operators' API.", valueName: "address"))
    var apiHost = "0.0.0.0"

    @Option(help: ArgumentHelp("The port of the operators' API (HTTPS).", valueName: "port"))
    var apiPort = 9443

    @Option(help: ArgumentHelp("The port of boot files and public image chunks (HTTP).", valueName: "port"))
    var bootPort = 8080

    @Option(help: ArgumentHelp("The port of registration and enrolment (HTTPS).", valueName: "port"))
    var provisioningPort = 8443

    @Option(help: ArgumentHelp("The port of the agents' streams (mutual TLS).", valueName: "port"))
    var agentPort = 7443

    @Option(
        help: ArgumentHelp(
            "A further name or address for the server's certificate; may be given again.", valueName: "name"))
    var name: [String] = []

    @OptionGroup var store: EtcdOptions

    @Option(
        help: ArgumentHelp(
            "What this conductor is called among those of its site; the machine's name unless given.", valueName: "name"
        ))
    var conductorName: String?

    @Option(
        help: ArgumentHelp(
            "The name or address at which agents and other conductors reach this one; the first --name unless given, else "
                + "the first address of this machine.", valueName: "host"))
    var advertise: String?

    @Option(
        help: ArgumentHelp(
            "The program that starts the disk's loader on deployed UEFI machines, from Images/boot/build.sh.",
            valueName: "file"))
    var localLoader = ConductorConfiguration(stateDirectory: "").localLoader

    @Flag(
        help: ArgumentHelp(
            "Takes a store that is older than the one that was here, or another one, and begins a new history with it. "
                + "What it lacks is lost. For one start only."))
    var acceptOlderStore = false

    @Option(
        help: ArgumentHelp(
            "Writes a whole copy of the store to a file, also while a conductor runs, and ends. Keep master.key and the "
                + "folder blobs too, elsewhere.", valueName: "file"))
    var copyStore: String?

    @Option(
        help: ArgumentHelp(
            "The most connections of one address at each port of machines (64; then the host's own are bounded too).",
            valueName: "count"))
    var connectionsPerAddress: Int?

    @Option(
        help: ArgumentHelp(
            "The region of the cloud's own services in the identity API's catalog.", valueName: "name"))
    var region = "RegionOne"

    @Option(
        help: ArgumentHelp(
            "Where clients reach the API, such as https://cloud.example:9443; for the catalog and clouds.yaml.",
            valueName: "url"))
    var endpoint: String?

    @Option(
        help: ArgumentHelp(
            "Rules that take the place of the cloud's and the fleet's own, as in OpenStack's policy.yaml; checked at the "
                + "start.",
            valueName: "file"))
    var policy: String?

    @Option(
        help: ArgumentHelp(
            "Settings of the identity API: rules for passwords and logins, lives of tokens and their keys; checked at the "
                + "start. Inventory/identity-settings.yaml has all of them.", valueName: "file"))
    var identitySettings: String?

    @Option(
        help: ArgumentHelp(
            "The OpenID Connect issuers whose tokens log users in, with their audiences; checked at the start.",
            valueName: "file"))
    var oidcSettings: String?

    @Option(
        help: ArgumentHelp(
            "The most requests a second of one caller of the cloud's APIs; more are answered with 429. 0 takes any number, "
                + "and does not bound logins either.", valueName: "count"))
    var apiRate = ConductorConfiguration(stateDirectory: "").apiRate

    @Option(
        help: ArgumentHelp(
            "What hashing a user's password costs: scrypt with 2 to this power of rounds of 1 KiB (8 to 18).",
            valueName: "log2"))
    var passwordCost = ConductorConfiguration(stateDirectory: "").passwordCostExponent

    @Option(help: ArgumentHelp("trace, debug, info, notice, warning or error.", valueName: "level"))
    var logLevel = "info"

    func validate() throws {
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("'\(logLevel)' is no log level; use trace, debug, info, notice, warning or error.")
        }
        let ports = [apiPort, bootPort, provisioningPort, agentPort]
        guard ports.allSatisfy({ (1...65535).contains($0) }), Set(ports).count == ports.count else {
            throw ValidationError("The four ports must be different and 1 to 65535.")
        }
        guard store.etcd.isEmpty || !acceptOlderStore && copyStore == nil else {
            throw ValidationError("--accept-older-store and --copy-store are about a store in the state directory.")
        }
        guard conductorName.map(Self.isName) ?? true else {
            throw ValidationError("A conductor's name has 1 to 200 printable characters, no blank and no '/'.")
        }
        guard (8...18).contains(passwordCost) else { throw ValidationError("The cost of passwords must be 8 to 18.") }
        guard (0...1_000_000).contains(apiRate) else {
            throw ValidationError("A caller may make 0 (any number) to 1000000 requests a second.")
        }
        guard connectionsPerAddress.map({ (1...100_000).contains($0) }) ?? true else {
            throw ValidationError("An address may have 1 to 100000 connections.")
        }
    }

    private static func isName(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }
            && (1...200).contains(text.utf8.count)
    }

    func run() async throws {
        if let copyStore { return try copy(to: copyStore) }
        var configuration = ConductorConfiguration(stateDirectory: stateDir)
        configuration.apiHost = apiHost
        configuration.ports.api = apiPort
        configuration.ports.boot = bootPort
        configuration.ports.provisioning = provisioningPort
        configuration.ports.agents = agentPort
        configuration.names = name
        if let conductorName { configuration.conductorName = conductorName }
        configuration.advertisedHost = advertise
        configuration.etcd = store.configuration
        configuration.localLoader = localLoader
        configuration.acceptsOlderStore = acceptOlderStore
        configuration.connectionsPerAddress = connectionsPerAddress
        configuration.region = region
        configuration.policyFile = policy
        configuration.identitySettingsFile = identitySettings
        configuration.oidcSettingsFile = oidcSettings
        configuration.apiRate = apiRate
        configuration.passwordCostExponent = passwordCost
        configuration.endpoint = endpoint
        var logger = Logger(label: "conductor") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        do {
            try await Conductor(configuration: configuration, logger: logger).run()
        } catch let error as SiteMoved {
            _ = try Self.failure(error)
            throw ExitCode(SiteMoved.exitCode)
        } catch let error as any UserFacingError {
            logger.debug("\(error.diagnostic)")
            throw try Self.failure(error)
        }
    }

    private func copy(to file: String) throws {
        do { try Conductor.copyStore(of: stateDir, to: file) } catch { throw try Self.failure(error) }
    }

    static func failure(_ error: any UserFacingError) throws -> ExitCode {
        try FileHandle.standardError.write(contentsOf: Data("muster-conductor: \(error.publicMessage)\n".utf8))
        return .failure
    }
}
