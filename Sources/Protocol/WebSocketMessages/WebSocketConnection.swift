import NIOCore
import Synchronization

/// Text messages over one upgraded channel, in both directions, with limits and pings (RFC 6455).
///
/// Safe from any thread. `messages` is for one reader; it ends when the connection ends, and `end` then says why.
public final class WebSocketConnection: Sendable {
    /// Which side of the connection this is; clients mask what they send (RFC 6455 section 5.3).
    public enum Side: Sendable {
        /// The side that connected.
        case client
        /// The side that was connected to.
        case server
    }

    /// The received messages, each the bytes of one whole text.
    public let messages: Messages
    /// The underlying channel.
    public let channel: any Channel

    private let limits: WebSocketLimits
    private let handler: NIOLoopBound<WebSocketMessageHandler>
    private let shared: WebSocketShared

    /// Puts the message handler at the end of `channel`'s pipeline, after the frame codecs.
    ///
    /// Must be called on the channel's event loop; throws when the channel is closed already.
    public static func install(
        on channel: any Channel, side: Side, limits: WebSocketLimits
    ) throws -> WebSocketConnection {
        channel.eventLoop.preconditionInEventLoop()
        let shared = WebSocketShared()
        let socket = SocketEdge()
        let handler = WebSocketMessageHandler(side: side, limits: limits, shared: shared, socket: socket)
        let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
        let produced = NIOAsyncSequenceProducer.makeSequence(
            elementType: ByteBuffer.self,
            backPressureStrategy: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark(
                lowWatermark: 1, highWatermark: max(2, limits.inboundMessagesMax)),
            finishOnDeinit: false,
            delegate: ReadDemand(eventLoop: channel.eventLoop, handler: bound))
        handler.source = produced.source
        try channel.pipeline.syncOperations.addHandler(socket, position: .first)
        try channel.pipeline.syncOperations.addHandler(handler)
        return WebSocketConnection(
            channel: channel, limits: limits, handler: bound, shared: shared, sequence: produced.sequence)
    }

    private init(
        channel: any Channel, limits: WebSocketLimits, handler: NIOLoopBound<WebSocketMessageHandler>,
        shared: WebSocketShared, sequence: Messages.Base
    ) {
        self.channel = channel
        self.limits = limits
        self.handler = handler
        self.shared = shared
        messages = Messages(base: sequence)
    }

    /// Why the connection ended; nil while it is open.
    public var end: WebSocketEnd? { shared.end.withLock { $0 } }

    /// The bytes that wait for the kernel.
    public var outboundBytes: Int { shared.outboundBytes.load(ordering: .relaxed) }

    /// Queues `text`; throws when the connection has ended, also because this message was too much for a slow peer.
    public func send(_ text: ByteBuffer) throws(WebSocketSendError) {
        if let end { throw WebSocketSendError(end: end) }
        let size = text.readableBytes
        let waiting = shared.outboundBytes.add(size, ordering: .relaxed).newValue
        guard waiting <= limits.outboundBytesMax else {
            shared.outboundBytes.subtract(size, ordering: .relaxed)
            let end = WebSocketEnd.tooSlow(limit: limits.outboundBytesMax)
            abort(end)
            throw WebSocketSendError(end: end)
        }
        channel.eventLoop.execute { [handler] in handler.value.write(text) }
    }

    /// Says goodbye with a close frame behind all queued messages; the socket is gone some seconds later at the latest.
    public func close(code: UInt16 = 1000, reason: String) {
        channel.eventLoop.execute { [handler] in handler.value.close(code: code, reason: reason) }
    }

    /// Ends the connection at once, without a goodbye.
    public func abort(_ end: WebSocketEnd) {
        shared.finish(end)
        channel.eventLoop.execute { [handler] in handler.value.abort(end) }
    }

    /// The messages of a connection in order; for one reader.
    public struct Messages: AsyncSequence, Sendable {
        public typealias Element = ByteBuffer
        public typealias Failure = Never
        typealias Base = NIOAsyncSequenceProducer<
            ByteBuffer, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, ReadDemand
        >

        let base: Base

        /// Reads messages.
        public struct AsyncIterator: AsyncIteratorProtocol {
            let base: Base.AsyncIterator

            /// The next message; nil when the connection has ended or the task is cancelled.
            public mutating func next() async -> ByteBuffer? { await base.next() }
        }

        public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: base.makeAsyncIterator()) }
    }
}

/// What a connection's handler and its users on other threads both touch.
final class WebSocketShared: Sendable {
    let end = Mutex<WebSocketEnd?>(nil)
    let outboundBytes = Atomic<Int>(0)

    /// Notes the first reason; later ones follow from it.
    func finish(_ reason: WebSocketEnd) {
        end.withLock { if $0 == nil { $0 = reason } }
    }
}

/// Turns the reader's demand into reads from the socket.
final class ReadDemand: NIOAsyncSequenceProducerDelegate {
    private let eventLoop: any EventLoop
    private let handler: NIOLoopBound<WebSocketMessageHandler>

    init(eventLoop: any EventLoop, handler: NIOLoopBound<WebSocketMessageHandler>) {
        self.eventLoop = eventLoop
        self.handler = handler
    }

    func produceMore() { eventLoop.execute { [handler] in handler.value.resumeReading() } }

    func didTerminate() { eventLoop.execute { [handler] in handler.value.readerLeft() } }
}

/// Sits next to the socket so that a dead peer's connection is closed without waiting for TLS to say goodbye.
final class SocketEdge: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var context: ChannelHandlerContext?

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func closeAtOnce() { context?.close(mode: .all, promise: nil) }
}
