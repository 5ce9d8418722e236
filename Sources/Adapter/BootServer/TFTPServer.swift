import Logging
import NIOCore
import NIOPosix
import Primitives
import ServiceLifecycle
import Synchronization
import TFTP

/// Serves boot programs by TFTP on one address, each transfer from a port of its own, with `TFTPReadSession` for the
/// decisions.
///
/// Files are what `files` knows by name; nothing else can be read and nothing written.
public struct TFTPServer: Service {
    private let address: IPv4Address
    private let port: UInt16
    private let files: @Sendable (String) async -> [UInt8]?
    private let limits: Limits
    private let group: any EventLoopGroup
    private let onListening: @Sendable (Int) -> Void
    private let counters: BootCounters
    private let logger: Logger

    /// The most there may be of each.
    public struct Limits: Hashable, Sendable {
        /// Transfers at once.
        public var transferCountMax = 256
        /// Transfers of one address at once.
        public var clientTransferCountMax = 4
        /// Of one transfer.
        public var transfer = TFTPLimits()

        /// The defaults.
        public init() {}
    }

    /// A server on `address`, which must be this machine's when `run` begins; `port` 0 takes a free one, which
    /// `onListening` is given.
    public init(
        address: IPv4Address, port: UInt16 = 69, files: @escaping @Sendable (String) async -> [UInt8]?,
        limits: Limits = Limits(), counters: BootCounters = BootCounters(), logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        onListening: @escaping @Sendable (Int) -> Void = { _ in }
    ) {
        self.counters = counters
        self.address = address
        self.port = port
        self.files = files
        self.limits = limits
        self.logger = logger
        self.group = group
        self.onListening = onListening
    }

    /// Serves until cancelled or shut down. Throws `IOError` when the address or port cannot be had.
    public func run() async throws {
        let socket = try await DatagramSocket.open(
            host: address, port: port, sizeMax: TFTPPacket.requestSizeMax + 1, group: group)
        onListening(socket.channel.localAddress?.port ?? 0)
        let transfers = TransferTable(limits)
        try await cancelWhenGracefulShutdown {
            try await socket.executeThenClose { inbound, outbound in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await envelope in inbound {
                        let client = envelope.remoteAddress
                        switch answer(Array(envelope.data.readableBytesView), client, transfers) {
                        case .nothing: break
                        case .packet(let packet): try? await Self.send(packet, to: client, outbound)
                        case .transfer(let name, let request, let slot):
                            group.addTask {
                                defer { withExtendedLifetime(slot) {} }
                                guard let content = await files(name) else {
                                    refuse(request, of: client)
                                    try? await Self.send(.error(.fileNotFound, "no such file"), to: client, outbound)
                                    return
                                }
                                await transfer(name, content, request, to: client)
                            }
                        }
                    }
                }
            }
        }
    }

    private enum Answer {
        case nothing
        case packet(TFTPPacket)
        case transfer(String, TFTPRequest, TransferTable.Slot)
    }

    private func answer(_ bytes: [UInt8], _ client: SocketAddress, _ transfers: TransferTable) -> Answer {
        let packet: TFTPPacket
        do { packet = try TFTPPacket(decoding: bytes) } catch {
            logger.debug("not a TFTP message", metadata: ["from": "\(client)", "error": "\(error)"])
            return .nothing
        }
        switch packet {
        case .writeRequest: return .packet(.error(.accessViolation, "nothing can be written here"))
        case .readRequest(let request):
            guard request.mode == "octet" else { return .packet(.error(.undefined, "only mode octet is served")) }
            guard let name = request.path else {
                refuse(request, of: client)
                return .packet(.error(.fileNotFound, "no such file"))
            }
            switch transfers.take(client) {
            case .taken(let slot): return .transfer(name, request, slot)
            case .alreadyServed: return .nothing
            case .full:
                counters.count(tftp: .refused)
                logger.warning("too many TFTP transfers at once", metadata: ["client": "\(client)"])
                return .packet(.error(.undefined, "too many transfers at once; try again"))
            }
        case .data, .acknowledge, .error, .optionAcknowledge: return .nothing
        }
    }

    private func refuse(_ request: TFTPRequest, of client: SocketAddress) {
        counters.count(tftp: .refused)
        logger.info(
            "no such boot file",
            metadata: ["file": "\(request.fileName.printable(limit: 80))", "client": "\(client.ipAddress ?? "?")"])
    }

    /// One transfer from a port of its own.
    private func transfer(_ name: String, _ content: [UInt8], _ request: TFTPRequest, to client: SocketAddress) async {
        var log = logger
        log[metadataKey: "file"] = "\(name)"
        log[metadataKey: "client"] = "\(client.ipAddress ?? "?")"
        do {
            let outcome = try await Transfer(
                content: content, request: request, limits: limits.transfer, client: client
            ).run(at: address, on: group)
            switch outcome {
            case .complete:
                counters.count(tftp: .done)
                log.info("sent by TFTP")
            // UEFI firmware asks for the size, and then ends that transfer with an error.
            case .ended(let code, let text):
                counters.count(tftp: .ended)
                log.debug("a client ended a TFTP transfer: \(code.rawValue) \(text.printable(limit: 80))")
            case .unanswered, .stalled, .tooSlow:
                counters.count(tftp: .failed)
                log.warning("a TFTP transfer was given up: \(outcome)")
            }
        } catch is CancellationError {
        } catch {
            counters.count(tftp: .failed)
            log.warning("a TFTP transfer failed: \(error)")
        }
    }

    static func send(
        _ packet: TFTPPacket, to client: SocketAddress,
        _ outbound: NIOAsyncChannelOutboundWriter<AddressedEnvelope<ByteBuffer>>
    ) async throws {
        try await outbound.write(AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: packet.encoded)))
    }
}

