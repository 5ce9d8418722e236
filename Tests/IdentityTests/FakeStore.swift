import Primitives
import ResourceModel

/// Documents in memory with the store's compare-and-swap, and a switch that makes commits fail.
actor FakeStore: ResourceStore {
    private var documents: [ResourceKey: Document] = [:]
    private var revision = Revision.zero
    private var failure: StoreError?

    func fail(with error: StoreError?) { failure = error }

    func currentRevision() async throws(StoreError) -> Revision { revision }

    func get(_ key: ResourceKey) async throws(StoreError) -> Document? { documents[key] }

    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        let found = documents.values
            .filter { (kind == nil || $0.key.kind == kind) && (after == nil || $0.key > after!) }
            .sorted { $0.key < $1.key }
        return Page(documents: Array(found.prefix(limit)), revision: revision, hasMore: found.count > limit)
    }

    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        if let failure { throw failure }
        try transaction.validate()
        for condition in transaction.conditions where !condition.holds(for: documents[condition.key]) {
            throw .conflict(condition.key)
        }
        revision = Revision(revision.number + 1)
        for operation in transaction.operations {
            switch operation {
            case .put(let key, let value, let lease):
                documents[key] = Document(key: key, revision: revision, value: value, lease: lease)
            case .delete(let key):
                documents[key] = nil
            }
        }
        return revision
    }

    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        AsyncThrowingStream { $0.finish() }
    }

    func compact(through revision: Revision) async throws(StoreError) {}
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID { LeaseID(1) }
    func renewLease(_ lease: LeaseID) async throws(StoreError) {}
    func revokeLease(_ lease: LeaseID) async throws(StoreError) {}
}
