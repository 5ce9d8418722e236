import AgentPort
import AgentProtocol
import Crypto
import Glibc
import Identity
import Logging
import NIOCore
import NodeTransport
import Primitives
import SwiftASN1
import Testing
import WebSocketMessages
import X509

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

struct FixedClock: WallClock {
    var now: Timestamp
}

/// A site with its authority and one server certificate for 127.0.0.1.
struct TestSite {
    let authority: CertificateAuthority
    let server: IssuedServer

    init() throws {
        authority = try CertificateAuthority.makeRoot(name: "test")
        server = try Self.issueServer(authority)
    }

    static func issueServer(_ authority: CertificateAuthority) throws -> IssuedServer {
        try authority.issueServer(dnsNames: ["conductor.test"], addresses: [IPv4Address("127.0.0.1")])
    }

    var certificates: AgentPortCertificates { certificates(server) }

    func certificates(_ server: IssuedServer) -> AgentPortCertificates {
        AgentPortCertificates(
            certificateChainPEM: server.certificatePEM, privateKeyPEM: server.privateKeyPEM,
            authoritiesPEM: authority.certificatePEM)
    }

    /// The security of a client with a certificate of `issuer` for `node`, made at `time`.
    func security(
        for node: NodeID, issuer: CertificateAuthority? = nil, at time: Timestamp? = nil
    ) throws -> TransportSecurity {
        let key = P256.Signing.PrivateKey()
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName { CommonName("x") }, privateKey: Certificate.PrivateKey(key),
            attributes: CertificateSigningRequest.Attributes()
        ).serializeAsPEM().pemString
        var issuer = issuer ?? authority
        if let time {
            issuer = try CertificateAuthority(
                certificatePEM: issuer.certificatePEM, privateKeyPEM: issuer.privateKeyPEM,
                clock: FixedClock(now: time))
        }
        let issued = try issuer.issueNode(node, signingRequestPEM: request)
        return try TransportSecurity.tls(
            trustRootsPEM: authority.certificatePEM,
            identity: ClientIdentity(
                certificateChainPEM: issued.certificatePEM, privateKeyPEM: key.pemRepresentation))
    }

    static func node(_ number: Int) throws -> NodeID { try NodeID("node-\(number)") }
}

/// Notes what the port tells, in order; tests read it as a stream.
final class Recorder: AgentPortDelegate {
    enum Event: Sendable {
        case connected(AgentSession, AgentHello)
        case message(AgentSession, AgentMessage)
        case disconnected(AgentSession, WebSocketEnd)
    }

    let events: AsyncStream<Event>
    private let continuation: AsyncStream<Event>.Continuation
    private let onConnected: @Sendable (AgentSession, AgentHello) async -> Void
    private let onMessage: @Sendable (AgentSession, AgentMessage) async -> Void

    init(
        onConnected: @escaping @Sendable (AgentSession, AgentHello) async -> Void = { _, _ in },
        onMessage: @escaping @Sendable (AgentSession, AgentMessage) async -> Void = { _, _ in }
    ) {
        (events, continuation) = AsyncStream.makeStream()
        self.onConnected = onConnected
        self.onMessage = onMessage
    }

    func agentConnected(_ session: AgentSession, hello: AgentHello) async {
        await onConnected(session, hello)
        continuation.yield(.connected(session, hello))
    }

    func agentSent(_ message: AgentMessage, from session: AgentSession) async {
        await onMessage(session, message)
        continuation.yield(.message(session, message))
    }

    func agentDisconnected(_ session: AgentSession, reason: WebSocketEnd) async {
        continuation.yield(.disconnected(session, reason))
    }

    /// The next session that opens; other events are skipped.
    func nextConnected() async -> AgentSession? {
        for await case .connected(let session, _) in events { return session }
        return nil
    }

    /// The next session that ends, and why; other events are skipped.
    func nextDisconnected() async -> (AgentSession, WebSocketEnd)? {
        for await case .disconnected(let session, let reason) in events { return (session, reason) }
        return nil
    }

    /// The next message; other events are skipped.
    func nextMessage() async -> AgentMessage? {
        for await case .message(_, let message) in events { return message }
        return nil
    }
}

/// Runs a port of `site` on a free number for as long as `body` runs.
func withPort(
    _ site: TestSite, tls: TLSContextHolder? = nil, delegate: Recorder = Recorder(),
    isRevoked: @escaping @Sendable (NodeID, String) -> Bool = { _, _ in false },
    change: (inout AgentPortConfiguration) -> Void = { _ in },
    _ body: (AgentPortServer, Endpoint, Recorder) async throws -> Void
) async throws {
    var configuration = AgentPortConfiguration(host: "127.0.0.1", port: 0)
    configuration.admissionTimeout = .seconds(20)
    change(&configuration)
    let port = AgentPortServer(
        configuration: configuration, tls: try tls ?? TLSContextHolder(site.certificates), delegate: delegate,
        logger: quiet, isRevoked: isRevoked)
    let endpoint = try Endpoint(host: "127.0.0.1", port: try await port.listen())
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await port.run() }
        try await body(port, endpoint, delegate)
        group.cancelAll()
        try await group.waitForAll()
    }
    #expect(port.statistics.connections == 0)
}

/// Opens a stream as an agent would and says hello.
func connect(
    _ endpoint: Endpoint, _ security: TransportSecurity, limits: WebSocketLimits = WebSocketLimits(),
    viewRevision: Revision = .zero
) async throws -> WebSocketConnection {
    let connection = try await AgentConnection.open(
        to: endpoint, path: AgentStream.path, security: security, limits: limits)
    try connection.send(
        .hello(AgentHello(agentVersion: "1", bootID: "boot", roles: [.network], viewRevision: viewRevision)))
    return connection
}

extension WebSocketConnection {
    func send(_ message: AgentMessage) throws {
        try send(ByteBuffer(bytes: AgentStream.encode(message)))
    }

    /// The next message of the conductor; nil when the stream has ended.
    func next(_ iterator: inout Messages.AsyncIterator) async throws -> ConductorMessage? {
        guard let text = await iterator.next() else { return nil }
        return try AgentStream.decode(ConductorMessage.self, from: text.readableBytesView)
    }
}

/// A directory of its own that is gone afterwards.
func withDirectory(_ body: (String) async throws -> Void) async throws {
    var template = Array("/tmp/muster-agent-test.XXXXXX".utf8CString)
    let path = try #require(
        template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }.map { String(cString: $0) })
    defer {
        for name in ["agent.json", "ca.pem", "agent.pem", "agent.key.new", "view.json"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }
    try await body(path)
}
