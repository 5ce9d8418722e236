import AgentProtocol
import Logging
import NIOCore
import NIOPosix
import Primitives
import ServiceLifecycle
import Synchronization
import WebSocketMessages

/// The server of the agents' streams: mutual TLS, one WebSocket per node, identity from the peer's certificate.
///
/// Call `listen()` to learn early that the port is taken, then `run()` once.
public final class AgentPortServer: Service {
    let configuration: AgentPortConfiguration
    let tls: TLSContextHolder
    let delegate: any AgentPortDelegate
    let logger: Logger
    let isRevoked: @Sendable (NodeID, _ serial: String) -> Bool
    let newcomers: AddressLimit
    let accepted: AsyncStream<AgentSession>
    let acceptedEnd: AsyncStream<AgentSession>.Continuation
    private let group: any EventLoopGroup
    private let state = Mutex(State())
    private static let badMessagesMax = 16

    private struct State {
        var listener: (any Channel)?
        var isStopping = false
        var nextSession: UInt64 = 1
        var connections: [ObjectIdentifier: any Channel] = [:]
        var sessions: [NodeID: AgentSession] = [:]
        var statistics = AgentPortStatistics()
        var lastRefusalLogged: NIODeadline?
    }

    /// A port that tells `delegate` what agents say.
    ///
    /// `isRevoked` is asked with node and certificate serial at each new stream; it must answer at once. `newcomers` has
    /// a place for each connection until its hello has come.
    public init(
        configuration: AgentPortConfiguration, newcomers: AddressLimit = AddressLimit(64), tls: TLSContextHolder,
        delegate: any AgentPortDelegate, logger: Logger,
        isRevoked: @escaping @Sendable (NodeID, _ serial: String) -> Bool = { _, _ in false },
        on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.configuration = configuration
        self.newcomers = newcomers
        self.tls = tls
        self.delegate = delegate
        self.logger = logger
        self.isRevoked = isRevoked
        self.group = group
        (accepted, acceptedEnd) = AsyncStream.makeStream(
            bufferingPolicy: .bufferingOldest(configuration.connectionCountMax))
    }

    // MARK: For the conductor

