import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives

/// One HTTP/1.1 connection (RFC 9112) for one request at a time, kept open between requests.
///
/// Dropping the last reference closes it.
public final class HTTPConnection: Sendable {
    /// The server.
    public let endpoint: Endpoint
    private let channel: any Channel
    private let handler: NIOLoopBound<HTTPExchangeHandler>

    /// Connects, TLS included; throws `TransportError` (refused, unreachable, connectTimeout, notTrusted, tls).
    public static func open(
        to endpoint: Endpoint, security: TransportSecurity = .plain, limits: TransportLimits = TransportLimits(),
        on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) async throws(TransportError) -> HTTPConnection {
        let isSecured = security.context != nil
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(.milliseconds(limits.connectTimeout.milliseconds))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
        do {
            let (channel, handler, ready) = try await bootstrap.connect(host: endpoint.host, port: endpoint.port) {
                channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls = try security.makeHandler(for: endpoint) { try pipeline.addHandler(tls) }
                    try pipeline.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
                    let handler = HTTPExchangeHandler(
                        endpoint: endpoint, limits: limits, isSecured: isSecured, eventLoop: channel.eventLoop)
                    try pipeline.addHandler(handler)
                    return (channel, NIOLoopBound(handler, eventLoop: channel.eventLoop), handler.ready)
                }
            }
            try await withTaskCancellationHandler {
                try await ready.get()
            } onCancel: {
                channel.close(promise: nil)
            }
            return HTTPConnection(endpoint: endpoint, channel: channel, handler: handler)
        } catch {
            throw Task.isCancelled ? TransportError(.cancelled, endpoint, "") : TransportError.of(error, endpoint)
        }
    }

    private init(endpoint: Endpoint, channel: any Channel, handler: NIOLoopBound<HTTPExchangeHandler>) {
        self.endpoint = endpoint
        self.channel = channel
        self.handler = handler
    }

    deinit { channel.close(promise: nil) }

    /// Whether another request may be tried on this connection.
    public var isOpen: Bool { channel.isActive }

    /// Sends `request` and collects the whole answer; throws `TransportError`, `.tooLarge` above `bodyLimit` bytes.
    public func send(_ request: Request, bodyLimit: Int = 1 << 20) async throws(TransportError) -> Response {
        switch try await exchange(request, .collect(limit: bodyLimit)) {
        case .whole(let response): return response
        case .streamed: throw TransportError(.badAnswer, endpoint, "")
        }
    }

    /// Sends `request` and gives the answer's head at once and its body as it comes; not reading it stops the server.
    public func stream(_ request: Request) async throws(TransportError) -> StreamedResponse {
        switch try await exchange(request, .stream) {
        case .streamed(let response): return response
        case .whole: throw TransportError(.badAnswer, endpoint, "")
        }
    }

    /// Closes the connection and waits until it is closed.
    public func close() async {
        channel.close(promise: nil)
        try? await channel.closeFuture.get()
    }

    /// Opens a connection for one request and closes it.
    public static func once(
        _ request: Request, to endpoint: Endpoint, security: TransportSecurity = .plain,
        limits: TransportLimits = TransportLimits(), bodyLimit: Int = 1 << 20,
        on group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) async throws(TransportError) -> Response {
        let connection = try await open(to: endpoint, security: security, limits: limits, on: group)
        do {
            let response = try await connection.send(request, bodyLimit: bodyLimit)
            await connection.close()
            return response
        } catch {
            await connection.close()
            throw error
        }
    }

    private func exchange(_ request: Request, _ mode: HTTPExchangeHandler.Mode) async throws(TransportError) -> Exchange
    {
        let promise = channel.eventLoop.makePromise(of: Exchange.self)
        do {
            return try await withTaskCancellationHandler {
                channel.eventLoop.execute { [handler] in handler.value.begin(request, mode, promise) }
                return try await promise.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            throw Task.isCancelled ? TransportError(.cancelled, endpoint, "") : TransportError.of(error, endpoint)
        }
    }
}

extension HTTPConnection {
    /// A request.
    public struct Request: Sendable {
        /// The methods that agents use.
        public enum Method: String, Sendable {
            case get = "GET"
            case head = "HEAD"
            case post = "POST"
            case put = "PUT"
            case delete = "DELETE"
        }

        /// The method.
        public var method: Method
        /// The path with its query, beginning with `/`.
        public var path: String
        /// Further fields; `Host` and `Content-Length` are made by the connection.
        public var headers: [(name: String, value: String)]
        /// The body; nil for none.
        public var body: ByteBuffer?

        /// A request.
        public init(
            _ method: Method = .get, _ path: String, headers: [(name: String, value: String)] = [],
            body: ByteBuffer? = nil
        ) {
            self.method = method
            self.path = path
            self.headers = headers
            self.body = body
        }
    }

    /// An answer with its whole body.
    public struct Response: Sendable {
        /// The status code.
        public var status: Int
        /// The fields in order, as sent.
        public var headers: [(name: String, value: String)]
        /// The body.
        public var body: ByteBuffer

        /// The first field of that name, in any case; nil when absent.
        public func header(_ name: String) -> String? { find(name, in: headers) }

        /// The body as text.
        public var text: String { String(buffer: body) }
    }

    /// An answer whose body is still on its way.
    public struct StreamedResponse: Sendable {
        /// The status code.
        public var status: Int
        /// The fields in order, as sent.
        public var headers: [(name: String, value: String)]
        /// The body; read it to the end or the connection is closed.
        public var body: Body

        /// The first field of that name, in any case; nil when absent.
        public func header(_ name: String) -> String? { find(name, in: headers) }
    }

    /// A body in pieces, for one reader; throws `TransportError` when it ends too early.
    public struct Body: AsyncSequence, Sendable {
        public typealias Element = ByteBuffer
        typealias Base = NIOThrowingAsyncSequenceProducer<
            ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, HTTPBodyDemand
        >

        let base: Base

        /// Reads pieces.
        public struct AsyncIterator: AsyncIteratorProtocol {
            let base: Base.AsyncIterator

            /// The next piece; nil after the last. Throws `TransportError`.
            public mutating func next() async throws -> ByteBuffer? { try await base.next() }
        }

        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: base.makeAsyncIterator()) }
    }

    enum Exchange: Sendable {
        case whole(Response)
        case streamed(StreamedResponse)
    }
}

private func find(_ name: String, in headers: [(name: String, value: String)]) -> String? {
    let wanted = name.lowercased()
    return headers.first { $0.name.lowercased() == wanted }?.value
}
