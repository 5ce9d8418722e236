import Primitives
import ResourceModel
import StoreMemory

/// The memory store with a switch that makes commits fail.
actor FakeStore: ResourceStore {
    private let store = MemoryStore()
    private var failure: StoreError?

    func fail(with error: StoreError?) { failure = error }

    func currentRevision() async throws(StoreError) -> Revision { try await store.currentRevision() }

    func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await store.get(key) }

    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await store.list(kind: kind, after: after, limit: limit)
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        if let failure { throw failure }
        return try await store.commit(transaction)
    }

    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await store.watch(after: revision)
    }

    func compact(through revision: Revision) async throws(StoreError) { try await store.compact(through: revision) }

    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await store.grantLease(timeToLive: timeToLive)
    }

    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await store.renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await store.revokeLease(lease) }
}