    /// Opens the port and gives its number; throws `AgentPortError.portTaken` or `.cannotListen`.
    @discardableResult
    public func listen() async throws(AgentPortError) -> Int {
        if let port = state.withLock({ $0.listener?.localAddress?.port }) { return port }
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.configure(channel) }
            }
        do {
            let channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
            state.withLock { $0.listener = channel }
            channel.closeFuture.whenComplete { [acceptedEnd] _ in acceptedEnd.finish() }
            return channel.localAddress?.port ?? configuration.port
        } catch let error as IOError where error.errnoCode == addressInUse {
            throw .portTaken(host: configuration.host, port: configuration.port)
        } catch {
            throw .cannotListen(host: configuration.host, port: configuration.port, reason: "\(error)")
        }
    }

    /// The nodes with an open stream.
    public var connectedNodes: Set<NodeID> { state.withLock { Set($0.sessions.keys) } }

    /// The node's stream; nil when it has none here.
    public func session(of node: NodeID) -> AgentSession? { state.withLock { $0.sessions[node] } }

    /// Counts since the start.
    public var statistics: AgentPortStatistics {
        state.withLock { state in
            var statistics = state.statistics
            statistics.connections = state.connections.count
            statistics.sessions = state.sessions.count
            return statistics
        }
    }

    /// Queues a message to a node; throws `AgentSendError`.
    public func send(_ message: ConductorMessage, to node: NodeID) throws(AgentSendError) {
        guard let session = session(of: node) else { throw .notConnected(node) }
        try session.send(message)
    }

    /// Serves until the task is cancelled or a graceful shutdown begins; then agents are told to come again.
    ///
    /// Throws `AgentPortError`.
    public func run() async throws {
        try await listen()
        await withDiscardingTaskGroup { group in
            await withTaskCancellationOrGracefulShutdownHandler {
                for await session in accepted { group.addTask { await self.serve(session) } }
                stop()
            } onCancelOrGracefulShutdown: {
                self.stop()
            }
        }
        for channel in state.withLock({ Array($0.connections.values) }) { try? await channel.closeFuture.get() }
    }

    /// Says goodbye to all, once: the shutdown and the end of the listener come here at the same time.
    private func stop() {
        let (listener, channels, sessions) = state.withLock { state in
            guard !state.isStopping else { return (nil as (any Channel)?, [] as [any Channel], [] as [AgentSession]) }
            state.isStopping = true
            let streams = Set(state.sessions.values.map { ObjectIdentifier($0.connection.channel) })
            return (
                state.listener, state.connections.filter { !streams.contains($0.key) }.map(\.value),
                Array(state.sessions.values)
            )
        }
        listener?.close(promise: nil)
        for session in sessions { session.goodbye("The conductor stops.", retryAfterSeconds: 1) }
        for channel in channels { channel.close(promise: nil) }
    }

    // MARK: Connections

    /// Counts a new connection in; false when there are too many.
    func enter(_ channel: any Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let (isLet, isFirst) = state.withLock { state in
            guard !state.isStopping, state.connections.count < configuration.connectionCountMax else {
                state.statistics.overLimit += 1
                return (false, state.statistics.overLimit % 1000 == 1)
            }
            state.connections[key] = channel
            return (true, false)
        }
        if isFirst {
            logger.error("More than \(configuration.connectionCountMax) agent connections: further ones are closed.")
        }
        if isLet {
            channel.closeFuture.whenComplete { _ in
                self.state.withLock { $0.connections[key] = nil }
            }
        }
        return isLet
    }

    /// Notes that a connection did not become a stream; logged at most once a second.
    func refused(_ reason: String, _ address: String) {
        let isLogged = state.withLock { state in
            state.statistics.refused += 1
            let now = NIODeadline.now()
            guard state.lastRefusalLogged.map({ now - $0 > .seconds(1) }) ?? true else { return false }
            state.lastRefusalLogged = now
            return true
        }
        guard isLogged else { return }
        logger.notice("An agent connection was refused.", metadata: ["peer": "\(address)", "reason": "\(reason)"])
    }

    func makeSession(_ peer: AgentPeer, _ connection: WebSocketConnection) -> AgentSession {
        let id = state.withLock { state in
            defer { state.nextSession += 1 }
            return state.nextSession
        }
        return AgentSession(
            id: id, peer: peer, remoteAddress: connection.channel.remoteAddress.map { "\($0)" } ?? "unknown",
            connection: connection, messageSizeMax: configuration.stream.messageSizeMax)
    }

    // MARK: Streams

    private func serve(_ session: AgentSession) async {
        var messages = session.connection.messages.makeAsyncIterator()
        guard let first = await messages.next(), let hello = hello(in: first, session) else { return }
        await admitted(session)
        let (older, isStopping) = state.withLock { state in
            let older = state.sessions.updateValue(session, forKey: session.node)
            return (older, state.isStopping)
        }
        if let older {
            logger.notice("A newer stream replaces an older one.", metadata: ["old": "\(older)", "new": "\(session)"])
            older.goodbye("Another connection of this node has taken over.", retryAfterSeconds: 60)
        }
        if isStopping { session.goodbye("The conductor stops.", retryAfterSeconds: 1) }
        await apart { [delegate] in await delegate.agentConnected(session, hello: hello) }
        var badMessages = 0
        while let text = await messages.next() {
            if let message = decode(text, session) {
                await apart { [delegate] in await delegate.agentSent(message, from: session) }
            } else {
                badMessages += 1
                if badMessages > Self.badMessagesMax {
                    session.connection.close(code: 1007, reason: "too many messages that are not understood")
                }
            }
        }
        state.withLock { state in
            if state.sessions[session.node] === session { state.sessions[session.node] = nil }
        }
        try? await session.connection.channel.closeFuture.get()
        let end = session.connection.end ?? .lost("cancelled")
        await apart { [delegate] in await delegate.agentDisconnected(session, reason: end) }
    }

    /// Does `body` in a task that ends with it: the stream's own would keep the memory that it needs for as long as it lives.
    private func apart(_ body: @escaping @Sendable () async -> Void) async {
        await withTaskGroup(of: Void.self) { group in group.addTask { await body() } }
    }

    private func hello(in text: ByteBuffer, _ session: AgentSession) -> AgentHello? {
        if case .hello(let hello) = decode(text, session) { return hello }
        refused("the first message is no hello", session.remoteAddress)
        session.connection.close(code: 1002, reason: "the first message must be a hello")
        return nil
    }

    private func decode(_ text: ByteBuffer, _ session: AgentSession) -> AgentMessage? {
        do {
            return try AgentStream.decode(AgentMessage.self, from: text.readableBytesView)
        } catch {
            state.withLock { $0.statistics.badMessages += 1 }
            logger.info("A message was not understood.", metadata: ["agent": "\(session)", "error": "\(error)"])
            return nil
        }
    }

    /// The hello has come: the admission's deadline no longer counts.
    private func admitted(_ session: AgentSession) async {
        let channel = session.connection.channel
        try? await channel.eventLoop.submit {
            let pipeline = channel.pipeline.syncOperations
            pipeline.removeHandler(try pipeline.handler(type: AdmissionHandler.self), promise: nil)
        }.get()
    }
}
