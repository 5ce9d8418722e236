import FoundationEssentials
import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing

@Suite struct SQLiteStoreTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.appending("store.sqlite") }

    init() throws { directory = try TemporaryDirectory("sqlite") }

    private func key(_ name: String) -> ResourceKey { ResourceKey(kind: "test.thing", name: name) }

    private func put(_ name: String, _ value: String = "1", lease: LeaseID? = nil) -> Transaction {
        Transaction(operations: [.put(key(name), Array(value.utf8), lease: lease)])
    }

    @Test func writesThroughToTheDisk() async throws {
        let store = try await SQLiteStore.open(path: path)
        #expect(try await SQLiteProbe.value(store, "PRAGMA synchronous") == "2")  // FULL
        #expect(try await SQLiteProbe.value(store, "PRAGMA journal_mode") == "wal")
        let rights = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(rights.map { $0 & 0o777 } == 0o600)
        try await store.close()
    }

    @Test func documentsRevisionAndHistoryOutliveAReopen() async throws {
        let first = try await SQLiteStore.open(path: path)
        let revision = try await first.commit(put("a", "one"))
        let second = try await first.commit(put("b", "two"))
        try await first.close()

        let store = try await SQLiteStore.open(path: path)
        #expect(try await store.currentRevision() == second)
        #expect(try await store.get(key("a")) == Document(key: key("a"), revision: revision, value: Array("one".utf8)))
        let third = try await store.commit(put("c"))
        #expect(third > second)
        var seen: [Revision] = []
        for try await batch in await store.watch(after: revision) {
            seen.append(batch.revision)
            if seen.count == 2 { break }
        }
        #expect(seen == [second, third])
        try await store.close()
    }

    @Test func aLeaseLivesItsWholeTimeAgainAfterAReopen() async throws {
        let clock = ManualWallClock()
        let first = try await SQLiteStore.open(path: path, clock: clock)
        let lease = try await first.grantLease(timeToLive: .seconds(10))
        _ = try await first.commit(put("a", lease: lease))
        try await first.close()
        clock.advance(by: .seconds(60))

        let store = try await SQLiteStore.open(path: path, clock: clock)
        try await store.expireLeases(now: clock.now)
        try await store.renewLease(lease)
        #expect(try await store.get(key("a"))?.lease == lease)
        clock.advance(by: .seconds(10))
        try await store.expireLeases(now: clock.now)
        #expect(try await store.get(key("a")) == nil)
        #expect(try await store.grantLease(timeToLive: .seconds(10)) != lease)
        try await store.close()
    }

    @Test func aSecondOpenIsRefusedUntilTheFirstIsClosed() async throws {
        let first = try await SQLiteStore.open(path: path)
        await #expect(throws: StoreError.inUse(path)) { try await SQLiteStore.open(path: path) }
        try await first.close()
        try await SQLiteStore.open(path: path).close()
    }

    @Test func afterCloseEverythingFailsWithAReason() async throws {
        let store = try await SQLiteStore.open(path: path)
        let watch = await store.watch(after: .zero)
        try await store.close()
        await #expect(throws: StoreError.unavailable("it has been closed")) { try await store.commit(put("a")) }
        await #expect(throws: StoreError.self) { try await store.get(key("a")) }
        await #expect(throws: StoreError.unavailable("it has been closed")) {
            for try await _ in watch {}
        }
    }

    @Test func aNewerFormatIsRefusedAndLeftAlone() async throws {
        let first = try await SQLiteStore.open(path: path)
        try await SQLiteProbe.execute(first, "UPDATE meta SET value = 7 WHERE name = 'schema'")
        try await first.close()
        let before = FileManager.default.contents(atPath: path)
        await #expect(throws: StoreError.tooNew(found: 7, supported: 1)) { try await SQLiteStore.open(path: path) }
        #expect(before != nil && FileManager.default.contents(atPath: path) == before)
    }

    @Test func filesThatAreNoStoreAreRefused() async throws {
        try directory.write("text", Array(String(repeating: "not a database ", count: 100).utf8))
        await #expect(throws: StoreError.self) { try await SQLiteStore.open(path: directory.appending("text")) }
        let other = directory.appending("other")
        try SQLiteProbe.makeForeignDatabase(other)
        let before = FileManager.default.contents(atPath: other)
        await #expect(throws: StoreError.self) { try await SQLiteStore.open(path: other) }
        #expect(before != nil && FileManager.default.contents(atPath: other) == before)
        await #expect(throws: StoreError.self) { try await SQLiteStore.open(path: directory.appending("no/such/dir")) }
    }

    @Test func aFullDiskIsAnErrorAndLosesNothing() async throws {
        let store = try await SQLiteStore.open(path: path)
        _ = try await store.commit(put("kept", "before"))
        let pages = try #require(try await SQLiteProbe.value(store, "PRAGMA page_count").flatMap { Int($0) })
        try await SQLiteProbe.execute(store, "PRAGMA max_page_count = \(pages + 8)")
        let large = String(repeating: "x", count: 16_000)
        var acknowledged: [String] = []
        var failure: StoreError?
        for number in 0..<50 where failure == nil {
            do {
                _ = try await store.commit(put("large\(number)", large))
                acknowledged.append("large\(number)")
            } catch {
                failure = error
            }
        }
        let message = try #require(failure).publicMessage
        #expect(message.contains("full") && message.contains("free some space"))
        let revision = try await store.currentRevision()
        for name in acknowledged { #expect(try await store.get(key(name))?.value.count == 16_000) }

        try await SQLiteProbe.execute(store, "PRAGMA max_page_count = \(pages + 10_000)")
        let next = try await store.commit(put("after"))
        #expect(next.number == revision.number + 1)
        try await store.close()
    }

    @Test func oldHistoryIsCompactedByItself() async throws {
        let store = try await SQLiteStore.open(path: path, options: SQLiteStoreOptions(historyCountMax: 16))
        var last = Revision.zero
        for number in 0..<100 { last = try await store.commit(put("a", "\(number)")) }
        let rows = try await SQLiteProbe.value(store, "SELECT count(*) FROM history").flatMap { Int($0) }
        #expect(rows.map { (16...18).contains($0) } == true)
        await #expect(throws: StoreError.self) {
            for try await _ in await store.watch(after: .zero) { break }
        }
        let recent = Revision(last.number - 16)
        for try await batch in await store.watch(after: recent) {
            #expect(batch.revision.number == recent.number + 1)
            break
        }
        #expect(try await store.get(key("a"))?.revision == last)
        try await store.close()
    }

    @Test func aLongHistoryIsReplayedWhole() async throws {
        let store = try await SQLiteStore.open(path: path)
        let count = 1500
        try await withThrowingTaskGroup { group in
            for number in 0..<count { group.addTask { _ = try await store.commit(put("n\(number)")) } }
            try await group.waitForAll()
        }
        var next: UInt64 = 1
        for try await batch in await store.watch(after: .zero) where !batch.isBookmark {
            #expect(batch.revision.number == next)
            next += 1
            if next > count { break }
        }
        try await store.close()
    }

    @Test func moreWaitingChangesThanAllowedAreRefused() async throws {
        let store = try await SQLiteStore.open(path: path, options: SQLiteStoreOptions(pendingCountMax: 4))
        let transactions = SQLiteProbe.countTransactions(store)
        let giveBack = await SQLiteProbe.holdWrites(store)
        let (taken, refused) = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<200 {
                group.addTask {
                    do {
                        _ = try await store.commit(put("n\(number)"))
                        return true
                    } catch StoreError.limitExceeded {
                        return false
                    }
                }
            }
            var outcomes = (taken: 0, refused: 0)
            for try await isTaken in group {
                if isTaken {
                    outcomes.taken += 1
                } else {
                    outcomes.refused += 1
                    if outcomes.refused == 196 { giveBack() }
                }
            }
            return outcomes
        }
        #expect(taken == 4 && refused == 196)
        #expect(transactions.count == 1)
        #expect(try await store.list(kind: nil, after: nil, limit: 500).documents.count == 4)
        try await store.close()
    }

    /// What a kill leaves are the files as they are: everything acknowledged before is in them.
    @Test func aCopyTakenAtAnyMomentHasEverythingAcknowledgedBefore() async throws {
        let store = try await SQLiteStore.open(path: path)
        // Checkpoints would change the first file while the second is copied, which no kill does.
        try await SQLiteProbe.execute(store, "PRAGMA wal_autocheckpoint = 0")
        let acknowledged = Ledger()
        let copies = try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    var number = 0
                    while !Task.isCancelled {
                        let name = "n\(task)-\(number)"
                        let revision = try await store.commit(put(name, String(repeating: "v", count: 2000)))
                        acknowledged.add(name, revision)
                        number += 1
                    }
                }
            }
            var random = SeededRandom(seed: 7)
            var copies: [(path: String, expected: [String: Revision])] = []
            for number in 0..<4 {
                let enough = acknowledged.count + Int.random(in: 20...80, using: &random)
                try await waitUntil { acknowledged.count >= enough }
                let expected = acknowledged.all
                let copy = directory.appending("copy\(number)")
                for suffix in ["", "-wal"] {
                    try FileManager.default.copyItem(atPath: path + suffix, toPath: copy + suffix)
                }
                copies.append((copy, expected))
            }
            group.cancelAll()
            try await group.waitForAll()
            return copies
        }
        try await store.close()
        for (path, expected) in copies {
            let copy = try await SQLiteStore.open(path: path)
            let newest = expected.values.max() ?? .zero
            #expect(try await copy.currentRevision() >= newest)
            for (name, revision) in expected { #expect(try await copy.get(key(name))?.revision == revision) }
            let next = try await copy.commit(put("after"))
            #expect(next > newest)
            try await copy.close()
        }
        #expect(copies.last.map { $0.expected.count >= 80 } == true)
    }

    @Test func concurrentCommitsShareWaitsForTheDisk() async throws {
        let store = try await SQLiteStore.open(path: path)
        let value = String(repeating: "x", count: 1000)
        let clock = ContinuousClock()
        let count = 2000
        let transactions = SQLiteProbe.countTransactions(store)
        let duration = try await clock.measure {
            try await withThrowingTaskGroup { group in
                for task in 0..<64 {
                    group.addTask {
                        for number in stride(from: task, to: count, by: 64) {
                            _ = try await store.commit(put("n\(number)", value))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        print("SQLite store, 64 writers: \(Int(Double(count) / (duration / .seconds(1)))) documents of 1 kB a second")
        #expect(try await store.currentRevision().number == count)
        #expect(transactions.count < count / 4)
        try await store.close()
    }
}
