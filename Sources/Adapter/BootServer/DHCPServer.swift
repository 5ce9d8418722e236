import DHCP
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

/// Answers DHCP for one segment, with `LeaseEngine` or `ProxyEngine` for the decisions and the resource store for the
/// leases.
///
/// It is the shell around the engine. A message is decided on and answered on the thread of the port where it came in;
/// what waits for the store or for answers to probes is handed on. Its ports are those of the segment's own interface
/// and of the interfaces towards its relays; each is bound to the interface alone, without SO_REUSEADDR, so that another
/// program's server fails to start. Replies to clients that have no address yet go out as Ethernet frames.
public struct DHCPServer: Service {
    private let interface: String?
    private let segment: DHCPSegment
    private let mode: Mode
    private let limits: LeaseEngine.Limits
    private let leases: LeaseStore
    private let own: Set<IPv4Address>
    private let duty: @Sendable () -> SegmentDuty
    private let leaseChanges: (@Sendable () -> AsyncStream<[IPv4Address: LeaseRecord?]>)?
    private let clock: any WallClock
    private let ports: DHCPPorts
    private let handlers: Handlers
    private let counters: BootCounters
    private let logger: Logger

    /// What the server gives to machines.
    public enum Mode: Hashable, Sendable {
        /// Addresses and what to boot; free addresses are probed before they are offered.
        case server
        /// What to boot, beside another server that gives the addresses.
        case proxy
    }

    /// Who is told what. The closures must return at once: a port's thread calls them.
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
    /// relays. `own` are the addresses of all segments of the conductors, whose replies are nobody else's. With several
    /// conductors `duty` tells what this one does on the segment, and `leaseChanges` what is stored of its addresses.
    public init(
        interface: String?, segment: DHCPSegment, mode: Mode = .server, ports: DHCPPorts, store: any ResourceStore,
        own: Set<IPv4Address> = [], duty: @escaping @Sendable () -> SegmentDuty = { .leads },
        leaseChanges: (@Sendable () -> AsyncStream<[IPv4Address: LeaseRecord?]>)? = nil,
        clock: any WallClock = SystemWallClock(), handlers: Handlers = Handlers(),
        limits: LeaseEngine.Limits = .probing, counters: BootCounters = BootCounters(), logger: Logger
    ) {
        self.counters = counters
        self.interface = interface
        self.segment = segment
        self.mode = mode
        self.ports = ports
        self.limits = limits
        self.own = own.union([segment.server]).union(segment.fellows)
        self.duty = duty
        self.leaseChanges = leaseChanges
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
        // Followed before the leases are read, so that none is missed.
        let changes = leaseChanges?()
        let state =
            switch mode {
            case .server:
                DHCPServerState(
                    leases: LeaseEngine(segment: segment, leases: try await leases.load(), limits: limits),
                    duty: duty, clock: clock)
            case .proxy:
                DHCPServerState(proxy: ProxyEngine(segment: segment, limits: limits), duty: duty, clock: clock)
            }
        // Never more than the engine's limits let be under way; none is lost when ports are opened anew.
        let (tasks, continuation) = AsyncStream.makeStream(of: SlowTask.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { await carryOut(tasks, state) }
            if let changes {
                group.addTask { for await change in changes { _ = state.step(.leasesChanged(change)) } }
            }
            try await keepServing(state, continuation)
        }
    }

