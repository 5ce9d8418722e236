import Primitives
import ResourceModel
import StoreEtcd
import Synchronization

/// Writers that each count up in a document of their own, and note what was acknowledged.
///
/// A write whose outcome nobody knows is read back before the next: so each count is written once or not at all.
final class WriterCrew: Sendable {
    struct Report: Sendable {
        /// The acknowledged counts of each writer with their revisions.
        var acknowledged: [Int: [Int: Revision]] = [:]
        /// The longest time without any acknowledgement.
        var gap = Duration.zero
        var unknownCount = 0
        var lastAcknowledgement: ContinuousClock.Instant?
        var failures: Set<String> = []
    }

    private let store: EtcdStore
    private let writers: Int
    private let report = Mutex(Report())

    init(_ store: EtcdStore, writers: Int) {
        self.store = store
        self.writers = writers
    }

    static func key(_ writer: Int) -> ResourceKey { ResourceKey(kind: "test.counter", name: "writer-\(writer)") }

    /// Writes until `isDone`.
    func run(until isDone: @escaping @Sendable () -> Bool) async -> Report {
        await withDiscardingTaskGroup { group in
            for writer in 0..<writers {
                group.addTask { while !isDone(), !Task.isCancelled { await self.write(writer) } }
            }
        }
        return report.withLock { $0 }
    }

    var acknowledgedCount: Int { report.withLock { $0.acknowledged.values.reduce(0) { $0 + $1.count } } }

    /// Counts up until a write fails.
    private func write(_ writer: Int) async {
        let key = Self.key(writer)
        do {
            var (count, revision) = (0, Revision.zero)
            if let document = try await store.get(key) {
                (count, revision) = (Int(String(decoding: document.value, as: UTF8.self)) ?? 0, document.revision)
            }
            while true {
                let condition: Transaction.Condition =
                    revision == .zero ? .absent(key) : .unchanged(key, since: revision)
                revision = try await store.commit(
                    Transaction(conditions: [condition], operations: [.put(key, Array("\(count + 1)".utf8))]))
                count += 1
                acknowledge(writer, count, revision)
                if Task.isCancelled || count.isMultiple(of: 20) { return }
            }
        } catch {
            report.withLock { report in
                if "\(error)".contains("is not known") { report.unknownCount += 1 }
                report.failures.insert(String("\(error)".prefix(160)))
            }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    private func acknowledge(_ writer: Int, _ count: Int, _ revision: Revision) {
        let now = ContinuousClock.now
        report.withLock { report in
            report.acknowledged[writer, default: [:]][count] = revision
            if let last = report.lastAcknowledgement { report.gap = max(report.gap, last.duration(to: now)) }
            report.lastAcknowledgement = now
        }
    }
}
