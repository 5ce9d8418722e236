import AgentPort
import AgentProtocol
import FoundationEssentials
import Glibc
import Identity
import Logging
import Primitives
import Synchronization
import WebSocketMessages

/// An agent port with a certificate authority of its own, and one view per agent.
final class LoadServer: AgentPortDelegate {
    let authority: CertificateAuthority
    private let feed: AgentViewFeed
    private let agents: Int
    private let parts: Mutex<(port: AgentPortServer?, view: NodeView)>

    init(port number: Int, agents: Int, ping: Duration) throws {
        let logger = Logger(label: "agent-load") { _ in SwiftLogNoOpLogHandler() }
        authority = try CertificateAuthority.makeRoot(name: "load")
        self.agents = agents
        feed = AgentViewFeed(logger: logger) { ["127.0.0.1:\(number)"] }
        parts = Mutex((nil, try Self.view(1)))
        let server = try authority.issueServer(dnsNames: [], addresses: [IPv4Address("127.0.0.1")])
        let holder = try TLSContextHolder(
            AgentPortCertificates(
                certificateChainPEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM,
                authoritiesPEM: authority.certificatePEM))
        var configuration = AgentPortConfiguration(host: "127.0.0.1", port: number)
        configuration.stream.pingInterval = ping
        let port = AgentPortServer(configuration: configuration, tls: holder, delegate: self, logger: logger)
        parts.withLock { $0.port = port }
    }

    var port: AgentPortServer { parts.withLock { $0.port! } }

    /// Lets clients issue certificates for themselves.
    func writeAuthority(to directory: String) throws {
        mkdir(directory, 0o700)
        try Data(authority.certificatePEM.utf8).write(to: "\(directory)/ca.pem")
        try Data(authority.privateKeyPEM.utf8).write(to: "\(directory)/ca.key")
    }

    /// Serves for as long as `body` runs.
    func serve(_ body: () async throws -> Void) async throws {
        try await port.listen()
        try await withThrowingTaskGroup(of: Void.self) { group in
            let port = port
            group.addTask { try await port.run() }
            try await body()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    /// Publishes one change to every agent's view; it carries the time.
    func publish() throws {
        let view = try Self.view(parts.withLock { $0.view.revision.number + 1 })
        parts.withLock { $0.view = view }
        feed.publish(port.connectedNodes.lazy.map { ($0, view) })
    }

    func agentConnected(_ session: AgentSession, hello: AgentHello) async {
        feed.open(session, hello: hello, view: parts.withLock { $0.view })
    }

    func agentSent(_ message: AgentMessage, from session: AgentSession) async {}

    func agentDisconnected(_ session: AgentSession, reason: WebSocketEnd) async { feed.close(session) }

    /// The kind of item that carries the time of a change.
    static let clockItem = "load.clock"

    private static func view(_ revision: UInt64) throws -> NodeView {
        let overlay = OverlayItem(
            vni: 1001, bridge: "br1001", device: "vx1001", local: nil,
            peers: (0..<16).map { IPv4Address(0x0A4D_0000 + $0) })
        return NodeView(
            revision: Revision(revision), generation: Generation(1),
            items: [
                "settings": try NodeView.Item(
                    kind: AgentSettings.kind, generation: Generation(1),
                    encoding: AgentSettings(metricsIntervalSeconds: 15)),
                "overlay": try NodeView.Item(kind: OverlayItem.kind, generation: Generation(1), encoding: overlay),
                clockItem: try NodeView.Item(
                    kind: clockItem, generation: Generation(revision), encoding: monotonicNanoseconds()),
            ])
    }
}

extension Data {
    /// Writes a private file.
    func write(to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw LoadError("\(path) cannot be written") }
        defer { close(descriptor) }
        let written = withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard written == count else { throw LoadError("\(path) cannot be written") }
    }

    /// Reads a small file.
    static func read(_ path: String) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LoadError("\(path) cannot be read") }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        guard count > 0 else { throw LoadError("\(path) cannot be read") }
        return String(decoding: buffer[0..<count], as: UTF8.self)
    }
}

/// The measurement cannot go on.
struct LoadError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
