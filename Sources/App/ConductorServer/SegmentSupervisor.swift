import BootServer
import CatalogBareMetal
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// Answers machines on every segment of the catalog that this host is on: starts, restarts and stops their DHCP and TFTP servers and
/// router advertisers as the catalog changes. An interface has one server of its own at a time: the next waits until the last
/// has ended.
///
/// Before addresses are given on an interface it is asked whether another server gives some; while one does, ours keeps
/// silent, says so in the segment's status, and looks again.
///
/// What `DHCPSwitch` ends, DHCP and router advertisements, ends on all segments; TFTP goes on, for machines that have begun.
struct SegmentSupervisor: Service {
    private let catalog: LiveCatalog
    /// What this conductor does on a segment, by name; nil: it is the only conductor.
    private let duty: (@Sendable (String) -> SegmentDuty)?
    private let answers: DHCPSwitch
    private let store: any ResourceStore
    private let clock: any WallClock
    private let bootPort: Int
    private let files: TFTPFiles
    private let counters: BootCounters
    private let logger: Logger
    private let recorder: SegmentRecorder
    private let ports: DHCPPorts

    static let retryDelay: Duration = .seconds(5)
    /// Between two searches while another server keeps ours silent.
    static let blockedInterval: Duration = .seconds(30)
    /// Between two searches while ours gives addresses.
    static let servingInterval: Duration = .seconds(600)
    /// How long a search waits: servers that probe an address before they offer it take three seconds.
    static let searchWait: Duration = .seconds(4)
    /// Reports that wait to be stored; more are only logged.
    private static let reportCountMax = 64

