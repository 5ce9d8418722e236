import AgentProtocol
import Glibc
import NIOCore
import Primitives
import Synchronization
import WebSocketMessages

/// One open stream of one node.
public final class AgentSession: Sendable, CustomStringConvertible {
    /// Which stream it is; never used twice by one process.
    public let id: UInt64
    /// The node, from the peer's certificate.
    public let node: NodeID
    /// The certificate that proved it.
    public let certificate: AgentCertificate
    /// The peer's address, for logs.
    public let remoteAddress: String

    let connection: WebSocketConnection
    private let messageSizeMax: Int
    private let farewell = Mutex<String?>(nil)

    init(
        id: UInt64, peer: AgentPeer, remoteAddress: String, connection: WebSocketConnection, messageSizeMax: Int
    ) {
        self.id = id
        node = peer.node
        certificate = peer.certificate
        self.remoteAddress = remoteAddress
        self.connection = connection
        self.messageSizeMax = messageSizeMax
    }

    /// Whether the stream is open.
    public var isOpen: Bool { connection.end == nil }

    /// The smoothed round trip of the stream's connection as the kernel measures it (tcp(7), TCP_INFO); nil: it does not
    /// tell.
    public func roundTrip() async -> Duration? {
        guard let socket = connection.channel as? any SocketOptionProvider,
            let microseconds = try? await socket.getTCPInfo().map({ $0.tcpi_rtt }).get(), microseconds > 0
        else { return nil }
        return .microseconds(Int64(microseconds))
    }

    /// Queues a message; throws `AgentSendError` when the stream has ended, the agent is too slow, or it is too large.
    public func send(_ message: ConductorMessage) throws(AgentSendError) {
        try send(encoded: Self.encode(message))
    }

    /// Queues a message that is encoded already, so that one encoding serves many agents.
    public func send(encoded message: ByteBuffer) throws(AgentSendError) {
        guard message.readableBytes <= messageSizeMax else {
            throw .tooLarge(bytes: message.readableBytes, limit: messageSizeMax)
        }
        do { try connection.send(message) } catch { throw .ended(error.end) }
    }

    /// Tells the agent why it has to go, and ends the stream; `retryAfterSeconds` nil tells it not to come again.
    public func goodbye(_ message: String, retryAfterSeconds: Int?) {
        try? send(.goodbye(message: message, retryAfterSeconds: retryAfterSeconds))
        connection.close(reason: message)
    }

    /// The bytes of `message`.
    public static func encode(_ message: ConductorMessage) throws(AgentSendError) -> ByteBuffer {
        do { return ByteBuffer(bytes: try AgentStream.encode(message)) } catch { throw .notEncodable("\(error)") }
    }

    public var description: String { "\(node) from \(remoteAddress) (session \(id))" }
}

/// A message was not sent to an agent.
public enum AgentSendError: Error, Hashable, CustomStringConvertible {
    /// The node has no stream to this conductor.
    case notConnected(NodeID)
    /// The stream has ended.
    case ended(WebSocketEnd)
    /// The message is larger than agents accept.
    case tooLarge(bytes: Int, limit: Int)
    /// The message has no JSON form.
    case notEncodable(String)

    public var description: String {
        switch self {
        case .notConnected(let node): "node \(node) has no stream to this conductor"
        case .ended(let end): "the stream has ended: \(end)"
        case .tooLarge(let bytes, let limit): "the message has \(bytes) bytes, agents accept \(limit)"
        case .notEncodable(let reason): "the message cannot be encoded: \(reason)"
        }
    }
}

/// Who stands at the other end, by certificate.
struct AgentPeer: Sendable, Hashable {
    let node: NodeID
    let certificate: AgentCertificate
}

/// What is known of the certificate by which a node has come; its chain is verified.
public struct AgentCertificate: Sendable, Hashable {
    /// Its serial number, hexadecimal.
    public let serial: String
    /// When it begins.
    public let notBefore: Timestamp
    /// When it ends.
    public let notAfter: Timestamp
    /// The identifier of the key of the authority that issued it, hexadecimal; nil when it names none.
    public let authorityKey: String?

    /// A certificate.
    public init(serial: String, notBefore: Timestamp, notAfter: Timestamp, authorityKey: String?) {
        self.serial = serial
        self.notBefore = notBefore
        self.notAfter = notAfter
        self.authorityKey = authorityKey
    }
}
