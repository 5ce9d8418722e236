import HummingbirdCore
import Logging
import NIOCore
import Primitives

/// Takes up no more connections of one address than it may have; others are closed at once.
public struct BoundedChannel<Base: ServerChildChannel>: ServerChildChannel {
    public typealias Value = Base.Value

    private let base: Base
    private let addresses: AddressLimit

    /// A server's connections, `base`, within the places that `addresses` gives.
    public init(_ base: Base, _ addresses: AddressLimit) {
        self.base = base
        self.addresses = addresses
    }

    public func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let place = addresses.take(channel.remoteAddress?.ipAddress ?? "unknown")
        channel.closeFuture.whenComplete { _ in withExtendedLifetime(place) {} }
        return base.setup(channel: channel, logger: logger).map { value in
            // An error here would end the whole server; a closed connection is of no matter to it.
            if place == nil { channel.close(promise: nil) }
            return value
        }
    }

    public func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}

/// Closes a connection on which no whole head of a request has come in time, with its TLS handshake before it.
///
/// Stands behind the HTTP decoder, so that whatever it reads is a part of a request.
public final class FirstRequestDeadline: ChannelInboundHandler, RemovableChannelHandler {
    public typealias InboundIn = Any
    public typealias InboundOut = Any

    /// How long a client may take.
    public static let timeout: Duration = .seconds(20)

    private let timeout: TimeAmount
    private var timer: Scheduled<Void>?

    /// A deadline for one connection.
    public init(timeout: Duration = FirstRequestDeadline.timeout) { self.timeout = .milliseconds(timeout.milliseconds) }

    public func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { channel.close(promise: nil) }
    }

    public func handlerRemoved(context: ChannelHandlerContext) { end() }

    public func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        end()
        context.fireChannelRead(data)
    }

    private func end() {
        timer?.cancel()
        timer = nil
    }
}
