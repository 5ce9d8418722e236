import DHCP
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

/// Answers DHCP for one segment, with `LeaseEngine` or `ProxyEngine` for the decisions and the resource store for the
/// leases.
///
/// It is the shell around the engine. Its ports are those of the segment's own interface and of the interfaces towards
/// its relays; each is bound to the interface alone, without SO_REUSEADDR, so that another program's server fails to
/// start. Replies to clients that have no address yet go out as Ethernet frames.
public struct DHCPServer: Service {
    private let interface: String?
    private let segment: DHCPSegment
    private let mode: Mode
    private let limits: LeaseEngine.Limits
    private let leases: LeaseStore
    private let own: Set<IPv4Address>
    private let clock: any WallClock
    private let ports: DHCPPorts
    private let handlers: Handlers
    private let counters: BootCounters
    private let logger: Logger

    /// Messages that wait for the engine; more are dropped, and clients ask again.
    static let waitingCountMax = 1024

    /// What the server gives to machines.
    public enum Mode: Hashable, Sendable {
        /// Addresses and what to boot; free addresses are probed before they are offered.
        case server
        /// What to boot, beside another server that gives the addresses.
        case proxy
    }

    /// Who is told what. The closures must return at once.
    public struct Handlers: Sendable {
        /// A machine was heard, or bound an address.
        public var observed: @Sendable (BootClient) -> Void
        /// Something operators should know; the same report comes at most once a minute.
        public var report: @Sendable (LeaseReport) -> Void
        /// The sockets are open.
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

    /// A server of `segment`, on `interface` if it has one, which must exist when `run` begins, and for the segment's
    /// relays. `own` are the addresses of all segments of this conductor, whose replies are nobody else's.
    public init(
        interface: String?, segment: DHCPSegment, mode: Mode = .server, ports: DHCPPorts, store: any ResourceStore,
        own: Set<IPv4Address> = [], clock: any WallClock = SystemWallClock(), handlers: Handlers = Handlers(),
        limits: LeaseEngine.Limits = .probing, counters: BootCounters = BootCounters(), logger: Logger
    ) {
        self.counters = counters
        self.interface = interface
        self.segment = segment
        self.mode = mode
        self.ports = ports
        self.limits = limits
        self.own = own.union([segment.server])
        leases = LeaseStore(store: store, segment: segment.name, network: segment.network, clock: clock)
        self.clock = clock
        self.handlers = handlers
        self.logger = logger
    }

