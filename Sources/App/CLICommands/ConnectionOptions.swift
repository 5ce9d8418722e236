import ArgumentParser
import CLinux
import ClientSDK
import Glibc
import Primitives

/// The options of every command that talks to a conductor.
struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The conductor (MUSTER_API; else as the cloud's catalog says, or https://127.0.0.1:9443).",
            valueName: "url"))
    var api: String?

    @Option(help: ArgumentHelp("Sign in to this cloud of a clouds.yaml (OS_CLOUD).", valueName: "name"))
    var osCloud: String?

    @Option(help: ArgumentHelp("The file with the operator's token (MUSTER_TOKEN_FILE).", valueName: "file"))
    var tokenFile: String?

    @Option(help: ArgumentHelp("The file with the conductor's CA, PEM (MUSTER_CA).", valueName: "file"))
    var ca: String?

    @Option(
        help: ArgumentHelp(
            "The network namespace to work in (MUSTER_NETNS); needs root.", valueName: "name"))
    var netns: String?

    @Flag(help: "Answer in JSON, errors included.")
    var json = false

    /// Where the conductor is when nobody says so.
    static let defaultAPI = "https://127.0.0.1:9443"
    private static let stateDirectory = "/var/lib/muster"
    private static let tokenLengthMax = 256
    /// The cloud that the conductor writes into its clouds.yaml.
    private static let ownCloud = "muster"

    /// Whether somebody said where the conductor is.
    var isConfigured: Bool { api != nil || Self.variable("MUSTER_API") != nil }

    func validate() throws {
        guard tokenFile == nil || osCloud == nil else {
            throw ValidationError("--token-file and --os-cloud exclude each other.")
        }
    }

    /// Who signs in: the first that is there of --token-file, --os-cloud, MUSTER_TOKEN_FILE, OS_CLOUD, and in the
    /// conductor's state directory clouds.yaml and operator.token.
    private enum Credential {
        case token(file: String)
        case cloud(CloudEntry)
        case none
    }

    private func credential() throws -> Credential {
        if let tokenFile { return .token(file: tokenFile) }
        if let osCloud { return .cloud(try Self.cloud(osCloud)) }
        if let file = Self.variable("MUSTER_TOKEN_FILE") { return .token(file: file) }
        if let name = Self.variable("OS_CLOUD") { return .cloud(try Self.cloud(name)) }
        if let own = Self.existing("\(Self.stateDirectory)/clouds.yaml") {
            return .cloud(try CloudsFile(own).entry(Self.ownCloud))
        }
        let file = "\(Self.stateDirectory)/operator.token"
        return access(file, F_OK) == 0 ? .token(file: file) : .none
    }

    /// The entry of a cloud in the file that OpenStack's clients would take, or in the conductor's own.
    private static func cloud(_ name: String) throws -> CloudEntry {
        if let file = try CloudsFile.find() { return try file.entry(name) }
        if let own = existing("\(stateDirectory)/clouds.yaml") { return try CloudsFile(own).entry(name) }
        let places = CloudsFile.places("clouds", variable).filter { $0.hasSuffix(".yaml") }.joined(separator: ", ")
        throw Failure(
            message: "There is no clouds.yaml to find the cloud '\(name.printable(limit: 60))' in; it is looked for in "
                + "\(places). Name another with OS_CLIENT_CONFIG_FILE.", exitCode: 2)
    }

    /// What the client is made with; throws `ClientError.file` for a token file that cannot be used, and `Failure` for what
    /// is wrong with a clouds.yaml.
    func client() throws -> FleetClient.Configuration {
        let address = api ?? Self.variable("MUSTER_API")
        let named = ca ?? Self.variable("MUSTER_CA")
        let own = Self.existing("\(Self.stateDirectory)/ca.pem")
        switch try credential() {
        case .cloud(let entry):
            return FleetClient.Configuration(
                api: address, cloud: try entry.access(), authorityFile: named ?? entry.authorityFile)
        case .token(let file):
            return FleetClient.Configuration(
                api: address ?? Self.defaultAPI, token: try Self.token(in: file), authorityFile: named ?? own)
        case .none:
            return FleetClient.Configuration(api: address ?? Self.defaultAPI, authorityFile: named ?? own)
        }
    }

    private static func token(in file: String) throws(ClientError) -> String {
        let text: String
        do { text = try TextFile.read(file, sizeMax: 4096) } catch {
            throw .file(
                path: file,
                why: "\(error.why). It must hold the operator's token; the conductor made one in "
                    + "the file operator.token of its state directory.")
        }
        let trimmed = text.filter { !$0.isWhitespace }
        guard (1...tokenLengthMax).contains(trimmed.utf8.count) else {
            throw .file(path: file, why: "does not hold an operator's token.")
        }
        return trimmed
    }

    /// Moves the calling thread into the network namespace that was asked for; threads made later are in it too.
    func enterNetworkNamespace() throws {
        guard let name = netns ?? Self.variable("MUSTER_NETNS") else { return }
        let path = name.contains("/") ? name : "/run/netns/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Failure(
                message: "There is no network namespace '\(name)' (\(path)); 'ip netns list' shows those there are. "
                    + "Name another with --netns, or unset MUSTER_NETNS.", exitCode: 2)
        }
        defer { close(descriptor) }
        let code = clinux_enter_network_namespace(descriptor)
        guard code == 0 else {
            let why = code == EPERM ? "only root may do that; run 'sudo -E muster …'" : String(cString: strerror(code))
            throw Failure(message: "The network namespace '\(name)' cannot be entered: \(why).", exitCode: 4)
        }
    }

    static func variable(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    private static func existing(_ path: String) -> String? { access(path, R_OK) == 0 ? path : nil }
}
