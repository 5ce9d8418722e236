import AgentProtocol
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives

/// The agent's files on the state partition. Each is replaced at once, so a power cut leaves the old or the new one.
struct AgentDirectory: Sendable {
    /// The largest file that is read.
    static let fileSizeMax = 8 << 20

    /// The directory, for example `/state/muster`.
    let path: String

    private var identityPath: String { "\(path)/agent.json" }
    private var authorityPath: String { "\(path)/ca.pem" }
    private var credentialsPath: String { "\(path)/agent.pem" }
    private var newKeyPath: String { "\(path)/agent.key.new" }
    private var viewPath: String { "\(path)/view.json" }

    /// When the newest of the agent's files was written; nil when there is none.
    var newestChange: Timestamp? {
        [identityPath, authorityPath, credentialsPath, viewPath].compactMap(SystemFile.modificationTime).max()
    }

    /// Reads who this node is; throws `AgentDirectoryError` when that file is missing or damaged.
    func identity() throws(AgentDirectoryError) -> AgentIdentityFile {
        guard let bytes = SystemFile.bytes(identityPath, limit: Self.fileSizeMax) else {
            throw AgentDirectoryError(path: identityPath, reason: "it cannot be read")
        }
        do { return try AgentStream.decode(AgentIdentityFile.self, from: bytes) } catch {
            throw AgentDirectoryError(path: identityPath, reason: "it is damaged: \(error)")
        }
    }

    /// The site's authority in PEM.
    func authority() throws(AgentDirectoryError) -> String {
        guard let text = SystemFile.text(authorityPath) else {
            throw AgentDirectoryError(path: authorityPath, reason: "it cannot be read")
        }
        return text
    }

    /// Keeps the site's authorities, each in PEM.
    func store(authorities: [String]) throws {
        try SystemFile.replace(authorityPath, content: Array(authorities.joined().utf8), mode: 0o644)
    }

    /// Key and certificate; nil before enrolment, and when the file is damaged.
    func credentials() -> NodeCredentials? {
        SystemFile.bytes(credentialsPath).flatMap { try? NodeCredentials(pem: String(decoding: $0, as: UTF8.self)) }
    }

    /// The key of an enrolment under way: made once and kept, so that a repeated request is the same request.
    func enrolmentKey() throws -> NodeKey {
        if let text = SystemFile.text(newKeyPath), let key = try? NodeKey(pem: text) { return key }
        let key = NodeKey()
        try SystemFile.replace(newKeyPath, content: Array(key.pem.utf8), mode: 0o600)
        return key
    }

    /// Keeps new credentials; the token and the enrolment's key are of no use any more.
    func store(_ credentials: NodeCredentials) throws {
        try SystemFile.replace(credentialsPath, content: Array(credentials.pem.utf8), mode: 0o600)
        try forgetToken()
        unlink(newKeyPath)
    }

    /// Takes the one-time token out of the identity file.
    func forgetToken() throws {
        var identity = try identity()
        guard identity.token != nil else { return }
        identity.token = nil
        try store(identity)
    }

    /// Keeps the list of conductors.
    func store(conductors: [String]) throws {
        var identity = try identity()
        guard identity.conductors != conductors else { return }
        identity.conductors = conductors
        try store(identity)
    }

    private func store(_ identity: AgentIdentityFile) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try SystemFile.replace(identityPath, content: Array(try encoder.encode(identity)) + [10], mode: 0o600)
    }

    /// The view kept last; nil when there is none or it cannot be read.
    func view() -> NodeView? {
        SystemFile.bytes(viewPath, limit: Self.fileSizeMax)
            .flatMap { try? AgentStream.decode(NodeView.self, from: $0) }
    }

    /// Keeps a view.
    func store(_ view: NodeView) throws {
        try SystemFile.replace(viewPath, content: AgentStream.encode(view), mode: 0o600)
    }
}

/// One of the agent's files cannot be used.
public struct AgentDirectoryError: UserFacingError, Hashable {
    /// The file.
    public let path: String
    /// What is wrong with it.
    public let reason: String

    public var publicMessage: String {
        "The agent needs \(path), but \(reason). It is written when the node is deployed: deploy the node again."
    }
}
