import DHCP
import Logging
import NIOCore
import NIOPosix
import Primitives
import ResourceModel
import ServiceLifecycle

/// Answers DHCP on one interface, with `LeaseEngine` for the decisions and the resource store for the leases.
///
/// It is the shell around the engine: one socket bound to the interface alone, without SO_REUSEADDR, so that a second
/// server fails to start; replies to clients that have no address yet go out as Ethernet frames.
public struct DHCPServer: Service {
    private let interface: String
    private let port: UInt16
    private let segment: DHCPSegment
    private let limits: LeaseEngine.Limits
    private let leases: LeaseStore
    private let clock: any WallClock
    private let group: any EventLoopGroup
    private let handlers: Handlers
    private let logger: Logger

    /// Who is told what. The closures must return at once.
    public struct Handlers: Sendable {
        /// A machine was heard, or bound an address.
        public var observed: @Sendable (BootClient) -> Void
        /// Something operators should know; the same report comes at most once a minute.
        public var report: @Sendable (LeaseReport) -> Void
        /// The socket is open.
        public var listening: @Sendable () -> Void

        /// Handlers; by default nobody is told.
        public init(
            observed: @escaping @Sendable (BootClient) -> Void = { _ in },
            report: @escaping @Sendable (LeaseReport) -> Void = { _ in },
            listening: @escaping @Sendable () -> Void = {}
        ) {
            self.observed = observed
            self.report = report
            self.listening = listening
        }
    }

    /// A server of `segment` on `interface`, which must exist when `run` begins.
    public init(
        interface: String, segment: DHCPSegment, store: any ResourceStore, clock: any WallClock = SystemWallClock(),
        handlers: Handlers = Handlers(), limits: LeaseEngine.Limits = .init(), logger: Logger, port: UInt16 = 67,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.interface = interface
        self.port = port
        self.segment = segment
        self.limits = limits
        leases = LeaseStore(store: store, segment: segment.name, network: segment.network, clock: clock)
        self.clock = clock
        self.group = group
        self.handlers = handlers
        self.logger = logger
    }

    /// Answers until cancelled or shut down.
    ///
    /// Throws `LinkError` when the interface or the port cannot be used at the start, and `StoreError` when the
    /// leases cannot be read. When the interface goes away later it is waited for.
    public func run() async throws {
        let engine = LeaseEngine(segment: segment, leases: try await leases.load(), limits: limits)
        let state = DHCPServerState(engine: engine, clock: clock)
        var (socket, link, frames) = try await open()
        logger.info("answering DHCP", metadata: ["interface": "\(interface)", "network": "\(segment.network)"])
        handlers.listening()
        // Also when cancelled while opening: a socket that is open has to be closed by `serve`, which ends at once then.
        while true {
            do {
                let (current, sender) = (socket, ReplySender(link: link, frames: frames, server: segment.server))
                try await cancelWhenGracefulShutdown { try await serve(current, sender, state) }
                return
            } catch is CancellationError {
                return
            } catch {
                logger.warning("the DHCP socket failed; opening it again", metadata: ["error": "\(error)"])
            }
            (socket, link, frames) = try await reopen()
        }
    }

    private func open() async throws -> (DatagramSocket.Channel, Link, FrameSender) {
        let link = try Link(interface)
        let frames = try FrameSender(link)
        // A buffer larger than any message that is decoded, so that none is silently cut to a valid one.
        let socket = try await DatagramSocket.open(
            try link.openUDP(port: port), sizeMax: DHCPPacket.sizeMax + 1, group: group)
        return (socket, link, frames)
    }

