import Primitives
import ResourceModel

/// A store that is read as it is and takes no change, so that one world serves for every call that would change it.
struct RehearsedStore: ResourceStore {
    /// The store that is read.
    let real: any ResourceStore

    /// What a change is answered with: an error that the API has no other use for (410).
    private static let refusal = StoreError.compacted(oldest: .zero)

    func currentRevision() async throws(StoreError) -> Revision { try await real.currentRevision() }
    func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await real.get(key) }
    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await real.list(kind: kind, after: after, limit: limit)
    }
    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision { throw Self.refusal }
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await real.watch(after: revision)
    }
    func compact(through revision: Revision) async throws(StoreError) { throw Self.refusal }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID { throw Self.refusal }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { throw Self.refusal }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { throw Self.refusal }
}
