import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A request that the stub got.
struct StubRequest: Sendable {
    var method: String
    var path: String
    var headers: HTTPHeaders
    var body: String
}

/// What the stub does with a request.
enum StubReply: Sendable {
    /// A proper answer.
    case answer(Int, String, [String: String] = [:])
    /// Nothing, for ever.
    case hang
    /// A head that promises a body, then one byte each 50 ms.
    case drip
    /// `count` bytes of body in chunks.
    case flood(count: Int)
    /// Closes without an answer.
    case close
}

/// A BMC on a port of its own that misbehaves as the test wants.
final class StubBMC: Sendable {
    let port: Int
    private let channel: any Channel
    private let log: Log

    fileprivate final class Log: Sendable {
        let requests = Mutex<[StubRequest]>([])
        let context: Mutex<NIOSSLContext?>

        init(_ context: NIOSSLContext?) { self.context = Mutex(context) }
    }

    /// The requests so far.
    var requests: [StubRequest] { log.requests.withLock { $0 } }

    /// Shows another certificate from now on.
    func swap(to tls: TLSConfiguration) throws {
        let context = try NIOSSLContext(configuration: tls)
        log.context.withLock { $0 = context }
    }

    private init(channel: any Channel, log: Log) {
        self.channel = channel
        self.log = log
        port = channel.localAddress?.port ?? 0
    }

    /// Runs a stub for the time of `body`; `reply` gets each request and its number from 1.
    @discardableResult
    static func with<Result: Sendable>(
        tls: TLSConfiguration? = nil, reply: @escaping @Sendable (StubRequest, Int) -> StubReply,
        _ body: (StubBMC) async throws -> Result
    ) async throws -> Result {
        let log = Log(try tls.map { try NIOSSLContext(configuration: $0) })
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context = log.context.withLock({ $0 }) {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
                    }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: false)
                    try channel.pipeline.syncOperations.addHandler(Handler(log: log, reply: reply))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let stub = StubBMC(channel: channel, log: log)
        do {
            let result = try await body(stub)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    /// Runs a server that sends `text` to everybody who connects and closes.
    @discardableResult
    static func withRaw<Result: Sendable>(
        _ text: String, _ body: (Int) async throws -> Result
    ) async throws -> Result {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.writeAndFlush(ByteBuffer(string: text)).flatMap { channel.close() }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            let result = try await body(channel.localAddress?.port ?? 0)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let log: Log
        private let reply: @Sendable (StubRequest, Int) -> StubReply
        private var request = StubRequest(method: "", path: "", headers: [:], body: "")

        init(log: Log, reply: @escaping @Sendable (StubRequest, Int) -> StubReply) {
            self.log = log
            self.reply = reply
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                request = StubRequest(method: head.method.rawValue, path: head.uri, headers: head.headers, body: "")
            case .body(let buffer):
                request.body += String(buffer: buffer)
            case .end:
                let request = request
                let number = log.requests.withLock { requests in
                    requests.append(request)
                    return requests.count
                }
                perform(reply(request, number), context)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func perform(_ reply: StubReply, _ context: ChannelHandlerContext) {
            switch reply {
            case .answer(let status, let body, let headers):
                var fields = HTTPHeaders(headers.map { ($0.key, $0.value) })
                if status != 204 { fields.add(name: "Content-Length", value: "\(body.utf8.count)") }
                send(context, status, fields, body)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            case .hang:
                break
            case .drip:
                send(context, 200, ["Content-Length": "1000000"], "{")
                let loop = NIOLoopBound(context, eventLoop: context.eventLoop)
                context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(50)) { task in
                    guard loop.value.channel.isActive else { return task.cancel() }
                    loop.value.writeAndFlush(
                        NIOAny(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(string: " ")))), promise: nil)
                }
            case .flood(let count):
                send(context, 200, [:], "{")
                let piece = ByteBuffer(repeating: UInt8(ascii: " "), count: 64 * 1024)
                for _ in 0..<(count / piece.readableBytes) {
                    context.write(wrapOutboundOut(.body(.byteBuffer(piece))), promise: nil)
                }
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            case .close:
                context.close(promise: nil)
            }
        }

        private func send(_ context: ChannelHandlerContext, _ status: Int, _ headers: HTTPHeaders, _ body: String) {
            let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            if !body.isEmpty, status != 204 {
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
            }
            context.flush()
        }
    }
}
