import AgentProtocol
import CatalogBareMetal
import ControlPlane
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport

/// A site with a seed, three controllers and the store that they bring, in memory: the seed is killed and started again,
/// answers of the new store are lost, and what was under way when the seed was killed may arrive later.
final class PivotWorld: Sendable {
    /// What happens to a commit to the new store.
    enum Fault: Hashable, CaseIterable {
        /// It is not made, and the seed hears that nobody knows.
        case dropped
        /// It is made, and the seed hears that nobody knows.
        case unanswered
        /// The seed is killed before it.
        case killedBefore
        /// The seed is killed after it.
        case killedAfter
        /// The seed is killed, and it arrives while the next run is under way.
        case killedAndLate
    }

    private struct State {
        var note: PivotNote?
        var isRetired = false
        var isKilled = false
        /// The commits to the new store so far, of all runs.
        var commitCount = 0
        var fault: (at: Int, Fault)?
        /// What is still under way, and after how many calls of the next run it arrives.
        var late: (Transaction, calls: Int)?
        var acknowledged: [ResourceKey] = []
        var violations: [String] = []
        var patience = 0
    }

    let old = MemoryStore()
    let new = MemoryStore()
    private let state = Mutex(State())

    var note: PivotNote? { state.withLock { $0.note } }
    var isRetired: Bool { state.withLock { $0.isRetired } }
    var isKilled: Bool { state.withLock { $0.isKilled } }
    var commitCount: Int { state.withLock { $0.commitCount } }
    var violations: [String] { state.withLock { $0.violations } }
    var acknowledged: [ResourceKey] { state.withLock { $0.acknowledged } }

    init(fault: (at: Int, Fault)? = nil, lateAfter calls: Int = 0) {
        state.withLock {
            $0.fault = fault
            $0.patience = calls
        }
    }

    static let controllers = ["a", "b", "c"]
    static func address(_ name: String) -> IPv4Address { IPv4Address(0x0A00_0000 + UInt32(name.utf8.first ?? 0)) }

    func order() async throws {
        let record = ControlPlaneRecord(
            created: Timestamp(millisecondsSinceEpoch: 0), spec: .init(controllers: Self.controllers),
            status: .init(phase: .pivoting))
        _ = try await old.commit(Transaction(operations: [try Stored(new: record).put()]))
    }

    func kill() { state.withLock { $0.isKilled = true } }

    func violate(_ what: String) { state.withLock { $0.violations.append(what) } }

    /// A client that writes and reads at the seed, and what the new store's conductors do.
    func live(at gate: GatedStore, _ number: Int) async throws {
        let key = ResourceKey(kind: "test.thing", name: "n\(number)")
        let isOpen = try await isOpen()
        do throws(StoreError) {
            _ = try await gate.commit(Transaction(operations: [.put(key, [1])]))
            state.withLock { $0.acknowledged.append(key) }
            if isOpen { violate("the seed took a write while the new store was open") }
        } catch { guard error.isFrozen else { throw error } }
        if isOpen, (try? await gate.currentRevision()) != nil { violate("the seed read while the new store was open") }
        guard isOpen else { return }
        let other = ResourceKey(kind: "test.thing", name: "new-\(number)")
        _ = try await new.commit(Transaction(operations: [.put(other, [2])]))
        state.withLock { $0.acknowledged.append(other) }
        if number.isMultiple(of: 3) {
            try await new.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { stored in
                var next = stored
                next?.value.status.phase = .settled
                return next
            }
        }
    }

    /// Whether conductors that wait on the new store would serve.
    func isOpen() async throws -> Bool {
        guard try await !StoreMigration.isUnfinished(in: new) else { return false }
        return try await new.get(ControlPlaneRecord.key(ControlPlaneRecord.name)) != nil
    }

    /// One run of the seed: until it is killed, done, or `stepCountMax` looks are over.
    func run(from number: inout Int, stepCountMax: Int = 80, killAt: Int? = nil, goBackAt: Int? = nil) async throws {
        state.withLock { $0.isKilled = false }
        let gate = GatedStore(old, why: "it moves")
        let seed = Seed(world: self, gate: gate)
        if note != nil { await gate.move(to: .shut) }
        let desk = PivotDesk(seed: seed, surroundings: Surroundings(world: self), clock: SystemWallClock())
        // Until it is known, nothing is served.
        while !isKilled { do { try await desk.recover(); break } catch { try await land() } }
        if seed.isReadOnly { seed.letGo() }
        for step in 0..<stepCountMax {
            if isKilled { return }
            if step == killAt { return kill() }
            if step == goBackAt { await goBack(gate) }
            number += 1
            try await live(at: gate, number)
            do {
                switch try await desk.advance() {
                case .isDone, .idle: return
                case .hasMoved: seed.letGo()
                case .took, .waits: break
                }
            } catch {
                if isKilled { return }
                do { try await desk.recover() } catch { try await live(at: gate, number + 1000) }
            }
        }
        if !isKilled { violate("it does not come to an end: \(try await desk.advance())") }
    }

    private func goBack(_ gate: GatedStore) async {
        _ = try? await gate.update(ControlPlaneRecord.self, ControlPlaneRecord.name) { stored in
            var next = stored
            next?.value.spec.goesBack = true
            return next
        }
    }

