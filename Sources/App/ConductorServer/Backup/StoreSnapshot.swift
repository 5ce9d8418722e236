import CatalogBareMetal
import Primitives
import ResourceModel

/// All documents of a store as of one revision.
struct StoreSnapshot: Sendable {
    /// The revision.
    var revision: Revision
    /// The documents by key; none that is tied to a lease, whose holder is not in a backup.
    var documents: [ResourceKey: [UInt8]] = [:]
    /// Those that are tied to a lease.
    var leased: [ResourceKey: [UInt8]] = [:]

    /// How long the watch may take to show what the pages have shown.
    static let patience: Duration = .seconds(30)

    /// Reads any engine's store while others write to it.
    ///
    /// Pages are as of one revision each, the later ones newer. So all changes after the first page's revision are put over
    /// the pages, in order, up to the last page's: what a page had too new is then what it is at that revision.
    static func read(_ store: any ResourceStore) async throws -> StoreSnapshot {
        var page = try await store.list(kind: nil, after: nil, limit: StoreLimits.pageCountMax)
        let first = page.revision
        let changes = await store.watch(after: first)
        var snapshot = StoreSnapshot(revision: first)
        func put(_ document: Document) {
            let isLeased = document.lease != nil
            snapshot.documents[document.key] = isLeased ? nil : document.value
            snapshot.leased[document.key] = isLeased ? document.value : nil
        }
        page.documents.forEach(put)
        while page.hasMore, let last = page.documents.last {
            page = try await store.list(kind: nil, after: last.key, limit: StoreLimits.pageCountMax)
            page.documents.forEach(put)
        }
        snapshot.revision = page.revision
        if page.revision > first {
            for batch in try await batches(of: changes, through: page.revision) {
                for change in batch.changes {
                    switch change {
                    case .put(let document): put(document)
                    case .deleted(let key): (snapshot.documents[key], snapshot.leased[key]) = (nil, nil)
                    }
                }
            }
        }
        return snapshot
    }

    /// The changes of a watch up to `revision`.
    private static func batches(
        of changes: AsyncThrowingStream<WatchBatch, any Error>, through revision: Revision
    ) async throws -> [WatchBatch] {
        try await withThrowingTaskGroup(of: [WatchBatch]?.self) { group in
            group.addTask {
                var batches: [WatchBatch] = []
                for try await batch in changes {
                    if batch.revision <= revision { batches.append(batch) }
                    if batch.revision >= revision { return batches }
                }
                return nil
            }
            group.addTask {
                try await Task.sleep(for: patience)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let batches = first else { throw BackupError.notQuiet }
            return batches
        }
    }
}