    init(
        catalog: LiveCatalog, store: any ResourceStore, clock: any WallClock, bootPort: Int, files: TFTPFiles,
        counters: BootCounters, duty: (@Sendable (String) -> SegmentDuty)? = nil, answers: DHCPSwitch = DHCPSwitch(),
        logger: Logger
    ) {
        self.duty = duty
        self.answers = answers
        self.catalog = catalog
        self.store = store
        self.clock = clock
        self.bootPort = bootPort
        self.files = files
        self.counters = counters
        self.logger = logger
        recorder = SegmentRecorder(store: store, clock: clock, logger: logger)
        ports = DHCPPorts(logger: logger)
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                var running: [String: (Segment.Spec, StopSignal)] = [:]
                var ends: [String: StopSignal] = [:]
                var transfers: [IPv4Address: (stop: StopSignal, end: StopSignal)] = [:]
                var turn = answers.position.turn
                while !Task.isCancelled {
                    let position = answers.position
                    let segments = Dictionary(
                        catalog.localSegments().map { ($0.metadata.name, $0) }, uniquingKeysWith: { first, _ in first })
                    for (name, entry) in running where segments[name]?.spec != entry.0 || position.turn != turn {
                        entry.1.stop()
                        running[name] = nil
                    }
                    turn = position.turn
                    for (name, segment) in segments where position.isOn && running[name] == nil {
                        let (signal, end) = (StopSignal(), StopSignal())
                        running[name] = (segment.spec, signal)
                        let place = segment.spec.interface.map { "on \($0)" } ?? "named \(name)"
                        let last = ends.updateValue(end, forKey: place)
                        group.addTask {
                            await last?.wait()
                            await answers.answer { await serve(segment, until: signal) }
                            end.stop()
                        }
                    }
                    let addresses = Set(segments.values.map(catalog.server))
                    for (address, entry) in transfers where !addresses.contains(address) {
                        entry.stop.stop()
                        await entry.end.wait()
                        transfers[address] = nil
                    }
                    for address in addresses where transfers[address] == nil {
                        let (stop, end) = (StopSignal(), StopSignal())
                        transfers[address] = (stop, end)
                        group.addTask {
                            await serveTFTP(address, until: stop)
                            end.stop()
                        }
                    }
                    try? await Task.sleep(for: .milliseconds(500))
                }
                for entry in running.values { entry.1.stop() }
                for entry in transfers.values { entry.stop.stop() }
                group.cancelAll()
            }
        }
    }

    private enum Note: Sendable {
        case listening
        case report(LeaseReport)
    }

    /// Serves one segment until `signal`; what fails is logged with what to do and tried again.
    private func serve(_ segment: Segment, until signal: StopSignal) async {
        let name = segment.metadata.name
        let (notes, continuation) = AsyncStream.makeStream(
            of: Note.self, bufferingPolicy: .bufferingOldest(Self.reportCountMax))
        if leads(name) { await recorder.set(.waiting, of: name) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await keepRunning("DHCP on segment \(name)", of: name) {
                    try await giveWay(segment)
                    try await server(of: segment, continuation).run()
                }
            }
            if let interface = segment.spec.interface, segment.spec.mode == .server {
                group.addTask {
                    await keepRunning("router advertisements on segment \(name)") {
                        try await RouterAdvertiser(interface: interface, logger: logger).run()
                    }
                }
                group.addTask { await lookAround(segment, on: interface) }
            }
            group.addTask {
                for await note in notes {
                    switch note {
                    case .listening: if leads(name) { await recorder.set(.serving, of: name) }
                    case .report(let report): await recorder.record(report.type, "\(report)", of: name)
                    }
                }
            }
            group.addTask { await signal.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    /// Serves boot programs on one of the conductor's addresses until `signal`. Machines of all segments that name the
    /// address come there: on its interface, beside another DHCP server, or through relays.
    private func serveTFTP(_ address: IPv4Address, until signal: StopSignal) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await keepRunning("TFTP on \(address)") {
                    try await TFTPServer(
                        address: address, files: { await files.bytes(named: $0, at: address) }, counters: counters,
                        logger: logger,
                        onListening: { _ in logger.info("serving TFTP on \(address)") }
                    ).run()
                }
            }
            group.addTask { await signal.wait() }
            await group.next()
            group.cancelAll()
        }
    }

    private func server(
        of segment: Segment, _ notes: AsyncStream<Note>.Continuation
    ) throws(InvalidValue) -> DHCPServer {
        let name = segment.metadata.name
        let server = catalog.server(of: segment)
        var served = try DHCPSegment(segment, server: server, httpPort: bootPort)
        if duty != nil { served.fellows = ownServers.subtracting([server]) }
        let (catalog, duty) = (catalog, duty)
        var changes: (@Sendable () -> AsyncStream<[IPv4Address: LeaseRecord?]>)?
        if duty != nil { changes = { catalog.leaseChanges(of: name) } }
        return DHCPServer(
            interface: segment.spec.interface, segment: served,
            mode: segment.spec.mode == .proxy ? .proxy : .server, ports: ports, store: store, own: ownServers,
            duty: { duty?(name) ?? .leads }, leaseChanges: changes, clock: clock,
            handlers: DHCPServer.Handlers(
                observed: { client in logger.debug("\(name): heard \(client)") },
                report: { notes.yield(.report($0)) }, listening: { notes.yield(.listening) }),
            counters: counters, logger: logger)
    }

    /// The conductors' own addresses on all segments.
    private var ownServers: Set<IPv4Address> {
        let segments = catalog.segments()
        return Set(segments.map(\.spec.server) + segments.map(catalog.server)).union(catalog.conductorAddresses())
    }

    /// Whether this conductor tells how it goes with a segment.
    private func leads(_ segment: String) -> Bool { duty?(segment) != .standsBy }

    // MARK: Other servers

    /// Returns as soon as no other server gives addresses on the segment.
    private func giveWay(_ segment: Segment) async throws {
        let name = segment.metadata.name
        guard let interface = segment.spec.interface, segment.spec.mode == .server else { return }
        var told: [IPv4Address] = []
        while true {
            let others = try await others(on: interface)
            guard !others.isEmpty else { return }
            let message = Self.message(others, interface)
            let addresses = others.map(\.address)
            await recorder.set(.blocked, message, foreign: addresses, of: name)
            if addresses != told {
                logger.error("segment \(name) is not served: \(message)")
                await recorder.record("ForeignServer", message, of: name)
                told = addresses
            }
            try await Task.sleep(for: Self.blockedInterval)
        }
    }

    /// Looks for other servers from time to time while ours gives addresses.
    private func lookAround(_ segment: Segment, on interface: String) async {
        let name = segment.metadata.name
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.servingInterval)
            guard !Task.isCancelled, let others = try? await others(on: interface), !others.isEmpty,
                catalog.cache.get(Segment.self, name)?.status.state == .serving
            else { continue }
            let list = others.map(\.description).joined(separator: ", ")
            logger.warning("\(name): another DHCP server gives addresses beside ours: \(list)")
            await recorder.record(
                "ForeignServer",
                "Another DHCP server gives addresses beside ours on \(interface): \(list). Switch it off, or set "
                    + "'mode: proxy' in this segment of the site file.", of: name)
            await recorder.set(.serving, foreign: others.map(\.address), of: name)
        }
    }

    private func others(on interface: String) async throws -> [ForeignDHCPServer] {
        try await ForeignDHCP.search(on: interface, own: ownServers, wait: Self.searchWait).filter(\.givesAddresses)
    }

    private static func message(_ others: [ForeignDHCPServer], _ interface: String) -> String {
        "Another DHCP server gives addresses on \(interface): \(others.map(\.description).joined(separator: ", ")). "
            + "Switch it off, or set 'mode: proxy' in this segment of the site file, so that it goes on giving the "
            + "addresses and the conductor only says what to boot."
    }

    // MARK: Trying again

    /// `segment` is the one whose status tells of failures; nil: none does.
    private func keepRunning(_ what: String, of segment: String? = nil, _ body: () async throws -> Void) async {
        while !Task.isCancelled {
            do {
                try await body()
            } catch {
                guard !Task.isCancelled else { return }
                let problem = error as? any UserFacingError
                logger.error("\(what) stopped: \(problem?.diagnostic ?? "\(error)"); trying again")
                if let segment, leads(segment) {
                    await recorder.set(.failed, problem?.publicMessage ?? "\(error)", of: segment)
                }
            }
            try? await Task.sleep(for: Self.retryDelay)
        }
    }
}

/// Tells one task, the only one that may wait, that something stops or has stopped.
struct StopSignal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream() }

    func stop() { continuation.finish() }

    func wait() async { for await _ in stream {} }
}
