import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import FleetAPI
import FleetContract
import FoundationEssentials
import HTTPTypes
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// The live consoles: one open line a node, which all who look share; what it shows is recorded. Those that the site wants
/// recorded always are kept open.
actor ConsoleDesk: Service {
    /// The most consoles that are looked at at once.
    static let roomCountMax = 64
    /// The most consoles that are recorded always; each may be a process and a session of a BMC.
    static let recordedCountMax = 512
    /// Lines that wait for one that looks; when they are more, the oldest are lost.
    static let waitingCountMax = 2048
    private static let tick: Duration = .milliseconds(250)
    /// Each how many ticks it is looked for what is to be recorded and is not open.
    private static let lookTicks = 8
    /// For how many it is looked at each, after a console broke off that was open long: a machine that was switched off
    /// and on says the most interesting in its first second.
    private static let hurryTicks = 40
    /// Each how many ticks one that looks is told that it is still there.
    private static let idleTicks = 60

    private struct Room {
        var state = ConsoleRoom()
        var line: ConsoleLine?
        var work: Task<Void, Never>?
        var seats: [UInt64: (visit: ConsoleVisit, events: AsyncStream<ConsoleEvent>.Continuation)] = [:]
    }

    private struct Try {
        var backoff = Backoff(first: .milliseconds(250), most: .seconds(60), jitter: 0)
        var next: Timestamp?
    }

    private let access: @Sendable (Node) async throws -> any ConsoleAccess
    private let recorded: @Sendable () -> [Node]
    private let record: @Sendable (NodeID, [String]) -> Void
    private let audit: @Sendable (AuditEventSpec) async -> Void
    private let clock: any WallClock
    private let logger: Logger
    private var rooms: [NodeID: Room] = [:]
    /// When consoles that are to be recorded may be tried again.
    private var tries: [NodeID: Try] = [:]
    private var hurry = 0
    /// Lines that are being closed: the next waits, since a BMC has one session.
    private var closing: [NodeID: (number: UInt64, task: Task<Void, Never>)] = [:]
    private var nextSeat: UInt64 = 1

    /// `access` finds a node's console, `recorded` which are to be open always, `record` keeps lines that one showed,
    /// `audit` who typed.
    init(
        access: @escaping @Sendable (Node) async throws -> any ConsoleAccess,
        recorded: @escaping @Sendable () -> [Node] = { [] },
        record: @escaping @Sendable (NodeID, [String]) -> Void,
        audit: @escaping @Sendable (AuditEventSpec) async -> Void, clock: any WallClock, logger: Logger
    ) {
        self.access = access
        self.recorded = recorded
        self.record = record
        self.audit = audit
        self.clock = clock
        self.logger = logger
    }

    /// Keeps open what is recorded until the end, and closes every line.
    func run() async throws {
        var ticks = 0
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            if hurry > 0 || ticks % Self.lookTicks == 0 { await keepRecording() }
            hurry = max(0, hurry - 1)
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: Self.tick) }
            ticks += 1
            guard ticks % Self.idleTicks == 0 else { continue }
            for room in rooms.values { for seat in room.seats.values { seat.events.yield(ConsoleEvent(.idle)) } }
        }
        for id in Array(rooms.keys) {
            let line = rooms[id]?.line
            await apply(.ended("The conductor stops."), to: id)
            await line?.close()
        }
        for entry in closing.values { await entry.task.value }
    }

    /// How many consoles are open, for Prometheus.
    var openCount: Int { rooms.values.count { $0.line != nil } }

    /// A place before the console of `node`, which is opened if it is not. Throws `NoConsole` and what opening throws at
    /// once; what fails later ends the place.
    func attach(_ node: Node, _ visit: ConsoleVisit) async throws -> ConsoleSeat {
        let id = try node.id
        let console = try await access(node)
        let isWatched = rooms[id]?.seats.isEmpty == false
        guard isWatched || rooms.values.count(where: { !$0.seats.isEmpty }) < Self.roomCountMax else {
            throw APIError(
                .serviceUnavailable, "busy", "\(Self.roomCountMax) consoles are looked at already; leave one.",
                headers: [.retryAfter: "10"])
        }
        let seat = nextSeat
        nextSeat += 1
        let (events, continuation) = AsyncStream.makeStream(
            of: ConsoleEvent.self, bufferingPolicy: .bufferingNewest(Self.waitingCountMax))
        rooms[id, default: Room()].seats[seat] = (visit, continuation)
        await apply(
            .joined(seat, who: visit.who, writes: visit.writes, takes: visit.takes), to: id, console: console)
        return ConsoleSeat(
            events: events, type: { [self] bytes in await type(bytes, seat, id) },
            leave: { [self] in await leave(seat, id) })
    }

    private func leave(_ seat: UInt64, _ id: NodeID) async {
        guard rooms[id]?.seats[seat] != nil else { return }
        await apply(.left(seat), to: id)
        rooms[id]?.seats.removeValue(forKey: seat)?.events.finish()
        drop(id)
    }

    private func type(_ bytes: [UInt8], _ seat: UInt64, _ id: NodeID) async {
        guard !bytes.isEmpty, rooms[id]?.seats[seat] != nil else { return }
        await apply(.typed(seat, count: bytes.count), to: id, typed: bytes)
    }

    /// Forgets a room that nobody is in.
    private func drop(_ id: NodeID) {
        if let room = rooms[id], room.state.isEmpty, room.seats.isEmpty { rooms[id] = nil }
    }

    // MARK: Recording

    /// Opens what is to be recorded and is not open, after failures ever more seldom, and lets go of what is not recorded
    /// any more.
    func keepRecording() async {
        var wanted: [NodeID: Node] = [:]
        for node in recorded().prefix(Self.recordedCountMax) { if let id = try? node.id { wanted[id] = node } }
        for id in Array(rooms.keys) where wanted[id] == nil && rooms[id]?.state.isRecorded == true {
            await apply(.recording(false), to: id)
        }
        tries = tries.filter { wanted[$0.key] != nil }
        for (id, node) in wanted {
            if let room = rooms[id]?.state, room.isRecorded, !room.lacksRecording { continue }
            if let next = tries[id]?.next, clock.now < next { continue }
            var random = SystemRandomNumberGenerator()
            let wait = tries[id, default: Try()].backoff.next(using: &random)
            tries[id]?.next = clock.now.advanced(by: wait)
            do {
                let console = try await access(node)
                if rooms[id] == nil { rooms[id] = Room() }
                await apply(.recording(true), to: id, console: console)
            } catch { logger.debug("the console of \(node.spec.name) cannot be recorded: \(error)") }
        }
    }

    /// A console that was open for a while is tried again at once.
    private func closed(_ id: NodeID, after duration: Duration) {
        guard duration >= .seconds(30) else { return }
        tries[id] = nil
        hurry = Self.hurryTicks
    }

    // MARK: Effects

    private func apply(
        _ event: ConsoleRoom.Event, to id: NodeID, console: (any ConsoleAccess)? = nil, typed: [UInt8] = []
    ) async {
        guard let effects = rooms[id]?.state.step(event, at: clock.now) else { return }
        for effect in effects {
            switch effect {
            case .open(let takesOver): if let console { open(console, takesOver, id) }
            case .close: close(id)
            case .forward: await rooms[id]?.line?.send(typed)
            case .tell(let seat, let note): rooms[id]?.seats[seat]?.events.yield(Self.event(note))
            case .dismiss(let seat, let reason):
                let entry = rooms[id]?.seats.removeValue(forKey: seat)
                entry?.events.yield(ConsoleEvent(.ended, text: reason))
                entry?.events.finish()
            case .record(let who, let count, let from, let until):
                let visit = rooms[id]?.seats.values.first { $0.visit.who == who }?.visit
                await audit(
                    AuditEventSpec(
                        who: who, from: visit?.from, requestID: visit?.requestID, verb: "console input",
                        resource: Node.key(id.raw), outcome: .ok,
                        summary: "typed \(count) bytes from \(from) to \(until)"))
            }
        }
        drop(id)
    }

    private static func event(_ note: ConsoleRoom.Note) -> ConsoleEvent {
        switch note {
        case .seated(let isWriter, let writer): ConsoleEvent(.seated, text: isWriter ? nil : writer, isWriter: isWriter)
        case .opened: ConsoleEvent(.opened)
        case .writerIs(let who): ConsoleEvent(.note, text: "\(who) types from now on.", isWriter: false)
        case .writerLeft(let who):
            ConsoleEvent(.note, text: "\(who) has left; to type, leave and come again.", isWriter: false)
        case .notTheWriter(let who):
            ConsoleEvent(
                .note,
                text: who.map { "\($0) types here; come with --take to do so yourself." }
                    ?? "You only look; leave and come again without --view to type.",
                isWriter: false)
        }
    }

    private func open(_ console: any ConsoleAccess, _ takesOver: Bool, _ id: NodeID) {
        let before = closing[id]?.task
        // Owned by the room until `close` cancels it and waits for it.
        rooms[id]?.work = Task {
            await before?.value
            var reason = "The console has ended."
            do {
                let line = try await console.openConsole(takesOver: takesOver)
                guard !Task.isCancelled, rooms[id] != nil else { return await line.close() }
                rooms[id]?.line = line
                let opened = clock.now
                await apply(.opened, to: id)
                var text = ConsoleText()
                do {
                    for try await bytes in line.output { show(bytes, id, &text) }
                } catch { reason = (error as? any UserFacingError)?.publicMessage ?? "\(error)" }
                if let rest = text.flush() { record(id, [rest]) }
                await line.close()
                closed(id, after: clock.now.since(opened))
            } catch {
                let problem = error as? any UserFacingError
                // Of a machine that is off, or of a BMC that is down, nobody needs to hear every minute.
                logger.log(
                    level: rooms[id]?.seats.isEmpty == false ? .warning : .debug,
                    "the console of \(id) could not be opened: \(problem?.diagnostic ?? "\(error)")")
                reason = problem?.publicMessage ?? "The console could not be opened."
            }
            guard !Task.isCancelled else { return }
            rooms[id]?.line = nil
            await apply(.ended(reason), to: id)
        }
    }

    private func show(_ bytes: [UInt8], _ id: NodeID, _ text: inout ConsoleText) {
        let lines = text.take(bytes)
        if !lines.isEmpty { record(id, lines) }
        guard let room = rooms[id] else { return }
        let event = ConsoleEvent(.output, data: Data(bytes))
        for seat in room.seats.values { seat.events.yield(event) }
    }

    private func close(_ id: NodeID) {
        guard let room = rooms[id] else { return }
        rooms[id]?.work = nil
        rooms[id]?.line = nil
        guard let work = room.work else { return }
        work.cancel()
        let number = nextSeat
        nextSeat += 1
        // Kept in `closing` until it ends; the next who opens this console waits for it.
        let task = Task {
            await room.line?.close()
            await work.value
            if closing[id]?.number == number { closing[id] = nil }
        }
        closing[id] = (number, task)
    }
}
