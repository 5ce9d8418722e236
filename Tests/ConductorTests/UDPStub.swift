import NIOCore
import NIOPosix

/// A UDP server on a port of the loopback interface that answers as the test wants; nil: with nothing.
struct UDPStub: Sendable {
    let port: UInt16

    private final class Handler: ChannelInboundHandler, Sendable {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        typealias OutboundOut = AddressedEnvelope<ByteBuffer>

        let reply: @Sendable ([UInt8]) -> [UInt8]?

        init(reply: @escaping @Sendable ([UInt8]) -> [UInt8]?) { self.reply = reply }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            guard let bytes = reply(Array(buffer: envelope.data)) else { return }
            let answer = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: bytes))
            context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        }
    }

    /// Runs `body` while the stub answers.
    static func with(
        _ reply: @escaping @Sendable ([UInt8]) -> [UInt8]?, _ body: (UDPStub) async throws -> Void
    ) async throws {
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(reply: reply))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            try await body(UDPStub(port: UInt16(channel.localAddress?.port ?? 0)))
        } catch {
            try? await channel.close()
            throw error
        }
        try await channel.close()
    }
}
