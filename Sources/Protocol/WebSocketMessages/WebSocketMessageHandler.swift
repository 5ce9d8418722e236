import NIOCore
import NIOWebSocket
import Primitives
import Synchronization

/// Makes messages of frames, answers and sends pings, and keeps the limits; lives on the channel's event loop.
final class WebSocketMessageHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundIn = Never
    typealias OutboundOut = WebSocketFrame

    /// How long the peer may take to answer a close frame.
    static let closeTimeout = TimeAmount.seconds(2)

    var source: WebSocketConnection.Messages.Base.Source?

    private let side: WebSocketConnection.Side
    private let limits: WebSocketLimits
    private let shared: WebSocketShared
    private let socket: SocketEdge

    private var context: ChannelHandlerContext?
    private var partial: ByteBuffer?
    private var partialCount = 0
    private var isPaused = false
    private var hasPendingRead = false
    private var hasSentClose = false
    private var isFinished = false
    private var lastHeard = NIODeadline.now()
    private var unansweredPings = 0
    private var timer: Scheduled<Void>?

    init(side: WebSocketConnection.Side, limits: WebSocketLimits, shared: WebSocketShared, socket: SocketEdge) {
        self.side = side
        self.limits = limits
        self.shared = shared
        self.socket = socket
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        lastHeard = context.eventLoop.now
        scheduleSilenceCheck(in: pingInterval, context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish(.lost("the handler was removed"))
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.lost("the peer went away"))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength: fail(code: 1009, .messageTooLarge(limit: limits.messageSizeMax))
        case let error as NIOWebSocketError: fail(code: 1002, .protocolError("\(error)"))
        default: abort(.lost("\(error)"))
        }
    }

    /// Ends at once: the reader sees the end, and the socket is closed below TLS.
    func abort(_ end: WebSocketEnd) {
        finish(end)
        socket.closeAtOnce()
    }

    /// Sends a close frame and closes when it is answered, or soon after.
    func close(code: UInt16, reason: String) { fail(code: code, .closedHere(reason: reason)) }

    private func fail(code: UInt16, _ end: WebSocketEnd) {
        guard let context, !hasSentClose else { return }
        hasSentClose = true
        let reason = String("\(end)".prefix(100))
        var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
        data.writeInteger(code)
        data.writeString(String(decoding: reason.utf8.prefix(123), as: UTF8.self))
        if data.readableBytes > 125 { data = data.getSlice(at: data.readerIndex, length: 2) ?? data }
        write(.connectionClose, data, context)
        finish(end)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.closeTimeout) { self.socket.closeAtOnce() }
        if isPaused { resumeReading() }
    }

    private func finish(_ end: WebSocketEnd) {
        guard !isFinished else { return }
        isFinished = true
        timer?.cancel()
        timer = nil
        partial = nil
        shared.finish(end)
        source?.finish()
        source = nil
    }

    func readerLeft() {
        guard !isFinished else { return }
        fail(code: 1001, .closedHere(reason: "the reader went away"))
    }

    // MARK: Inbound

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastHeard = context.eventLoop.now
        unansweredPings = 0
        let frame = Self.unwrapInboundIn(data)
        guard side == .client || frame.maskKey != nil || frame.length == 0 else {
            return fail(code: 1002, .protocolError("an unmasked frame from a client"))
        }
        switch frame.opcode {
        case .text, .continuation: receive(frame)
        case .ping: if !hasSentClose { write(.pong, frame.unmaskedData, context) }
        case .pong: break
        case .connectionClose: receiveClose(frame, context)
        default: fail(code: 1003, .protocolError("only text messages are understood"))
        }
    }

    private func receive(_ frame: WebSocketFrame) {
        guard !isFinished else { return }
        guard (frame.opcode == .continuation) == (partial != nil) else {
            return fail(code: 1002, .protocolError("fragments out of order"))
        }
        guard frame.length + (partial?.readableBytes ?? 0) <= limits.messageSizeMax else {
            return fail(code: 1009, .messageTooLarge(limit: limits.messageSizeMax))
        }
        var data = frame.unmaskedData
        if frame.opcode == .text, frame.fin { return deliver(data) }
        partialCount += 1
        guard partialCount <= limits.fragmentCountMax else {
            return fail(code: 1009, .protocolError("more than \(limits.fragmentCountMax) fragments"))
        }
        if partial == nil { partial = data } else { partial?.writeBuffer(&data) }
        if frame.fin, let whole = partial {
            partial = nil
            partialCount = 0
            deliver(whole)
        }
    }

    private func deliver(_ message: ByteBuffer) {
        switch source?.yield(message) {
        case .produceMore, .none: break
        case .stopProducing: isPaused = true
        case .dropped: readerLeft()
        }
    }

    private func receiveClose(_ frame: WebSocketFrame, _ context: ChannelHandlerContext) {
        var data = frame.unmaskedData
        let code: UInt16 = data.readInteger() ?? 1005
        let reason = data.readString(length: data.readableBytes) ?? ""
        finish(.closedByPeer(code: code, reason: String(reason.prefix(123))))
        if !hasSentClose {
            hasSentClose = true
            write(.connectionClose, frame.unmaskedData, context)
        }
        context.close(promise: nil)
    }

    func read(context: ChannelHandlerContext) {
        if isPaused { hasPendingRead = true } else { context.read() }
    }

    func resumeReading() {
        isPaused = false
        guard let context else { return }
        lastHeard = context.eventLoop.now
        unansweredPings = 0
        if hasPendingRead {
            hasPendingRead = false
            context.read()
        }
    }

    // MARK: Outbound

    /// Writes a message whose size was already added to the waiting bytes.
    func write(_ text: ByteBuffer) {
        let size = text.readableBytes
        guard let context, !isFinished else {
            shared.outboundBytes.subtract(size, ordering: .relaxed)
            return
        }
        let frame = WebSocketFrame(fin: true, opcode: .text, maskKey: maskKey, data: text)
        let shared = self.shared
        context.writeAndFlush(Self.wrapOutboundOut(frame)).whenComplete { _ in
            shared.outboundBytes.subtract(size, ordering: .relaxed)
        }
    }

    private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
        let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: maskKey, data: data)
        context.writeAndFlush(Self.wrapOutboundOut(frame), promise: nil)
    }

    private var maskKey: WebSocketMaskingKey? { side == .client ? .random() : nil }

    // MARK: Silence

    private var pingInterval: TimeAmount { .milliseconds(max(1, limits.pingInterval.milliseconds)) }

    private func scheduleSilenceCheck(in delay: TimeAmount, _ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.checkSilence() }
    }

    private func checkSilence() {
        guard let context, !isFinished else { return }
        let silence = isPaused ? .zero : context.eventLoop.now - lastHeard
        let due = pingInterval * (unansweredPings + 1)
        guard silence >= due else { return scheduleSilenceCheck(in: due - silence, context) }
        guard unansweredPings < limits.unansweredPingsMax else { return abort(.peerSilent) }
        unansweredPings += 1
        write(.ping, context.channel.allocator.buffer(capacity: 0), context)
        scheduleSilenceCheck(in: pingInterval, context)
    }
}
