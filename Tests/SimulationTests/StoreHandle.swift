import AgentProtocol
import CatalogBareMetal
import FoundationEssentials
import Primitives
import ResourceModel
import TestSupport

/// The store as one part of one run of the conductor has it.
///
/// Each commit waits its turn, so that parts get between each other's reads and writes. A commit may fail, and the
/// conductor may crash before it or after it; a run that has crashed does nothing any more.
struct StoreHandle: ResourceStore {
    /// The parts that write.
    enum Part: String {
        case site
        case api
        case nodeWriter
        case registrar
        case bmcController
        case leases
        case tokens
        case certificates
        case audit
        case addresses
        case cache
    }

    let part: Part
    let conductor: Conductor

    private var world: World { conductor.world }

    private func engine() throws(StoreError) -> any ResourceStore {
        guard conductor.isAlive, let engine = world.disk.engine else { throw .unavailable("the conductor has crashed") }
        return engine
    }

    func currentRevision() async throws(StoreError) -> Revision {
        let engine = try engine()
        return try await world.executor.abroad { () throws(StoreError) in try await engine.currentRevision() }
    }

    func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
        let engine = try engine()
        return try await world.executor.abroad { () throws(StoreError) in try await engine.get(key) }
    }

    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        let engine = try engine()
        return try await world.executor.abroad { () throws(StoreError) in
            try await engine.list(kind: kind, after: after, limit: limit)
        }
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        let transaction = world.mutated(transaction, by: part)
        await world.pause(world.slowly(1...25), run: conductor.run, "commits for \(part)")
        _ = try engine()
        if world.strikes(.failedCommit) { throw .unavailable("an input/output error") }
        if world.strikes(.crashBeforeCommit) {
            world.crash()
            throw .unavailable("the conductor has crashed")
        }
        let before = transaction.operations.map { world.disk.documents[$0.key] }
        let revision = try await world.disk.commit(transaction, in: world)
        world.check(transaction, before: before, part, at: revision)
        if world.strikes(.crashAfterCommit) {
            world.crash()
            throw .unavailable("the conductor has crashed")
        }
        if let batch = world.disk.history.last, batch.revision == revision { conductor.follow(batch, by: part) }
        return revision
    }

    /// Every commit of the engine is known here; none comes from elsewhere.
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        let batches = world.disk.history.filter { $0.revision > revision }
        return AsyncThrowingStream { continuation in
            for batch in batches { continuation.yield(batch) }
            continuation.finish()
        }
    }

    func compact(through revision: Revision) async throws(StoreError) { try await engine().compact(through: revision) }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await engine().grantLease(timeToLive: timeToLive)
    }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await engine().renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await engine().revokeLease(lease) }
}
