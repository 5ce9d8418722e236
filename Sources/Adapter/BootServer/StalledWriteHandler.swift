import NIOCore

/// Closes a connection whose client takes no bytes for a time although there are some for it.
final class StalledWriteHandler: ChannelOutboundHandler, ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any
    typealias OutboundIn = Any

    /// An outbound event that is done when the socket has taken all that was written before it, and fails when it does not.
    struct AwaitWritten {}

    private let timeout: TimeAmount
    private var pending = 0
    private var last: EventLoopFuture<Void>?
    private var progress = NIODeadline.uptimeNanoseconds(0)
    private var check: NIOIsolatedScheduled?

    private typealias NIOIsolatedScheduled = Scheduled<Void>

    init(timeout: TimeAmount) { self.timeout = timeout }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        if pending == 0 {
            progress = .now()
            if check == nil { schedule(context.channel, after: timeout) }
        }
        pending += 1
        written.futureResult.assumeIsolated().whenComplete { _ in
            self.pending -= 1
            self.progress = .now()
        }
        last = written.futureResult
        context.write(data, promise: written)
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is AwaitWritten else { return context.triggerUserOutboundEvent(event, promise: promise) }
        guard let last else { return promise?.succeed() ?? () }
        last.cascade(to: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        check?.cancel()
        check = nil
        context.fireChannelInactive()
    }

    private func schedule(_ channel: any Channel, after delay: TimeAmount) {
        check = channel.eventLoop.assumeIsolated().scheduleTask(in: delay) {
            self.check = nil
            guard self.pending > 0 else { return }
            let left = self.progress + self.timeout - .now()
            if left > .nanoseconds(0) {
                self.schedule(channel, after: left)
            } else {
                channel.close(promise: nil)
            }
        }
    }
}
