/// What one WebSocket connection may use, and when its peer counts as gone.
public struct WebSocketLimits: Sendable, Hashable {
    /// The largest message accepted, in bytes; a larger one ends the connection with code 1009.
    public var messageSizeMax: Int
    /// The most fragments of one message.
    public var fragmentCountMax: Int
    /// The most bytes that may wait for the kernel to take them; more end the connection as too slow.
    public var outboundBytesMax: Int
    /// The most messages that may wait for the reader; then nothing more is read from the socket.
    public var inboundMessagesMax: Int
    /// The silence after which the peer is pinged.
    public var pingInterval: Duration
    /// The number of unanswered pings after which the peer is gone.
    public var unansweredPingsMax: Int

    /// Limits; the defaults suit one agent's stream.
    public init(
        messageSizeMax: Int = 4 << 20, fragmentCountMax: Int = 1024, outboundBytesMax: Int = 8 << 20,
        inboundMessagesMax: Int = 4, pingInterval: Duration = .seconds(15), unansweredPingsMax: Int = 2
    ) {
        self.messageSizeMax = messageSizeMax
        self.fragmentCountMax = fragmentCountMax
        self.outboundBytesMax = outboundBytesMax
        self.inboundMessagesMax = inboundMessagesMax
        self.pingInterval = pingInterval
        self.unansweredPingsMax = unansweredPingsMax
    }
}

/// Why a WebSocket connection ended.
public enum WebSocketEnd: Sendable, Hashable, CustomStringConvertible {
    /// The peer said goodbye with a close frame (RFC 6455 section 7.4).
    case closedByPeer(code: UInt16, reason: String)
    /// This side said goodbye.
    case closedHere(reason: String)
    /// The peer did not answer pings.
    case peerSilent
    /// The peer took messages too slowly: more than the given number of bytes waited.
    case tooSlow(limit: Int)
    /// The peer sent a message above the limit.
    case messageTooLarge(limit: Int)
    /// The peer broke the protocol.
    case protocolError(String)
    /// The connection broke.
    case lost(String)

    public var description: String {
        switch self {
        case .closedByPeer(let code, let reason):
            reason.isEmpty ? "closed by the peer (code \(code))" : "closed by the peer: \(reason)"
        case .closedHere(let reason): reason
        case .peerSilent: "the peer did not answer pings"
        case .tooSlow(let limit): "the peer takes messages too slowly: more than \(limit) bytes waited"
        case .messageTooLarge(let limit): "the peer sent a message larger than \(limit) bytes"
        case .protocolError(let text): "the peer broke the protocol: \(text)"
        case .lost(let text): "the connection broke: \(text)"
        }
    }
}

/// A message could not be sent because the connection has ended.
public struct WebSocketSendError: Error, Hashable, CustomStringConvertible {
    /// Why it ended.
    public let end: WebSocketEnd

    public var description: String { "not sent: \(end)" }
}