    /// Answers until cancelled or shut down.
    ///
    /// Throws `LinkError` when an interface or a port cannot be used at the start, and `StoreError` when the leases
    /// cannot be read. When an interface goes away later it is waited for.
    public func run() async throws {
        let state =
            switch mode {
            case .server:
                DHCPServerState(
                    leases: LeaseEngine(segment: segment, leases: try await leases.load(), limits: limits),
                    clock: clock)
            case .proxy: DHCPServerState(proxy: ProxyEngine(segment: segment, limits: limits), clock: clock)
            }
        var isFirst = true
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            let (events, continuation) = AsyncStream.makeStream(
                of: DHCPServerEvent.self, bufferingPolicy: .bufferingOldest(Self.waitingCountMax))
            do {
                let places = try await join(continuation)
                if isFirst {
                    logger.info("answering DHCP", metadata: ["segment": "\(segment.name)"])
                    handlers.listening()
                }
                isFirst = false
                do {
                    try await cancelWhenGracefulShutdown {
                        try await serve(events, continuation, places, state)
                    }
                } catch {
                    await leave(places)
                    throw error
                }
                await leave(places)
                return
            } catch is CancellationError {
                return
            } catch {
                if isFirst { throw error }
                logger.debug("DHCP is opened again", metadata: ["segment": "\(segment.name)", "why": "\(error)"])
            }
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(1)) }
        }
    }

    // MARK: Ports

    /// The places on all ports of the segment.
    private struct Places: Sendable {
        var memberships: [DHCPPorts.Membership] = []
        /// The port on the segment itself.
        var attached: DHCPPort?
        /// Which links the ports are on; others mean that routes or interfaces have changed.
        var links: Set<UInt32> = []
        /// Hears replies of other servers.
        var listener: DHCPListener?
        var prober: AddressProber
    }

    private func links() throws(LinkError) -> (attached: Link?, all: [Link]) {
        let attached = try interface.map { (name) throws(LinkError) in try Link(name) }
        var all = attached.map { [$0] } ?? []
        for relay in segment.relays.sorted() {
            let link = try Link(towards: relay)
            if !all.contains(where: { $0.index == link.index }) { all.append(link) }
        }
        return (attached, all)
    }

    private func join(_ continuation: AsyncStream<DHCPServerEvent>.Continuation) async throws -> Places {
        let (attached, all) = try links()
        var places = Places(prober: AddressProber(link: attached))
        do {
            for link in all {
                let isAttached = link.index == attached?.index
                let claim = DHCPClaim(network: segment.network, relays: segment.relays, isAttached: isAttached)
                for number in mode == .proxy ? [67, 4011] as [UInt16] : [67] {
                    let membership = try await ports.join(link, port: number, claim: claim) { arrival in
                        continuation.yield(.arrived(arrival))
                    } closed: {
                        continuation.yield(.closed)
                    }
                    places.memberships.append(membership)
                    if isAttached, number == 67 { places.attached = membership.port }
                }
                places.links.insert(link.index)
            }
            if let attached, mode == .server { places.listener = try DHCPListener(attached) }
        } catch {
            await leave(places)
            throw error
        }
        return places
    }

    private func leave(_ places: Places) async {
        // Not cancelled with the server: what was opened has to be closed.
        await Task { for membership in places.memberships { await ports.leave(membership) } }.value
    }

    // MARK: Serving

    private func serve(
        _ events: AsyncStream<DHCPServerEvent>, _ continuation: AsyncStream<DHCPServerEvent>.Continuation,
        _ places: Places, _ state: DHCPServerState
    ) async throws {
        // Where replies go that no message asks for just now: offers that waited for a probe.
        var late = ReplyPorts(attached: places.attached)
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(1))
                    continuation.yield(.tick)
                }
            }
            for await event in events {
                switch event {
                case .arrived(let arrival):
                    late.note(arrival)
                    counters.count(
                        dhcp: arrival.packet.options.messageType, isSent: false, segment: segment.name)
                    let effects = await state.step(arrival)
                    await begin(effects, ReplyPorts(always: arrival.port), places, state, &group)
                case .tick:
                    try check(places)
                    await begin(await state.step(.tick), late, places, state, &group)
                    if let listener = places.listener { await hear(listener, state) }
                case .closed: throw LinkError.noInterface(interface ?? "towards the relays")
                }
            }
            throw CancellationError()
        }
    }

    /// Throws when the interfaces are not those of the sockets any more: a socket bound to an interface that was made
    /// anew hears nothing and is told nothing.
    private func check(_ places: Places) throws {
        let now = Set(try links().all.map(\.index))
        guard now == places.links else { throw LinkError.noInterface(interface ?? "towards the relays") }
    }

    /// Tells of other servers that give addresses.
    private func hear(_ listener: DHCPListener, _ state: DHCPServerState) async {
        guard let replies = try? listener.replies() else { return }
        for heard in replies {
            guard let server = ForeignDHCPServer(heard.packet, from: heard.source, own: own), server.givesAddresses
            else { continue }
            await tell(.foreignServer(server.address), state)
        }
    }

    private func tell(_ report: LeaseReport, _ state: DHCPServerState) async {
        guard await state.isNew(report) else { return }
        logger.warning("\(report)", metadata: ["segment": "\(segment.name)"])
        handlers.report(report)
    }

    /// Does what is quick at once, and in the background what waits for the store or for answers to probes.
    private func begin(
        _ effects: [LeaseEngine.Effect], _ ports: ReplyPorts, _ places: Places, _ state: DHCPServerState,
        _ group: inout ThrowingDiscardingTaskGroup<any Error>
    ) async {
        for effect in effects {
            switch effect {
            case .commitLease, .releaseLease, .quarantine, .probe:
                group.addTask { await perform(effect, ports, places.prober, state) }
            case .send, .observed, .report: await perform(effect, ports, places.prober, state)
            }
        }
    }

    private func perform(
        _ effect: LeaseEngine.Effect, _ ports: ReplyPorts, _ prober: AddressProber, _ state: DHCPServerState
    ) async {
        switch effect {
        case .send(let reply):
            guard let port = ports.port(for: reply) else { return }
            do {
                try await port.send(reply, from: segment.server)
                counters.count(dhcp: reply.packet.options.messageType, isSent: true, segment: segment.name)
            } catch {
                logger.warning("a DHCP reply could not be sent", metadata: ["error": "\(error)"])
            }
        case .observed(let client): handlers.observed(client)
        case .report(let report): await tell(report, state)
        case .commitLease(let id, let record, let replaced):
            var failure: LeaseCommitFailure?
            do { try await leases.commit(record, replacing: replaced) } catch { failure = error }
            for next in await state.step(.committed(id, failure)) { await perform(next, ports, prober, state) }
        case .quarantine(let record):
            do { try await leases.commit(record) } catch {
                logger.warning("a quarantine could not be stored", metadata: ["address": "\(record.address)"])
            }
        case .releaseLease(let record):
            var isDone = true
            do { try await leases.release(record) } catch { isDone = false }
            for next in await state.step(.released(record, isDone: isDone)) {
                await perform(next, ports, prober, state)
            }
        case .probe(let addresses):
            let answers = await prober.probe(addresses)
            for next in await state.step(.probed(answers)) { await perform(next, ports, prober, state) }
        }
    }
}

/// What comes to a server.
enum DHCPServerEvent: Sendable {
    case arrived(DHCPArrival)
    case tick
    case closed
}

/// Through which port a reply goes.
private struct ReplyPorts: Sendable {
    private var always: DHCPPort?
    private var attached: DHCPPort?
    private var ofRelay: [IPv4Address: DHCPPort] = [:]

    init(always: DHCPPort) { self.always = always }

    init(attached: DHCPPort?) { self.attached = attached }

    /// Remembers where a relay was heard last; only relays that the segment names come here.
    mutating func note(_ arrival: DHCPArrival) {
        guard arrival.packet.relayAddress != .any else { return }
        ofRelay[arrival.packet.relayAddress] = arrival.port
    }

    func port(for reply: DHCPReply) -> DHCPPort? {
        always ?? (reply.packet.relayAddress == .any ? attached : ofRelay[reply.packet.relayAddress])
    }
}

/// The engine, behind one door.
private actor DHCPServerState {
    private var leases: LeaseEngine?
    private var proxy: ProxyEngine?
    private let clock: any WallClock
    private var reports: [LeaseReport: Timestamp] = [:]

    private static let reportCountMax = 256

    init(leases: LeaseEngine? = nil, proxy: ProxyEngine? = nil, clock: any WallClock) {
        self.leases = leases
        self.proxy = proxy
        self.clock = clock
    }

    func step(_ arrival: DHCPArrival) -> [LeaseEngine.Effect] {
        proxy?.step(arrival.packet, from: arrival.source, port: arrival.port.number, now: clock.now)
            ?? step(.received(arrival.packet))
    }

    func step(_ event: LeaseEngine.Event) -> [LeaseEngine.Effect] { leases?.step(event, now: clock.now) ?? [] }

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
