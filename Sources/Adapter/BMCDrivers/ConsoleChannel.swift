import BareMetal
import NIOCore
import NIOPosix
import Primitives

/// A console's bytes on a NIO channel: a socket of a terminal server, or the master of a pseudo terminal.
enum ConsoleChannel {
    /// Pieces that wait for their reader; when they are more, the oldest are lost.
    static let waitingCountMax = 4096

    /// A console at a socket. Throws `BMCError.unreachable`.
    static func connect(
        _ address: SocketAddress, limits: BMCLimits, group: any EventLoopGroup
    ) async throws(BMCError) -> ConsoleLine {
        let receiver = Receiver()
        do {
            let channel = try await ClientBootstrap(group: group)
                .connectTimeout(.milliseconds(limits.connect.milliseconds))
                .channelInitializer { $0.pipeline.addHandler(receiver) }
                .connect(to: address).get()
            return line(channel, receiver)
        } catch { throw .unreachable(cause: "\(error)".printable(limit: 200)) }
    }

    /// A console at the master of a pseudo terminal, which is closed with it. Throws when it is none.
    static func adopt(_ descriptor: CInt, group: any EventLoopGroup) async throws -> ConsoleLine {
        let receiver = Receiver()
        let channel = try await NIOPipeBootstrap(group: group)
            .channelInitializer { $0.pipeline.addHandler(receiver) }
            .takingOwnershipOfDescriptor(inputOutput: descriptor).get()
        return line(channel, receiver)
    }

    private static func line(_ channel: any Channel, _ receiver: Receiver) -> ConsoleLine {
        ConsoleLine(
            output: receiver.output,
            send: { bytes in try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)) },
            close: { try? await channel.close() })
    }

    /// Gives what arrives to the stream. Used by one channel; a stream's continuation may be used from anywhere.
    private final class Receiver: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer

        let output: AsyncThrowingStream<[UInt8], any Error>
        private let continuation: AsyncThrowingStream<[UInt8], any Error>.Continuation

        init() {
            (output, continuation) = AsyncThrowingStream.makeStream(
                of: [UInt8].self, bufferingPolicy: .bufferingNewest(ConsoleChannel.waitingCountMax))
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            continuation.yield(Array(Self.unwrapInboundIn(data).readableBytesView))
        }

        func channelInactive(context: ChannelHandlerContext) { continuation.finish() }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            // A pseudo terminal whose other side is closed cannot be read any more (EIO): that is its end.
            continuation.finish()
            context.close(promise: nil)
        }
    }
}

/// A console that carries its bytes as they are: a terminal server's port, or a socket on this machine.
public struct SocketConsole: ConsoleAccess {
    private let resolve: @Sendable () throws -> SocketAddress
    private let limits: BMCLimits
    private let group: any EventLoopGroup

    /// A console at `host` and `port`.
    init(host: String, port: Int, limits: BMCLimits, group: any EventLoopGroup) {
        resolve = { try SocketAddress.makeAddressResolvingHost(host, port: port) }
        self.limits = limits
        self.group = group
    }

    /// A console at a socket of this machine.
    init(path: String, limits: BMCLimits, group: any EventLoopGroup) {
        resolve = { try SocketAddress(unixDomainSocketPath: path) }
        self.limits = limits
        self.group = group
    }

    public func openConsole(takesOver: Bool) async throws(BMCError) -> ConsoleLine {
        let address: SocketAddress
        do { address = try resolve() } catch { throw .unreachable(cause: "\(error)".printable(limit: 200)) }
        return try await ConsoleChannel.connect(address, limits: limits, group: group)
    }
}
