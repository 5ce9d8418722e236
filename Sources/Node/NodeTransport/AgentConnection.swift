import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Primitives
import WebSocketMessages

/// Opens WebSocket streams (RFC 6455) as a client.
public enum AgentConnection {
    /// Connects to `endpoint`, upgrades `path` to WebSocket and gives the open stream.
    ///
    /// Throws `TransportError`; `.upgradeRefused` carries the server's own message in `detail`.
    public static func open(
        to endpoint: Endpoint, path: String, security: TransportSecurity, limits: WebSocketLimits = WebSocketLimits(),
        connectTimeout: Duration = .seconds(10),
        on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) async throws(TransportError) -> WebSocketConnection {
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(.milliseconds(connectTimeout.milliseconds))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
        do {
            let upgrade = try await bootstrap.connect(host: endpoint.host, port: endpoint.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try Self.configure(channel, endpoint, path, security, limits, connectTimeout)
                }
            }
            return try await withTaskCancellationHandler {
                try await upgrade.outcome.get()
            } onCancel: {
                upgrade.channel.close(promise: nil)
            }
        } catch {
            throw Task.isCancelled ? TransportError(.cancelled, endpoint, "") : TransportError.of(error, endpoint)
        }
    }

    private struct Upgrade: Sendable {
        let channel: any Channel
        let outcome: EventLoopFuture<WebSocketConnection>
    }

    private static func configure(
        _ channel: any Channel, _ endpoint: Endpoint, _ path: String, _ security: TransportSecurity,
        _ limits: WebSocketLimits, _ timeout: Duration
    ) throws -> Upgrade {
        let pipeline = channel.pipeline.syncOperations
        let outcome = channel.eventLoop.makePromise(of: WebSocketConnection.self)
        let guardian = UpgradeGuard(endpoint: endpoint, outcome: outcome, timeout: timeout)
        let upgrader = NIOTypedWebSocketClientUpgrader(maxFrameSize: limits.messageSizeMax) { channel, _ in
            channel.eventLoop.makeCompletedFuture { () -> WebSocketConnection? in
                try WebSocketConnection.install(on: channel, side: .client, limits: limits)
            }
        }
        let refusal = channel.eventLoop.makePromise(of: Never.self)
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        head.headers.add(name: "Host", value: endpoint.description)
        let configuration = NIOUpgradableHTTPClientPipelineConfiguration(
            upgradeConfiguration: NIOTypedHTTPClientUpgradeConfiguration(
                upgradeRequestHead: head, upgraders: [upgrader],
                notUpgradingCompletionHandler: { channel in
                    channel.eventLoop.makeCompletedFuture { () -> WebSocketConnection? in
                        try channel.pipeline.syncOperations.addHandler(
                            RefusalReader(endpoint: endpoint, outcome: refusal))
                        return nil
                    }
                }))
        if let tls = try security.makeHandler(for: endpoint) { try pipeline.addHandler(tls) }
        try pipeline.addHandler(guardian)
        let result = try pipeline.configureUpgradableHTTPClientPipeline(configuration: configuration)
        result.assumeIsolated().whenComplete { guardian.settle($0) }
        refusal.futureResult.assumeIsolated().whenFailure { guardian.settle(.failure($0)) }
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            refusal.fail(TransportError(.closed, endpoint, ""))
            guardian.settle(.failure(TransportError(.closed, endpoint, "before the stream was open")))
        }
        return Upgrade(channel: channel, outcome: outcome.futureResult)
    }
}

/// Stands after TLS until the upgrade is done: keeps the first error, which says more than those that follow.
private final class UpgradeGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let endpoint: Endpoint
    private let outcome: EventLoopPromise<WebSocketConnection>
    private let timeout: Duration
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?
    private var isSettled = false

    init(endpoint: Endpoint, outcome: EventLoopPromise<WebSocketConnection>, timeout: Duration) {
        self.endpoint = endpoint
        self.outcome = outcome
        self.timeout = timeout
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        timer = context.eventLoop.assumeIsolated().scheduleTask(
            in: .milliseconds(timeout.milliseconds)
        ) { self.settle(.failure(TransportError(.connectTimeout, self.endpoint, "the stream was not opened"))) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        settle(.failure(TransportError(.closed, endpoint, "before the stream was open")))
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !isSettled else { return context.fireErrorCaught(error) }
        settle(.failure(TransportError.of(error, endpoint)))
    }

    /// Takes the first result; no connection means that the reason of the refusal is still being read.
    func settle(_ result: Result<WebSocketConnection?, any Error>) {
        guard !isSettled else { return }
        if case .success(nil) = result { return }
        isSettled = true
        timer?.cancel()
        timer = nil
        switch result {
        case .success(.some(let connection)): outcome.succeed(connection)
        case .success(nil): break
        case .failure(let error):
            outcome.fail(error)
            context?.channel.close(promise: nil)
        }
    }
}

/// Reads the answer of a server that does not upgrade, to tell its reason.
private final class RefusalReader: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private static let bodySizeMax = 4096

    private let endpoint: Endpoint
    private let outcome: EventLoopPromise<Never>
    private var status = 0
    private var body = ByteBuffer()

    init(endpoint: Endpoint, outcome: EventLoopPromise<Never>) {
        self.endpoint = endpoint
        self.outcome = outcome
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head): status = Int(head.status.code)
        case .body(let piece) where body.readableBytes + piece.readableBytes <= Self.bodySizeMax:
            body.writeImmutableBuffer(piece)
        case .body: break
        case .end:
            outcome.fail(TransportError(.upgradeRefused(status: status), endpoint, String(buffer: body)))
            context.close(promise: nil)
        }
    }
}