    // MARK: The new store as the seed reaches it

    /// What was under way arrives, once its time has come.
    fileprivate func land() async throws {
        let due = state.withLock { state -> Transaction? in
            guard !state.isKilled, let late = state.late else { return nil }
            if late.calls > 0 {
                state.late = (late.0, late.calls - 1)
                return nil
            }
            state.late = nil
            return late.0
        }
        if let due { _ = try? await new.commit(due) }
    }

    fileprivate func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        let fault = state.withLock { state -> Fault? in
            if state.isKilled { return .dropped }
            state.commitCount += 1
            return state.fault.flatMap { $0.at == state.commitCount ? $0.1 : nil }
        }
        switch fault {
        case nil: return try await new.commit(transaction)
        case .dropped: break
        case .unanswered: _ = try await new.commit(transaction)
        case .killedBefore: kill()
        case .killedAfter:
            _ = try await new.commit(transaction)
            kill()
        case .killedAndLate:
            state.withLock { state in
                state.late = (transaction, state.patience)
                state.isKilled = true
            }
        }
        throw .unavailable("no answer")
    }

    /// The seed as it is, with its state on the disk.
    final class Seed: PivotSeed {
        private let world: PivotWorld
        private let gate: GatedStore
        private let dhcp = Mutex(true)
        private let gone = Mutex(false)

        init(world: PivotWorld, gate: GatedStore) {
            self.world = world
            self.gate = gate
        }

        var store: any ResourceStore { gate.inner }
        var isReadOnly: Bool { gate.position != .open }
        var servesDHCP: Bool { dhcp.withLock { $0 } }
        var hasLetGo: Bool { gone.withLock { $0 } }
        func letGo() {
            gone.withLock { $0 = true }
            dhcp.withLock { $0 = false }
        }
        func freeze() async { await gate.move(to: .readOnly) }
        func shut() async { await gate.move(to: .shut) }
        func thaw() async { await gate.move(to: .open) }
        func stopDHCP() { dhcp.withLock { $0 = false } }
        func startDHCP() { dhcp.withLock { $0 = true } }
        func retire() { world.state.withLock { $0.isRetired = true } }
        func note() -> PivotNote? { world.note }
        func keep(_ note: PivotNote?) throws {
            guard !world.isKilled else { throw StoreError.unavailable("killed") }
            world.state.withLock { $0.note = note }
        }
    }

    private struct Surroundings: PivotSurroundings {
        let world: PivotWorld

        func controllers() -> [String: PivotController] {
            Dictionary(
                uniqueKeysWithValues: PivotWorld.controllers.map {
                    ($0, PivotController(address: PivotWorld.address($0), isReady: true, hasSecrets: true))
                })
        }
        func agentsBehind(_ revision: Revision) -> Int { 0 }
        func members(at addresses: [SocketAddress]) -> [StoreMember] {
            addresses.enumerated().map { index, address in
                StoreMember(
                    id: UInt64(index + 1), peer: SocketAddress(host: address.host, port: EtcdMemberItem.Port.peer),
                    isLearner: false, isStarted: true, isHealthy: true, isCaughtUp: true, isLeader: index == 0)
            }
        }
        func target(at addresses: [SocketAddress]) -> any ResourceStore { Answers(world: world) }
        func beginNewHistory(at addresses: [SocketAddress], beyond revision: Revision) async throws {
            // A store in memory counts from one: it is moved on.
            let key = ResourceKey(kind: "test.thing", name: "counted")
            while try await world.new.currentRevision().number < 400 {
                _ = try await world.new.commit(Transaction(operations: [.put(key, [0])]))
            }
            _ = try await world.new.commit(Transaction(operations: [.delete(key)]))
        }
        func close() {}
        func openingOperations() -> [Transaction.Operation] {
            [.put(ResourceKey(kind: "test.seed", name: "here"), [1])]
        }
        func forgetSeed(in target: any ResourceStore) async throws {
            _ = try await target.commit(
                Transaction(operations: [.delete(ResourceKey(kind: "test.seed", name: "here"))]))
        }
    }

    /// The new store, whose answers may be lost.
    private struct Answers: ResourceStore {
        let world: PivotWorld

        private func ask() async throws(StoreError) {
            do { try await world.land() } catch { throw .unavailable("\(error)") }
            if world.isKilled { throw .unavailable("killed") }
        }
        func currentRevision() async throws(StoreError) -> Revision {
            try await ask()
            return try await world.new.currentRevision()
        }
        func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
            try await ask()
            return try await world.new.get(key)
        }
        func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
            try await ask()
            return try await world.new.list(kind: kind, after: after, limit: limit)
        }
        func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
            try await ask()
            return try await world.commit(transaction)
        }
        func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
            await world.new.watch(after: revision)
        }
        func compact(through revision: Revision) async throws(StoreError) {}
        func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
            try await world.new.grantLease(timeToLive: timeToLive)
        }
        func renewLease(_ lease: LeaseID) async throws(StoreError) { try await world.new.renewLease(lease) }
        func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await world.new.revokeLease(lease) }
    }
}