    /// Tries each second until the interface is back.
    private func reopen() async throws -> (DatagramSocket.Channel, Link, FrameSender) {
        while true {
            try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(1)) }
            do { return try await open() } catch {
                logger.debug("the DHCP socket cannot be opened", metadata: ["error": "\(error)"])
            }
        }
    }

    private func serve(_ socket: DatagramSocket.Channel, _ sender: ReplySender, _ state: DHCPServerState) async throws {
        try await socket.executeThenClose { inbound, outbound in
            // Whichever ends first ends the other.
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                group.addTask { try await tick(sender.link, state) }
                group.addTask { try await answer(inbound, outbound, sender, state) }
                try await group.next()
            }
            try Task.checkCancellation()
            throw LinkError.noInterface(interface)
        }
    }

    /// Tells the engine the time, and throws when the interface is not the one of the socket any more: a socket bound
    /// to an interface that was made anew hears nothing and is told nothing.
    private func tick(_ link: Link, _ state: DHCPServerState) async throws {
        while true {
            try await Task.sleep(for: .seconds(1))
            _ = await state.step(.tick)
            guard try Link(interface).index == link.index else { throw LinkError.noInterface(interface) }
        }
    }

    private typealias Inbound = NIOAsyncChannelInboundStream<AddressedEnvelope<ByteBuffer>>
    private typealias Outbound = NIOAsyncChannelOutboundWriter<AddressedEnvelope<ByteBuffer>>

    private func answer(
        _ inbound: Inbound, _ outbound: Outbound, _ sender: ReplySender, _ state: DHCPServerState
    ) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for try await envelope in inbound {
                guard let packet = try? DHCPPacket(decoding: Array(envelope.data.readableBytesView)) else {
                    logger.debug("not a DHCP message", metadata: ["from": "\(envelope.remoteAddress)"])
                    continue
                }
                for effect in await state.step(.received(packet)) {
                    switch effect {
                    case .commitLease, .releaseLease, .quarantine:
                        group.addTask { await perform(effect, sender, outbound, state) }
                    case .send, .observed, .report:
                        await perform(effect, sender, outbound, state)
                    }
                }
            }
        }
    }

    private func perform(
        _ effect: LeaseEngine.Effect, _ sender: ReplySender, _ outbound: Outbound, _ state: DHCPServerState
    ) async {
        switch effect {
        case .send(let reply):
            do { try await sender.send(reply, outbound) } catch {
                logger.warning("a DHCP reply could not be sent", metadata: ["error": "\(error)"])
            }
        case .observed(let client): handlers.observed(client)
        case .report(let report):
            guard await state.isNew(report) else { return }
            logger.warning("\(report)", metadata: ["segment": "\(segment.name)"])
            handlers.report(report)
        case .commitLease(let id, let record, let replaced):
            var failure: LeaseCommitFailure?
            do { try await leases.commit(record, replacing: replaced) } catch { failure = error }
            for next in await state.step(.committed(id, failure)) { await perform(next, sender, outbound, state) }
        case .quarantine(let record):
            do { try await leases.commit(record) } catch {
                logger.warning("a quarantine could not be stored", metadata: ["address": "\(record.address)"])
            }
        case .releaseLease(let record):
            var isDone = true
            do { try await leases.release(record) } catch { isDone = false }
            for next in await state.step(.released(record, isDone: isDone)) {
                await perform(next, sender, outbound, state)
            }
        }
    }
}

/// The engine, behind one door.
private actor DHCPServerState {
    private var engine: LeaseEngine
    private let clock: any WallClock
    private var reports: [LeaseReport: Timestamp] = [:]

    private static let reportCountMax = 256

    init(engine: LeaseEngine, clock: any WallClock) {
        self.engine = engine
        self.clock = clock
    }

    func step(_ event: LeaseEngine.Event) -> [LeaseEngine.Effect] { engine.step(event, now: clock.now) }

    /// Whether the same was not reported in the last minute.
    func isNew(_ report: LeaseReport) -> Bool {
        let now = clock.now
        if let last = reports[report], now.since(last) < .seconds(60) { return false }
        if reports.count >= Self.reportCountMax { reports = reports.filter { now.since($0.value) < .seconds(60) } }
        guard reports.count < Self.reportCountMax else { return false }
        reports[report] = now
        return true
    }
}

/// Puts replies on the wire.
private struct ReplySender: Sendable {
    let link: Link
    let frames: FrameSender
    let server: IPv4Address

    func send(
        _ reply: DHCPReply, _ outbound: NIOAsyncChannelOutboundWriter<AddressedEnvelope<ByteBuffer>>
    ) async throws {
        let payload = try reply.packet.encoded(sizeMax: reply.sizeMax)
        var (address, port) = (IPv4Address.broadcast, UInt16(68))
        switch reply.destination {
        case .broadcast: break
        case .unicast(let given, let givenPort): (address, port) = (given, givenPort)
        case .hardware(let mac, let given):
            let frame = UDPFrame(
                source: .init(mac: link.mac, address: server, port: 67),
                destination: .init(mac: mac, address: given, port: 68), payload: payload)
            if frames.send(frame.bytes) { return }
        }
        let remote = try SocketAddress(ipAddress: address.description, port: Int(port))
        try await outbound.write(AddressedEnvelope(remoteAddress: remote, data: ByteBuffer(bytes: payload)))
    }
}
