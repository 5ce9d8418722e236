import FoundationEssentials
import Primitives
import ResourceModel
import Synchronization

/// Reads commits of the past for watches that begin behind the shared one.
struct EtcdHistory: Sendable {
    let connections: EtcdConnections
    let keys: EtcdKeys
    /// The store's first revision.
    let base: Revision
    /// What was before this one is of another history; zero: nothing was.
    let begun: Revision

    private static let batchCountMax = 256
    private static let sizeMax = 4 << 20

    private struct Collected {
        var batches: [WatchBatch] = []
        var size = 0

        mutating func add(_ batch: WatchBatch) {
            batches.append(batch)
            for case .put(let document) in batch.changes { size += document.value.count }
        }

        var isFull: Bool { batches.count >= batchCountMax || size >= sizeMax }
    }

    /// The commits after `after`, up to `through`, which is a commit; the first part of them when they are many.
    ///
    /// Throws `StoreError.compacted` when some of them are gone.
    func read(after: Revision, through: Revision) async throws -> [WatchBatch] {
        guard after == .zero || after >= begun else { throw StoreError.compacted(oldest: begun) }
        let start = max(after, Revision(base.number - 1))
        guard start < through else { return [] }
        let end = ContinuousClock.now + connections.patience
        var found: [WatchBatch] = []
        while found.isEmpty {
            let link = connections.current
            let collector = Collector()
            do {
                try await link.watch(keys.everything, after: start, keys: keys, until: end) { batches in
                    collector.take(batches, through: through)
                }
            } catch let error as StoreError {
                throw error
            } catch {
                try Task.checkCancellation()
                connections.demote(link)
                guard ContinuousClock.now < end || !collector.batches.isEmpty else {
                    throw StoreError(error as? EtcdFailure ?? .unknown("\(error)"))
                }
            }
            found = collector.batches
        }
        try await connections.requireHistory(after: start, keys)
        return found
    }

    private final class Collector: Sendable {
        private let collected = Mutex(Collected())

        var batches: [WatchBatch] { collected.withLock { $0.batches } }

        /// False when there are enough.
        func take(_ batches: [WatchBatch], through: Revision) -> Bool {
            collected.withLock { collected in
                for batch in batches {
                    guard batch.revision <= through, !collected.isFull else { return false }
                    collected.add(batch)
                }
                return collected.batches.last.map { $0.revision < through } ?? true && !collected.isFull
            }
        }
    }
}
