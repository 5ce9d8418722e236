import AgentProtocol
import Identity
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NodeTransport
import Primitives

/// An HTTP server for tests: answers each request with what a closure says; TLS when a certificate is given.
struct MiniServer {
    struct Answer: Sendable {
        var status: HTTPResponseStatus = .ok
        var body = ByteBuffer()
        /// The body is sent this many times.
        var repeats = 1
        /// Whether the connection is closed before the body is complete.
        var breaksOff = false
        /// Whether nothing is answered at all.
        var isSilent = false
    }

    let endpoint: Endpoint
    private let channel: any Channel

    static func start(
        certificate: IssuedServer? = nil,
        _ answer: @escaping @Sendable (_ method: String, _ path: String, _ body: ByteBuffer) -> Answer
    ) async throws -> MiniServer {
        var context: NIOSSLContext?
        if let certificate {
            let chain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.certificatePEM.utf8))
            let key = try NIOSSLPrivateKey(bytes: Array(certificate.privateKeyPEM.utf8), format: .pem)
            context = try NIOSSLContext(
                configuration: .makeServerConfiguration(
                    certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key)))
        }
        let tls = context
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
                    try pipeline.configureHTTPServerPipeline()
                    try pipeline.addHandler(Responder(answer))
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        return MiniServer(
            endpoint: try Endpoint(host: "127.0.0.1", port: channel.localAddress?.port ?? 0), channel: channel)
    }

    func stop() async throws { try await channel.close().get() }

    private final class Responder: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let answer: @Sendable (String, String, ByteBuffer) -> Answer
        private var head: HTTPRequestHead?
        private var body = ByteBuffer()

        init(_ answer: @escaping @Sendable (String, String, ByteBuffer) -> Answer) { self.answer = answer }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch Self.unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body.clear()
            case .body(let piece): body.writeImmutableBuffer(piece)
            case .end: if let head { respond(answer(head.method.rawValue, head.uri, body), context) }
            }
        }

        private func respond(_ answer: Answer, _ context: ChannelHandlerContext) {
            guard !answer.isSilent else { return }
            var head = HTTPResponseHead(version: .http1_1, status: answer.status)
            let length = answer.body.readableBytes * answer.repeats
            head.headers.add(name: "Content-Length", value: String(answer.breaksOff ? length + 1 : length))
            head.headers.add(name: "X-Test", value: "yes")
            context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
            for _ in 0..<answer.repeats {
                context.write(Self.wrapOutboundOut(.body(.byteBuffer(answer.body))), promise: nil)
            }
            if answer.breaksOff {
                context.flush()
                context.close(promise: nil)
            } else {
                context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}
