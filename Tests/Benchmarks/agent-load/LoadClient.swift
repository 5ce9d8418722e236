import AgentProtocol
import Crypto
import FoundationEssentials
import Glibc
import Identity
import NIOCore
import NodeTransport
import Primitives
import SwiftASN1
import Synchronization
import WebSocketMessages
import X509

/// What the client tells its parent, one JSON object a line.
struct ClientReport: Codable, Sendable {
    enum Event: String, Codable, Sendable {
        case ready
        case connected
        case changed
        case failed
    }

    var event: Event
    /// Agents concerned.
    var count = 0
    /// From the first to the last of them.
    var seconds = 0.0
    /// Of the change's way to the agents, in milliseconds.
    var p50 = 0.0
    var p99 = 0.0
    var message = ""

    func write() throws {
        let line = Array(try JSONEncoder().encode(self)) + [10]
        _ = line.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }
}

/// Many agents in one process. Waits for a line on standard input before it connects them.
struct LoadClient {
    /// Handshakes under way at one time.
    static let concurrency = 64

    let agents: Int
    let endpoint: String
    let directory: String

    func run(until end: ContinuousClock.Instant) async throws {
        let securities = try identities()
        try ClientReport(event: .ready, count: agents).write()
        guard readLine() != nil else { return }
        let arrivals = Arrivals(expected: agents)
        let endpoint = try Endpoint(endpoint)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let began = monotonicNanoseconds()
            let opened = try await open(securities, endpoint)
            try ClientReport(
                event: .connected, count: opened.count, seconds: Double(monotonicNanoseconds() - began) / 1e9
            ).write()
            for connection in opened {
                group.addTask {
                    for await text in connection.messages {
                        let arrived = monotonicNanoseconds()
                        let message = try AgentStream.decode(ConductorMessage.self, from: text.readableBytesView)
                        if case .change(let change) = message, let item = change.upserts[LoadServer.clockItem] {
                            try arrivals.add(arrived - item.decode(Int64.self))
                        }
                    }
                    if let end = connection.end {
                        try ClientReport(event: .failed, message: "\(end)").write()
                    }
                }
            }
            try await Task.sleep(until: end, clock: .continuous)
            group.cancelAll()
        }
    }

    private func open(_ securities: [TransportSecurity], _ endpoint: Endpoint) async throws -> [WebSocketConnection] {
        try await withThrowingTaskGroup(of: WebSocketConnection.self) { group in
            var opened: [WebSocketConnection] = []
            var rest = securities[...]
            for _ in 0..<min(Self.concurrency, rest.count) {
                let security = rest.removeFirst()
                group.addTask { try await Self.open(endpoint, security) }
            }
            while let connection = try await group.next() {
                opened.append(connection)
                if let security = rest.popFirst() { group.addTask { try await Self.open(endpoint, security) } }
            }
            return opened
        }
    }

    private static func open(_ endpoint: Endpoint, _ security: TransportSecurity) async throws -> WebSocketConnection {
        let connection = try await AgentConnection.open(
            to: endpoint, path: AgentStream.path, security: security, connectTimeout: .seconds(60))
        let hello = AgentHello(agentVersion: "load", bootID: "load", roles: [.network], viewRevision: .zero)
        try connection.send(ByteBuffer(bytes: AgentStream.encode(AgentMessage.hello(hello))))
        return connection
    }

    /// A key and a certificate for each agent.
    private func identities() throws -> [TransportSecurity] {
        let authority = try CertificateAuthority(
            certificatePEM: Data.read("\(directory)/ca.pem"), privateKeyPEM: Data.read("\(directory)/ca.key"))
        return try (0..<agents).map { number in
            let key = P256.Signing.PrivateKey()
            let request = try CertificateSigningRequest(
                version: .v1, subject: DistinguishedName { CommonName("load") },
                privateKey: Certificate.PrivateKey(key), attributes: CertificateSigningRequest.Attributes())
            let issued = try authority.issueNode(
                NodeID("load-\(number)"), signingRequestPEM: request.serializeAsPEM().pemString)
            return try TransportSecurity.tls(
                trustRootsPEM: authority.certificatePEM,
                identity: ClientIdentity(
                    certificateChainPEM: issued.certificatePEM, privateKeyPEM: key.pemRepresentation))
        }
    }
}

/// Collects how long a change took to each agent, and reports when all have it.
final class Arrivals: Sendable {
    private let expected: Int
    private let nanoseconds = Mutex<[Int64]>([])

    init(expected: Int) { self.expected = expected }

    func add(_ duration: Int64) throws {
        let all = nanoseconds.withLock { list -> [Int64]? in
            list.append(duration)
            guard list.count == expected else { return nil }
            defer { list = [] }
            return list
        }
        guard let sorted = all?.sorted() else { return }
        try ClientReport(
            event: .changed, count: sorted.count, seconds: Double(sorted[sorted.count - 1]) / 1e9,
            p50: Double(sorted[sorted.count / 2]) / 1e6, p99: Double(sorted[sorted.count * 99 / 100]) / 1e6
        ).write()
    }
}
