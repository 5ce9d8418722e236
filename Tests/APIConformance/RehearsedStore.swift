import Primitives
import ResourceModel

/// A store that is read as it is and takes no change, so that one world serves for every call that would change it.
public struct RehearsedStore: ResourceStore {
    private let real: any ResourceStore

    /// Reads `real`.
    public init(real: any ResourceStore) { self.real = real }

    /// What a change is answered with: an error that the API has no other use for (410).
    private static let refusal = StoreError.compacted(oldest: .zero)

    public func currentRevision() async throws(StoreError) -> Revision { try await real.currentRevision() }
    public func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await real.get(key) }
    public func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await real.list(kind: kind, after: after, limit: limit)
    }
    public func commit(_ transaction: Transaction) async throws(StoreError) -> Revision { throw Self.refusal }
    public func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await real.watch(after: revision)
    }
    public func compact(through revision: Revision) async throws(StoreError) { throw Self.refusal }
    public func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID { throw Self.refusal }
    public func renewLease(_ lease: LeaseID) async throws(StoreError) { throw Self.refusal }
    public func revokeLease(_ lease: LeaseID) async throws(StoreError) { throw Self.refusal }
}
