import Primitives
import ResourceModel

/// A store in which nothing is committed once a term is over, whatever its holder still believes.
///
/// Each commit has the term's fence as one more condition, which no engine counts among the caller's. Reads, watches
/// and leases are the store's own.
public struct FencedStore: ResourceStore {
    /// The term.
    public let term: Term
    private let store: any ResourceStore

    /// `store` for as long as `term` lasts.
    public init(_ store: any ResourceStore, term: Term) {
        self.store = store
        self.term = term
    }

    /// As the store's; throws `StoreError.notLeader` when the term is over.
    public func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        do {
            return try await store.commit(transaction.fenced(by: term.fence))
        } catch {
            guard case .conflict(let key) = error, key == term.fence.key else { throw error }
            throw .notLeader(term.name)
        }
    }

    public func currentRevision() async throws(StoreError) -> Revision { try await store.currentRevision() }

    public func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await store.get(key) }

    public func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await store.list(kind: kind, after: after, limit: limit)
    }

    public func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await store.watch(after: revision)
    }

    public func compact(through revision: Revision) async throws(StoreError) {
        try await store.compact(through: revision)
    }

    public func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await store.grantLease(timeToLive: timeToLive)
    }

    public func renewLease(_ lease: LeaseID) async throws(StoreError) { try await store.renewLease(lease) }

    public func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await store.revokeLease(lease) }
}
