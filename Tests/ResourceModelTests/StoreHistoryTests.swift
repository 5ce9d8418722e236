import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing

/// What tells one history of a store from another.
@Suite struct StoreHistoryTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.appending("store.sqlite") }

    init() throws { directory = try TemporaryDirectory("history") }

    private func put(_ name: String, _ value: String = "1") -> Transaction {
        Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: name), Array(value.utf8))])
    }

    @Test func anIdentityStaysAndIsReadBack() async throws {
        let first = try await SQLiteStore.open(path: path)
        let identity = first.identity
        #expect(StoreIdentity("\(identity)") == identity)
        try await first.close()
        let second = try await SQLiteStore.open(path: path)
        #expect(second.identity == identity)
        try await second.close()
        let other = try await SQLiteStore.open(path: directory.appending("other"))
        #expect(other.identity != identity)
        try await other.close()
        for text in ["", "0", "0000000000000000", "zz00000000000000", "ffffffffffffffff"] {
            #expect(StoreIdentity(text) == nil, "\(text)")
        }
    }

    @Test func aNewHistoryKeepsDocumentsAndTakesNoNumberTwice() async throws {
        let store = try await SQLiteStore.open(path: path)
        let identity = store.identity
        let kept = try await store.commit(put("kept"))
        #expect(throws: StoreError.inUse(path)) { try SQLiteStore.beginNewHistory(path: path, beyond: Revision(50)) }
        try await store.close()

        try SQLiteStore.beginNewHistory(path: path, beyond: Revision(50))
        let next = try await SQLiteStore.open(path: path)
        #expect(next.identity != identity)
        #expect(try await next.currentRevision() == Revision(50))
        #expect(try await next.get(ResourceKey(kind: "test.thing", name: "kept"))?.revision == kept)
        await #expect(throws: StoreError.compacted(oldest: Revision(50))) {
            for try await _ in await next.watch(after: kept) { break }
        }
        let watch = await next.watch(after: Revision(50))
        #expect(try await next.commit(put("new")) == Revision(51))
        for try await batch in watch {
            #expect(batch.revision == Revision(51))
            break
        }
        try await next.close()
        // What it holds is never taken back.
        try SQLiteStore.beginNewHistory(path: path, beyond: Revision(7))
        let last = try await SQLiteStore.open(path: path)
        #expect(try await last.currentRevision() == Revision(51))
        try await last.close()
    }

    @Test func failuresAreCountedAndAProbeWrites() async throws {
        let store = try await SQLiteStore.open(path: path)
        _ = try await store.commit(put("before"))
        #expect(store.failures.count == 0)
        let pages = try #require(try await SQLiteProbe.value(store, "PRAGMA page_count").flatMap { Int($0) })
        try await SQLiteProbe.execute(store, "PRAGMA max_page_count = \(pages)")
        var failure: StoreError?
        for number in 0..<50 where failure == nil {
            do { _ = try await store.commit(put("n\(number)", String(repeating: "x", count: 16_000))) } catch {
                failure = error
            }
        }
        #expect(failure == .diskFull(path))
        #expect(store.failures.count == 1 && store.failures.last == .diskFull(path))
        let revision = store.newestRevision
        // A probe changes nothing that anybody sees.
        try await store.tryWriting()
        #expect(store.newestRevision == revision && store.failures.count == 1)
        try await store.close()
    }
}
