import AgentProtocol
import Primitives
import WebSocketMessages

/// Where the agent port listens, and its limits.
public struct AgentPortConfiguration: Sendable {
    /// The address to listen on.
    public var host: String
    /// The port to listen on; 0 lets the kernel choose.
    public var port: Int
    /// The most connections at one time, those still in their handshake included; more are closed at once.
    public var connectionCountMax: Int
    /// How long a new connection may take for TLS, the upgrade and its hello.
    public var admissionTimeout: Duration
    /// The limits of one stream.
    public var stream: WebSocketLimits

    /// A configuration.
    public init(
        host: String, port: Int, connectionCountMax: Int = 12_000, admissionTimeout: Duration = .seconds(30),
        stream: WebSocketLimits = WebSocketLimits(
            messageSizeMax: Int(AgentStream.messageSizeMax.bytes), pingInterval: AgentStream.pingInterval)
    ) {
        self.host = host
        self.port = port
        self.connectionCountMax = connectionCountMax
        self.admissionTimeout = admissionTimeout
        self.stream = stream
    }
}

/// What the conductor does with what agents say.
///
/// Per session the calls come one at a time and in order: connected, messages, disconnected; while one is awaited,
/// nothing more is read from that agent. A newer session of a node can be connected before the older one's
/// `disconnected` arrives: compare sessions.
public protocol AgentPortDelegate: Sendable {
    /// A node's stream is open; the node is proved by its certificate. Answer with a welcome and the view.
    func agentConnected(_ session: AgentSession, hello: AgentHello) async
    /// A node said something; never `hello`.
    func agentSent(_ message: AgentMessage, from session: AgentSession) async
    /// The stream is gone, its socket too.
    func agentDisconnected(_ session: AgentSession, reason: WebSocketEnd) async
}

/// Counts of an agent port since it began.
public struct AgentPortStatistics: Sendable, Hashable {
    /// Open connections, those in their handshake included.
    public var connections = 0
    /// Streams with a known node.
    public var sessions = 0
    /// Connections closed because there were too many.
    public var overLimit = 0
    /// Connections whose TLS, upgrade or hello failed.
    public var refused = 0
    /// Messages that could not be understood.
    public var badMessages = 0
}