/// One transfer on a socket of its own.
private struct Transfer: Sendable {
    let content: [UInt8]
    let request: TFTPRequest
    let limits: TFTPLimits
    let client: SocketAddress

    func run(at address: IPv4Address, on group: any EventLoopGroup) async throws -> TFTPReadSession.Outcome {
        let outcome = group.next().makePromise(of: TFTPReadSession.Outcome.self)
        let channel: any Channel
        do {
            channel = try await DatagramBootstrap(group: outcome.futureResult.eventLoop)
                .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1024))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            TransferHandler(
                                TFTPReadSession(content, for: request.options, limits: limits, now: .zero), client,
                                outcome))
                    }
                }.bind(host: address.description, port: 0).get()
        } catch {
            outcome.fail(error)
            throw error
        }
        return try await withTaskCancellationHandler {
            do {
                let result = try await outcome.futureResult.get()
                try? await channel.close()
                return result
            } catch {
                try? await channel.close()
                throw error
            }
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}

/// The shell around one session, on its socket's event loop: no message waits for another thread.
private final class TransferHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private var session: TFTPReadSession
    private let client: SocketAddress
    private let outcome: EventLoopPromise<TFTPReadSession.Outcome>
    private let start = ContinuousClock.now
    private var timer: Scheduled<Void>?

    init(_ session: TFTPReadSession, _ client: SocketAddress, _ outcome: EventLoopPromise<TFTPReadSession.Outcome>) {
        self.session = session
        self.client = client
        self.outcome = outcome
    }

    func channelActive(context: ChannelHandlerContext) {
        step(.begin, context)
        watch(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        // Whoever else sends to this port is not listened to.
        guard envelope.remoteAddress == client,
            let packet = try? TFTPPacket(decoding: Array(envelope.data.readableBytesView))
        else { return }
        step(.received(packet), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        outcome.fail(CancellationError())
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        outcome.fail(error)
        context.close(promise: nil)
    }

    private func step(_ event: TFTPReadSession.Event, _ context: ChannelHandlerContext) {
        for effect in session.step(event, now: ContinuousClock.now - start) {
            switch effect {
            case .send(let packet):
                let envelope = AddressedEnvelope(remoteAddress: client, data: ByteBuffer(bytes: packet.encoded))
                context.write(wrapOutboundOut(envelope), promise: nil)
            case .finish(let result):
                context.flush()
                outcome.succeed(result)
                return
            }
        }
        context.flush()
    }

    /// Ticks when the session's deadline has come. It moves with each message; the timer follows when it fires.
    private func watch(_ context: ChannelHandlerContext) {
        let left = max(1, (session.deadline - (ContinuousClock.now - start)).milliseconds)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(left)) { [self] in
            step(.tick, bound.value)
            watch(bound.value)
        }
    }
}

/// Who is being served: at most so many in total and of one address, and nobody twice for a repeated request.
private final class TransferTable: Sendable {
    enum Place {
        case taken(Slot)
        case alreadyServed
        case full
    }

    /// A place that is taken for as long as this is held.
    final class Slot: Sendable {
        private let table: TransferTable
        private let client: SocketAddress

        init(_ table: TransferTable, _ client: SocketAddress) {
            self.table = table
            self.client = client
        }

        deinit { table.clients.withLock { _ = $0.remove(client) } }
    }

    private let clients = Mutex<Set<SocketAddress>>([])
    private let limits: TFTPServer.Limits

    init(_ limits: TFTPServer.Limits) { self.limits = limits }

    func take(_ client: SocketAddress) -> Place {
        clients.withLock { clients in
            if clients.contains(client) { return .alreadyServed }
            let own = clients.count { $0.ipAddress == client.ipAddress }
            guard clients.count < limits.transferCountMax, own < limits.clientTransferCountMax else { return .full }
            clients.insert(client)
            return .taken(Slot(self, client))
        }
    }
}
