import NIOCore
import NIOHTTP1
import NIOTLS
import Primitives

/// Runs one exchange after the other on a client's channel; lives on the channel's event loop.
final class HTTPExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Never
    typealias OutboundOut = HTTPClientRequestPart
    typealias Source = HTTPConnection.Body.Base.Source

    /// What is done with an answer's body.
    enum Mode: Sendable {
        case collect(limit: Int)
        case stream
    }

    private enum State {
        case connecting
        case idle
        case waiting(Mode, EventLoopPromise<HTTPConnection.Exchange>)
        case collecting(HTTPConnection.Response, limit: Int, EventLoopPromise<HTTPConnection.Exchange>)
        case streaming(Source)
        case closed(TransportError)
    }

    /// Succeeds when requests may be sent.
    let ready: EventLoopFuture<Void>

    private let readyPromise: EventLoopPromise<Void>
    private let endpoint: Endpoint
    private let limits: TransportLimits
    private let isSecured: Bool
    private var state = State.connecting
    private var context: ChannelHandlerContext?
    private var isKeptAlive = true
    private var isPaused = false
    private var hasPendingRead = false
    private var lastHeard = NIODeadline.now()
    private var timer: Scheduled<Void>?

    init(endpoint: Endpoint, limits: TransportLimits, isSecured: Bool, eventLoop: any EventLoop) {
        self.endpoint = endpoint
        self.limits = limits
        self.isSecured = isSecured
        readyPromise = eventLoop.makePromise()
        ready = readyPromise.futureResult
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { connected(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        fail(TransportError(.closed, endpoint, ""))
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        connected(context)
        context.fireChannelActive()
    }

    private func connected(_ context: ChannelHandlerContext) {
        guard case .connecting = state else { return }
        guard isSecured else { return becomeReady() }
        timer = context.eventLoop.assumeIsolated().scheduleTask(
            in: .milliseconds(limits.connectTimeout.milliseconds)
        ) { self.fail(TransportError(.connectTimeout, self.endpoint, "TLS did not finish")) }
    }

    private func becomeReady() {
        guard case .connecting = state else { return }
        timer?.cancel()
        state = .idle
        readyPromise.succeed()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event { becomeReady() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail(TransportError.of(error, endpoint)) }

    func channelInactive(context: ChannelHandlerContext) {
        fail(TransportError(.closed, endpoint, "in the middle of an answer"))
        context.fireChannelInactive()
    }

    /// Ends the exchange and the connection with the first error.
    private func fail(_ error: TransportError) {
        timer?.cancel()
        timer = nil
        let old = state
        guard case .closed = old else {
            state = .closed(error)
            switch old {
            case .connecting: readyPromise.fail(error)
            case .waiting(_, let promise), .collecting(_, _, let promise): promise.fail(error)
            case .streaming(let source): source.finish(error)
            case .idle, .closed: break
            }
            context?.close(promise: nil)
            return
        }
    }

    // MARK: Request

    func begin(
        _ request: HTTPConnection.Request, _ mode: Mode, _ promise: EventLoopPromise<HTTPConnection.Exchange>
    ) {
        switch state {
        case .idle: break
        case .closed(let error): return promise.fail(error)
        default: return promise.fail(TransportError(.busy, endpoint, ""))
        }
        guard let context, context.channel.isActive else {
            return promise.fail(TransportError(.closed, endpoint, ""))
        }
        state = .waiting(mode, promise)
        var head = HTTPRequestHead(
            version: .http1_1, method: HTTPMethod(rawValue: request.method.rawValue), uri: request.path)
        head.headers.add(name: "Host", value: endpoint.description)
        for (name, value) in request.headers { head.headers.add(name: name, value: value) }
        if let body = request.body {
            head.headers.add(name: "Content-Length", value: String(body.readableBytes))
        }
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if let body = request.body { context.write(Self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        lastHeard = context.eventLoop.now
        scheduleIdleCheck(in: idleTimeout, context)
    }

    // MARK: Response

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastHeard = context.eventLoop.now
        switch Self.unwrapInboundIn(data) {
        case .head(let head): receive(head, context)
        case .body(let piece): receive(piece)
        case .end: receiveEnd(context)
        }
    }

    private func receive(_ head: HTTPResponseHead, _ context: ChannelHandlerContext) {
        guard case .waiting(let mode, let promise) = state else {
            return fail(TransportError(.badAnswer, endpoint, "an answer without a request"))
        }
        isKeptAlive = head.isKeepAlive
        let status = Int(head.status.code)
        let headers = head.headers.map { (name: $0.name, value: $0.value) }
        switch mode {
        case .collect(let limit):
            if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }), length > limit {
                return fail(TransportError(.tooLarge, endpoint, "\(length) bytes, at most \(limit) are accepted"))
            }
            let response = HTTPConnection.Response(status: status, headers: headers, body: ByteBuffer())
            state = .collecting(response, limit: limit, promise)
        case .stream:
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            let produced = NIOThrowingAsyncSequenceProducer.makeSequence(
                elementType: ByteBuffer.self, failureType: (any Error).self,
                backPressureStrategy: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark(
                    lowWatermark: 2, highWatermark: 8),
                finishOnDeinit: false,
                delegate: HTTPBodyDemand(eventLoop: context.eventLoop, handler: bound))
            state = .streaming(produced.source)
            let body = HTTPConnection.Body(base: produced.sequence)
            promise.succeed(.streamed(HTTPConnection.StreamedResponse(status: status, headers: headers, body: body)))
        }
    }

    private func receive(_ piece: ByteBuffer) {
        switch state {
        case .collecting(var response, let limit, let promise):
            guard response.body.readableBytes + piece.readableBytes <= limit else {
                return fail(TransportError(.tooLarge, endpoint, "at most \(limit) bytes are accepted"))
            }
            state = .idle
            response.body.writeImmutableBuffer(piece)
            state = .collecting(response, limit: limit, promise)
        case .streaming(let source):
            if case .stopProducing = source.yield(piece) { isPaused = true }
        default: break
        }
    }

    private func receiveEnd(_ context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        let old = state
        state = .idle
        switch old {
        case .collecting(let response, _, let promise): promise.succeed(.whole(response))
        case .streaming(let source): source.finish()
        default: state = old
        }
        isPaused = false
        if !isKeptAlive { context.close(promise: nil) }
        if hasPendingRead {
            hasPendingRead = false
            context.read()
        }
    }

    // MARK: Back pressure and silence

    func read(context: ChannelHandlerContext) {
        if isPaused { hasPendingRead = true } else { context.read() }
    }

    func resumeReading() {
        guard let context, isPaused else { return }
        isPaused = false
        lastHeard = context.eventLoop.now
        if hasPendingRead {
            hasPendingRead = false
            context.read()
        }
    }

    /// The body's reader is gone: what is left of it cannot be skipped, so the connection ends.
    func readerLeft() {
        guard case .streaming = state else { return }
        fail(TransportError(.closed, endpoint, "the body was not read to its end"))
    }

    private var idleTimeout: TimeAmount { .milliseconds(limits.idleTimeout.milliseconds) }

    private func scheduleIdleCheck(in delay: TimeAmount, _ context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: delay) { self.checkIdle() }
    }

    private func checkIdle() {
        guard let context else { return }
        let silence = isPaused ? .zero : context.eventLoop.now - lastHeard
        guard silence >= idleTimeout else { return scheduleIdleCheck(in: idleTimeout - silence, context) }
        fail(TransportError(.idleTimeout, endpoint, "nothing for \(limits.idleTimeout)"))
    }
}

/// Turns the body reader's demand into reads from the socket.
final class HTTPBodyDemand: NIOAsyncSequenceProducerDelegate {
    private let eventLoop: any EventLoop
    private let handler: NIOLoopBound<HTTPExchangeHandler>

    init(eventLoop: any EventLoop, handler: NIOLoopBound<HTTPExchangeHandler>) {
        self.eventLoop = eventLoop
        self.handler = handler
    }

    func produceMore() { eventLoop.execute { [handler] in handler.value.resumeReading() } }

    func didTerminate() { eventLoop.execute { [handler] in handler.value.readerLeft() } }
}
