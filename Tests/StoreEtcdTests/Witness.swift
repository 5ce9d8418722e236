import Primitives
import ResourceModel
import StoreEtcd
import Synchronization
import Testing

/// What a watch has shown of the documents of a `WriterCrew`.
final class Witness: Sendable {
    private let seen = Mutex<[WatchBatch]>([])
    private let watch = Mutex<Task<Void, Never>?>(nil)

    /// Watches a store from now on.
    init(_ store: EtcdStore, after start: Revision) {
        let task = Task { [weak self] in
            var last = start
            while !Task.isCancelled {
                do {
                    for try await batch in await store.watch(after: last) {
                        last = batch.revision
                        if !batch.isBookmark { self?.seen.withLock { $0.append(batch) } }
                    }
                } catch { try? await Task.sleep(for: .milliseconds(10)) }
            }
        }
        watch.withLock { $0 = task }
    }

    /// The revision that it has seen last.
    var position: Revision { seen.withLock { $0.last?.revision ?? .zero } }

    func end() { watch.withLock { $0.take() }?.cancel() }

    /// Each count was written once and in order, and all that was acknowledged is among them and is there.
    func check(_ report: WriterCrew.Report, _ store: EtcdStore) async throws {
        let batches = seen.withLock { $0 }
        #expect(zip(batches, batches.dropFirst()).allSatisfy { $0.revision < $1.revision })
        var written: [Int: [Int: Revision]] = [:]
        for case .put(let document) in batches.flatMap(\.changes) {
            let number = try #require(Int(document.key.name.dropFirst("writer-".count)))
            let count = try #require(Int(String(decoding: document.value, as: UTF8.self)))
            #expect(written[number]?[count] == nil, "\(document.key) was written twice with \(count)")
            #expect(count == (written[number]?.count ?? 0) + 1, "\(document.key) has \(count) out of order")
            written[number, default: [:]][count] = document.revision
        }
        for (number, acknowledged) in report.acknowledged {
            for (count, revision) in acknowledged {
                #expect(written[number]?[count] == revision, "writer \(number) was told of \(count) at \(revision)")
            }
            let stored = try #require(try await store.get(WriterCrew.key(number)))
            #expect((Int(String(decoding: stored.value, as: UTF8.self)) ?? 0) >= (acknowledged.keys.max() ?? 0))
        }
    }
}
