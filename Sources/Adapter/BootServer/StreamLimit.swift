import NIOCore
import Synchronization

/// Bounds how many streams are open; a place comes back when its slot is let go of, however the stream ended.
final class StreamLimit: Sendable {
    private let count = Mutex(0)
    private let countMax: Int

    init(_ countMax: Int) { self.countMax = countMax }

    /// Streams open now.
    var open: Int { count.withLock { $0 } }

    /// A place; nil when all are taken.
    func take() -> Slot? {
        let isFree = count.withLock { count in
            guard count < countMax else { return false }
            count += 1
            return true
        }
        return isFree ? Slot(self) : nil
    }

    final class Slot: Sendable {
        private let limit: StreamLimit

        fileprivate init(_ limit: StreamLimit) { self.limit = limit }

        deinit { limit.count.withLock { $0 -= 1 } }
    }
}

/// Closes a connection whose client takes no bytes for a time although there are some for it.
final class StalledWriteHandler: ChannelOutboundHandler, ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any
    typealias OutboundIn = Any

    private let timeout: TimeAmount
    private var pending = 0
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
        context.write(data, promise: written)
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