    /// Serves, and opens the ports anew when they are lost, until cancelled or shut down.
    private func keepServing(
        _ state: DHCPServerState, _ tasks: AsyncStream<SlowTask>.Continuation
    ) async throws {
        var isFirst = true
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            let (signals, signal) = AsyncStream.makeStream(of: Signal.self)
            do {
                let places = try await join(state, tasks, signal)
                if isFirst {
                    logger.info("answering DHCP", metadata: ["segment": "\(segment.name)"])
                    handlers.listening()
                }
                isFirst = false
                do {
                    try await cancelWhenGracefulShutdown { try await serve(signals, signal, places, state, tasks) }
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

    private func join(
        _ state: DHCPServerState, _ tasks: AsyncStream<SlowTask>.Continuation,
        _ signal: AsyncStream<Signal>.Continuation
    ) async throws -> Places {
        let (attached, all) = try links()
        let prober = AddressProber(link: attached)
        var places = Places(prober: prober)
        do {
            for link in all {
                let isAttached = link.index == attached?.index
                let claim = DHCPClaim(network: segment.network, relays: segment.relays, isAttached: isAttached)
                for number in mode == .proxy ? [67, 4011] as [UInt16] : [67] {
                    let membership = try await ports.join(link, port: number, claim: claim) { arrival in
                        counters.count(
                            dhcp: arrival.packet.options.messageType, isSent: false, segment: segment.name)
                        let effects = state.step(arrival)
                        begin(effects, ReplyPorts(always: arrival.port), prober, state, tasks)
                    } closed: {
                        signal.yield(.closed)
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
        _ signals: AsyncStream<Signal>, _ signal: AsyncStream<Signal>.Continuation, _ places: Places,
        _ state: DHCPServerState, _ tasks: AsyncStream<SlowTask>.Continuation
    ) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(1))
                    signal.yield(.tick)
                }
            }
            for await next in signals {
                switch next {
                case .tick:
                    try check(places)
                    begin(state.step(.tick), state.latePorts(attached: places.attached), places.prober, state, tasks)
                    if let listener = places.listener { hear(listener, state) }
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
    private func hear(_ listener: DHCPListener, _ state: DHCPServerState) {
        guard let replies = try? listener.replies() else { return }
        for heard in replies {
            guard let server = ForeignDHCPServer(heard.packet, from: heard.source, own: own), server.givesAddresses
            else { continue }
            tell(.foreignServer(server.address), state)
        }
    }

    private func tell(_ report: LeaseReport, _ state: DHCPServerState) {
        guard state.isNew(report) else { return }
        logger.warning("\(report)", metadata: ["segment": "\(segment.name)"])
        handlers.report(report)
    }

    /// Does what is quick at once, and hands on what waits for the store or for answers to probes.
    private func begin(
        _ effects: [LeaseEngine.Effect], _ ports: ReplyPorts, _ prober: AddressProber, _ state: DHCPServerState,
        _ tasks: AsyncStream<SlowTask>.Continuation
    ) {
        for effect in effects.filter({ !carryOut($0, ports, state) }) {
            tasks.yield(SlowTask(effect: effect, ports: ports, prober: prober))
        }
    }

    /// Does what is quick; false for what is not.
    private func carryOut(_ effect: LeaseEngine.Effect, _ ports: ReplyPorts, _ state: DHCPServerState) -> Bool {
        switch effect {
        case .send(let reply):
            guard let port = ports.port(for: reply) else { return true }
            do {
                try port.send(reply, from: segment.server)
                counters.count(dhcp: reply.packet.options.messageType, isSent: true, segment: segment.name)
            } catch {
                logger.warning("a DHCP reply could not be sent", metadata: ["error": "\(error)"])
            }
        case .observed(let client): handlers.observed(client)
        case .report(let report): tell(report, state)
        case .commitLease, .releaseLease, .quarantine, .probe: return false
        }
        return true
    }

    // MARK: Waiting

    /// What waits for the store or for answers to probes.
    private struct SlowTask: Sendable {
        let effect: LeaseEngine.Effect
        let ports: ReplyPorts
        let prober: AddressProber
    }

    private func carryOut(_ tasks: AsyncStream<SlowTask>, _ state: DHCPServerState) async {
        await withDiscardingTaskGroup { group in
            for await task in tasks { group.addTask { await carryOut(task, state) } }
        }
    }

    private func carryOut(_ task: SlowTask, _ state: DHCPServerState) async {
        var next: [LeaseEngine.Effect] = []
        switch task.effect {
        case .commitLease(let id, let record, let replaced):
            var failure: LeaseCommitFailure?
            do { try await leases.commit(record, replacing: replaced) } catch { failure = error }
            next = state.step(.committed(id, failure))
        case .quarantine(let record):
            do { try await leases.commit(record) } catch {
                logger.warning("a quarantine could not be stored", metadata: ["address": "\(record.address)"])
            }
        case .releaseLease(let record):
            var isDone = true
            do { try await leases.release(record) } catch { isDone = false }
            next = state.step(.released(record, isDone: isDone))
        case .probe(let addresses): next = state.step(.probed(await task.prober.probe(addresses)))
        case .send, .observed, .report: break
        }
        for effect in next.filter({ !carryOut($0, task.ports, state) }) {
            await carryOut(SlowTask(effect: effect, ports: task.ports, prober: task.prober), state)
        }
    }
}

/// What ends or moves on the wait of a server.
private enum Signal: Sendable {
    case tick
    case closed
}
