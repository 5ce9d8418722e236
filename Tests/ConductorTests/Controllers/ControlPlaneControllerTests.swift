import AgentProtocol
import CatalogBareMetal
import ControlPlane
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import ConductorServer

/// Who leads makes the controllers what they were asked to be, whatever comes in between.
@Suite struct ControlPlaneControllerTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func desk(
        _ store: any ResourceStore, _ world: ControllerWorld, isLeading: @escaping @Sendable () -> Bool = { true },
        patience: Duration = .seconds(20), refusalPatience: Duration = .seconds(5)
    ) -> ControlPlaneDesk {
        ControlPlaneDesk(
            store: store, membership: MembershipOfLeader(world, isLeading: isLeading), surroundings: world,
            clock: SystemWallClock(), patience: patience, refusalPatience: refusalPatience,
            pause: { try await Task.sleep(for: .milliseconds(10)) })
    }

    private static func begin(_ names: [String]) async throws -> (MemoryStore, ControllerWorld) {
        let store = MemoryStore()
        let world = ControllerWorld(names, store: store)
        _ = try await store.commit(Transaction(operations: [try Stored(new: world.record(names[0])).put()]))
        return (store, world)
    }

    private static func endpoint(_ name: String) throws -> Transaction.Operation {
        let metadata = Metadata(
            name: name, schemaVersion: ConductorEndpoint.schemaVersion, created: Timestamp(millisecondsSinceEpoch: 0))
        let spec = ConductorEndpoint.Spec(agents: ["\(name):7443"], provisioning: [], api: ["\(name):9443"])
        return try Stored(new: ConductorEndpoint(metadata: metadata, spec: spec)).put()
    }

    private static func situation(_ store: MemoryStore) async throws -> SiteControllers.Situation {
        .init(wanted: try await store.controlPlane()?.spec, controllers: [:], noted: [])
    }

    @Test("A step for which it is not the time yet is done when it is, and nobody is troubled with it")
    func notYet() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3"])
        for change in ["add", "promote"] { world.refuse(change, times: 4) }
        try await store.wish(["c1", "c2", "c3"])
        var told: [String] = []
        let watch = Task {
            var seen: [String] = []
            for try await batch in await store.watch(after: .zero) {
                for case .put(let document) in batch.changes {
                    guard let record = try? Stored<ControlPlaneRecord>(document).value else { continue }
                    if let problem = record.status.problem { seen.append(problem) }
                    if record.status.phase == .settled, record.status.observed == record.metadata.generation {
                        return seen
                    }
                }
            }
            return seen
        }
        try await Self.desk(store, world).settle()
        told = try await watch.value
        #expect(told.isEmpty, "\(told)")
        let record = try #require(try await store.controlPlane())
        #expect(record.status.phase == .settled && record.status.published == ["c1", "c2", "c3"])
        #expect(record.status.observed == record.metadata.generation)
        #expect(world.changes.map { $0.prefix { $0 != " " } } == ["add", "promote", "add", "promote"])
    }

    @Test("What stays in the way is told once, however often it is tried, and no more once the step is done")
    func problem() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3"])
        world.refuse("add", times: .max)
        try await store.wish(["c1", "c2", "c3"])
        let desk = Self.desk(store, world, refusalPatience: .milliseconds(50))
        await #expect(throws: ControllerWorld.NotYet()) { try await desk.settle() }
        let first = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name))
        #expect(first.value.status.problem == "etcd refuses: unhealthy cluster")
        #expect(first.value.status.plan.first?.step == "add c2 to the store as a learner")
        for _ in 1...5 { await #expect(throws: ControllerWorld.NotYet()) { try await desk.settle() } }
        let later = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name))
        #expect(later.revision == first.revision, "nothing was written for five tries")
        world.refuse("add", times: 0)
        try await desk.settle()
        #expect(try await store.controlPlane()?.status.problem == nil)
    }

    /// The terms of candidates that have ended.
    private final class Ends: Sendable {
        private let counts = Mutex<[String: Int]>([:])
        func count(_ name: String) { counts.withLock { $0[name, default: 0] += 1 } }
        func of(_ name: String) -> Int { counts.withLock { $0[name] ?? 0 } }
    }

    /// Campaigns, and keeps the controllers in each term, until it resigns.
    private static func lead(
        _ leadership: Leadership, _ name: String, _ store: MemoryStore, _ world: ControllerWorld, _ ends: Ends
    ) async throws {
        let wish = try await situation(store)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await leadership.run() }
            group.addTask {
                try await leadership.whileLeading { term in
                    let desk = desk(
                        FencedStore(store, term: term), world, isLeading: { leadership.current == term })
                    let controller = ControlPlaneController(
                        settle: { try await desk.settle() }, situations: { AsyncStream { $0.yield(wish) } },
                        pauses: .init(first: .milliseconds(20), longest: .milliseconds(100)), logger: logger)
                    try await controller.run()
                    ends.count(name)
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("A term that ends in the middle ends the work at once; the next leader goes on with it")
    func terms() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3"])
        // The second controller is not ready, so that the first term waits for it.
        world.change("c2") { $0.isReady = false }
        try await store.wish(["c1", "c2", "c3"])
        let times = LeadershipTimes(timeToLive: .seconds(2), pause: .milliseconds(20))
        let leaderships = ["one", "two"].map {
            Leadership(store: store, name: "conductor", holder: $0, times: times, logger: Self.logger)
        }
        let ends = Ends()
        let first = Task { try await Self.lead(leaderships[0], "one", store, world, ends) }
        try await waitUntil(.seconds(10)) {
            try await store.controlPlane()?.status.plan.first?.step == "make sure that c2 is ready"
        }
        let second = Task { try await Self.lead(leaderships[1], "two", store, world, ends) }
        let clock = ContinuousClock.now
        leaderships[0].resign()
        try await waitUntil(.seconds(5)) { ends.of("one") == 1 }
        #expect(ContinuousClock.now - clock < .seconds(2), "a wait of twenty seconds is broken off with the term")
        #expect(world.changes.isEmpty)
        world.change("c2") { $0.isReady = true }
        try await waitUntil(.seconds(15)) {
            let record = try await store.controlPlane()
            return record?.status.phase == .settled && record?.status.observed == record?.metadata.generation
        }
        #expect(try await store.controlPlane()?.status.published == ["c1", "c2", "c3"])
        #expect(world.changes.count == 4, "nothing was done twice: \(world.changes)")
        leaderships[1].resign()
        for task in [first, second] { _ = try? await task.value }
    }

    @Test("Another wish breaks off what was begun for an older one")
    func otherWish() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3", "c4"])
        world.change("c2") { $0.isReady = false }
        try await store.wish(["c1", "c2", "c3"])
        let (situations, queue) = AsyncStream.makeStream(of: SiteControllers.Situation.self)
        queue.yield(try await Self.situation(store))
        let desk = Self.desk(store, world)
        let controller = ControlPlaneController(
            settle: { try await desk.settle() }, situations: { situations },
            pauses: .init(first: .milliseconds(20), changes: .zero), logger: Self.logger)
        let running = Task { try await controller.run() }
        defer { running.cancel() }
        try await waitUntil(.seconds(10)) {
            try await store.controlPlane()?.status.plan.first?.step == "make sure that c2 is ready"
        }
        try await store.wish(["c1", "c3", "c4"])
        queue.yield(try await Self.situation(store))
        try await waitUntil(.seconds(10)) {
            try await store.controlPlane()?.status.published == ["c1", "c3", "c4"]
        }
        #expect(!world.changes.contains("add 10.77.0.2"))
        running.cancel()
        _ = try? await running.value
    }

    @Test("What passes within seconds is no refusal: a member that starts again, an election")
    func passing() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3", "c4", "c5"])
        try await store.wish(["c1", "c2", "c3"])
        try await Self.desk(store, world).settle()
        world.setHealthy(false, memberOf: "c2")
        let back = Task {
            try await Task.sleep(for: .milliseconds(300))
            world.setHealthy(true, memberOf: "c2")
        }
        try await store.wish(["c1", "c2", "c3", "c4", "c5"])
        try await Self.desk(store, world).settle()
        try await back.value
        #expect(try await store.controlPlane()?.status.phase == .settled)
        #expect(world.changes.suffix(4) == ["add 10.77.0.4", "promote 4", "add 10.77.0.5", "promote 5"])
    }

    @Test("Once all is settled it is looked at now and then, and at once when something changes; failures wait longer")
    func pace() async throws {
        let runs = Mutex<[ContinuousClock.Instant]>([])
        let isFailing = Mutex(false)
        let (situations, queue) = AsyncStream.makeStream(of: SiteControllers.Situation.self)
        queue.yield(.init(wanted: nil, controllers: [:], noted: []))
        let controller = ControlPlaneController(
            settle: {
                runs.withLock { $0.append(.now) }
                if isFailing.withLock({ $0 }) { throw ControllerWorld.NotYet() }
            }, situations: { situations },
            pauses: .init(first: .milliseconds(50), longest: .seconds(60), settled: .milliseconds(200), changes: .zero),
            logger: Self.logger)
        let running = Task { try await controller.run() }
        defer { running.cancel() }
        func count(over time: Duration) async throws -> Int {
            let before = runs.withLock { $0.count }
            try await Task.sleep(for: time)
            return runs.withLock { $0.count } - before
        }
        #expect(
            try await (2...8).contains(count(over: .milliseconds(1200))), "every fifth of a second, and not oftener")
        isFailing.withLock { $0 = true }
        // After 50, 100, 200, 400 and 800 ms.
        #expect(try await (1...7).contains(count(over: .milliseconds(1600))))
        let last = runs.withLock { $0.count }
        queue.yield(.init(wanted: nil, controllers: [:], noted: ["c1"]))
        try await waitUntil(.milliseconds(700)) { runs.withLock { $0.count } > last }
        running.cancel()
        _ = try? await running.value
    }

    @Test("A refusal is looked at again when something changes, and ends with its cause")
    func refusal() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3", "c4"])
        try await store.wish(["c1", "c2", "c3"])
        try await Self.desk(store, world).settle()
        world.setHealthy(false, memberOf: "c3")
        let (situations, queue) = AsyncStream.makeStream(of: SiteControllers.Situation.self)
        var situation = try await Self.situation(store)
        queue.yield(situation)
        let desk = Self.desk(store, world, refusalPatience: .milliseconds(50))
        let controller = ControlPlaneController(
            settle: { try await desk.settle() }, situations: { situations },
            pauses: .init(first: .milliseconds(10), longest: .seconds(60), settled: .milliseconds(50), changes: .zero),
            logger: Self.logger)
        let running = Task { try await controller.run() }
        defer { running.cancel() }
        try await waitUntil(.seconds(10)) { try await store.controlPlane()?.status.phase == .refused }
        #expect(try await store.controlPlane()?.status.problem?.contains("replace c3 --with NODE") == true)
        world.setHealthy(true, memberOf: "c3")
        // Its conductor has come back too.
        situation.noted = ["c3"]
        queue.yield(situation)
        try await waitUntil(.seconds(20)) {
            try await store.controlPlane()?.status.phase == .settled
        }
        #expect(try await store.controlPlane()?.status.problem == nil)
        running.cancel()
        _ = try? await running.value
    }

    @Test("The dead go before another comes; with its own name a controller gets another member")
    func replacing() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3", "c4"])
        try await store.wish(["c1", "c2", "c3"])
        try await Self.desk(store, world).settle()
        world.setHealthy(false, memberOf: "c3")
        world.change("c3") { ($0.isReady, $0.isServing) = (false, false) }
        try await store.wish(["c1", "c2", "c4"])
        try await Self.desk(store, world).settle()
        #expect(world.changes.suffix(3) == ["remove 3", "add 10.77.0.4", "promote 4"], "\(world.changes)")
        let assignments = try #require(try await store.controlPlane()?.status.assignments)
        #expect(assignments.map(\.controller) == ["c1", "c2", "c4"], "its view has nothing of it any more")

        try await store.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { current in
            var stored = current
            stored?.value.spec.retired = ["2"]
            return stored
        }
        try await Self.desk(store, world).settle()
        #expect(world.changes.suffix(3) == ["remove 2", "add 10.77.0.2", "promote 5"], "\(world.changes)")
        let own = try await store.controlPlane()?.status.assignments.first { $0.controller == "c2" }
        #expect(own?.member?.incarnation == "5" && own?.runsConductor == true)
    }

    @Test("Blobs are copied before anybody leaves; who has left is told of no more, others are")
    func leaving() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3"])
        try await store.wish(["c1", "c2", "c3"])
        try await Self.desk(store, world).settle()
        for name in ["c1", "c2", "c3", "seed"] {
            _ = try await store.commit(Transaction(operations: [try Self.endpoint(name)]))
        }
        world.setBlobsShort(25)
        try await store.wish(["c2"])
        try await Self.desk(store, world).settle()
        #expect(world.copyRounds == 3)
        let told = try await store.fetchAll(ConductorEndpoint.self).map(\.value.metadata.name).sorted()
        #expect(told == ["c2", "seed"])
        #expect(world.changes.suffix(3).contains("lead 2"), "\(world.changes)")

        // One that was cut off when it left has noted itself again.
        _ = try await store.commit(Transaction(operations: [try Self.endpoint("c3")]))
        try await Self.desk(store, world).settle()
        #expect(try await store.fetch(ConductorEndpoint.self, "c3") == nil)
        #expect(world.copyRounds == 3, "once all is settled nobody is asked what he has")
    }

    @Test("Nobody at the shared address: it is not settled, its problem says what to do, and all else is done")
    func silentAddress() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3", "c4"])
        world.setAddressSilent(true)
        world.setBlobsShort(5)
        try await store.wish(["c1", "c2", "c3"], vip: IPv4Address(0x0A4D_0005))
        let desk = Self.desk(store, world, refusalPatience: .milliseconds(100))
        let address = SocketAddress(host: IPv4Address(0x0A4D_0005), port: 9443)
        let silent = ControlPlaneDesk.Failure.addressSilent(address, routerID: 51)
        for name in ["c1", "c4"] { _ = try await store.commit(Transaction(operations: [try Self.endpoint(name)])) }
        await #expect(throws: silent) { try await desk.settle() }
        let first = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name))
        #expect(first.value.status.published == ["c1", "c2", "c3"], "grown all the same")
        #expect(first.value.status.phase == .changing && first.value.status.plan.count == 1)
        #expect(first.value.status.problem == silent.publicMessage)
        #expect(silent.publicMessage.contains("10.77.0.5:9443") && silent.publicMessage.contains("identifier 51"))
        #expect(world.copyRounds == 1)
        #expect(try await store.fetch(ConductorEndpoint.self, "c4") == nil, "who does not run is told of no more")
        for _ in 1...3 { await #expect(throws: silent) { try await desk.settle() } }
        let later = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name))
        #expect(later.revision == first.revision, "nothing was written for three tries")
        #expect(world.blobLooks < 10, "nobody is asked for blobs while it is waited: \(world.blobLooks)")

        // One dies meanwhile and is replaced.
        world.setHealthy(false, memberOf: "c3")
        world.change("c3") { ($0.isReady, $0.isServing) = (false, false) }
        try await store.wish(["c1", "c2", "c4"])
        await #expect(throws: silent) { try await desk.settle() }
        #expect(world.changes.suffix(3) == ["remove 3", "add 10.77.0.4", "promote 4"], "\(world.changes)")

        // Whoever comes to have it settles all; a short silence after that is nobody's trouble.
        world.setAddressSilent(false)
        try await Self.desk(store, world).settle()
        let settled = try #require(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name))
        #expect(settled.value.status.phase == .settled && settled.value.status.problem == nil)
        world.setAddressSilent(true)
        let back = Task {
            try await Task.sleep(for: .milliseconds(200))
            world.setAddressSilent(false)
        }
        try await Self.desk(store, world).settle()
        try await back.value
        #expect(try await store.fetch(ControlPlaneRecord.self, ControlPlaneRecord.name)?.revision == settled.revision)
    }

    @Test("Members are changed only by who leads, also when the store would not know")
    func onlyTheLeader() async throws {
        let (store, world) = try await Self.begin(["c1", "c2", "c3"])
        try await store.wish(["c1", "c2", "c3"])
        let desk = Self.desk(store, world, isLeading: { false })
        await #expect(throws: CancellationError.self) { try await desk.settle() }
        #expect(world.changes.isEmpty)
        #expect(try await store.controlPlane()?.status.problem == nil)
    }
}
