import ArgumentParser
import CLinux
import ClientSDK
import Glibc

/// The options of every command that talks to a conductor.
struct ConnectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The conductor (MUSTER_API; else https://127.0.0.1:9443).", valueName: "url"))
    var api: String?

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

    /// Whether somebody said where the conductor is.
    var isConfigured: Bool { api != nil || Self.variable("MUSTER_API") != nil }

    /// What the client is made with; throws `ClientError.file` for a token file that cannot be used.
    func client() throws(ClientError) -> FleetClient.Configuration {
        let named = tokenFile ?? Self.variable("MUSTER_TOKEN_FILE")
        let tokenPath = named ?? "\(Self.stateDirectory)/operator.token"
        let authority = ca ?? Self.variable("MUSTER_CA") ?? Self.existing("\(Self.stateDirectory)/ca.pem")
        var token: String?
        if named != nil || access(tokenPath, F_OK) == 0 {
            let text: String
            do { text = try TextFile.read(tokenPath, sizeMax: 4096) } catch {
                throw .file(
                    path: tokenPath,
                    why: "\(error.why). It must hold the operator's token; the conductor made one in "
                        + "the file operator.token of its state directory.")
            }
            let trimmed = text.filter { !$0.isWhitespace }
            guard (1...Self.tokenLengthMax).contains(trimmed.utf8.count) else {
                throw .file(path: tokenPath, why: "does not hold an operator's token.")
            }
            token = trimmed
        }
        return FleetClient.Configuration(
            api: api ?? Self.variable("MUSTER_API") ?? Self.defaultAPI, token: token, authorityFile: authority)
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
