import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import StoreSQLite
import TestSupport
import Testing

@Suite struct ResourceCacheTests {
    private let clock = ManualWallClock()
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Runs `body` beside a running cache.
    private func withCache(
        of store: any ResourceStore, _ kinds: [any Resource.Type] = [Thing.self],
        _ body: @escaping @Sendable (ResourceCache) async throws -> Void
    ) async throws {
        let cache = ResourceCache(store: store, kinds: kinds, logger: logger)
        try await withThrowingTaskGroup { group in
            group.addTask { try await cache.run() }
            do { try await withDeadline { try await body(cache) } } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
        }
    }

    private func put(_ things: Thing..., in store: any ResourceStore) async throws -> Revision {
        try await store.commit(Transaction(operations: things.map { try Stored(new: $0).put() }))
    }

    @Test func showsWhatWasThereAndWhatComes() async throws {
        let store = MemoryStore(clock: clock)
        _ = try await put(Thing("b"), Thing("a", count: 1), in: store)
        try await withCache(of: store) { cache in
            try await cache.barrier()
            #expect(cache.all(Thing.self).map(\.metadata.name) == ["a", "b"])
            #expect(cache.get(Thing.self, "a")?.spec.count == 1)
            #expect(cache.get(Thing.self, "x") == nil)

            let revision = try await store.commit(
                Transaction(operations: [.delete(Thing.key("b")), try Stored(new: Thing("aa", count: 2)).put()]))
            try await cache.wait(for: revision)
            #expect(cache.all(Thing.self).map(\.metadata.name) == ["a", "aa"])
            #expect(cache.revision == revision)
        }
    }

    @Test func aBarrierShowsWhatWasAcknowledgedBefore() async throws {
        let directory = try TemporaryDirectory("cache")
        let store = try await SQLiteStore.open(path: directory.appending("store.sqlite"), clock: clock)
        try await withCache(of: store) { cache in
            try await withThrowingTaskGroup { group in
                for task in 0..<8 {
                    group.addTask {
                        for count in 1...10 {
                            _ = try await put(Thing("n\(task)", count: count), in: store)
                            try await cache.barrier()
                            #expect(cache.get(Thing.self, "n\(task)")?.spec.count == count)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
        try await store.close()
    }

    @Test func aSnapshotIsOfOneRevision() async throws {
        let store = MemoryStore(clock: clock)
        try await withCache(of: store) { cache in
            try await withThrowingTaskGroup { group in
                group.addTask {
                    for count in 1...200 {
                        _ = try await put(Thing("a", count: count), Thing("b", count: count), in: store)
                    }
                }
                group.addTask {
                    while cache.get(Thing.self, "a")?.spec.count != 200 {
                        let snapshot = cache.snapshot()
                        #expect(snapshot.get(Thing.self, "a")?.spec.count == snapshot.get(Thing.self, "b")?.spec.count)
                        await Task.yield()
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func changesNameTheirKeysAndAreJoined() async throws {
        let store = MemoryStore(clock: clock)
        try await withCache(of: store) { cache in
            let changes = cache.keyChanges()
            var iterator = changes.makeAsyncIterator()
            let first = await iterator.next()
            #expect(first?.isEverything == true)
            _ = try await put(Thing("a"), in: store)
            _ = try await store.commit(Transaction(operations: [try Stored(new: Other("o")).put()]))
            let last = try await put(Thing("b"), Thing("c"), in: store)
            try await cache.wait(for: last)
            let joined = await iterator.next()
            #expect(joined == CacheChange(keys: [Thing.key("a"), Thing.key("b"), Thing.key("c")], revision: last))
            _ = try await store.commit(Transaction(operations: [.delete(Thing.key("a"))]))
            #expect(await iterator.next()?.keys == [Thing.key("a")])
        }
    }

    @Test func aSubscriptionBeginsWithEverythingAndEndsWithTheCache() async throws {
        let store = MemoryStore(clock: clock)
        let cache = ResourceCache(store: store, kinds: [Thing.self], logger: logger)
        let count = try await withDeadline {
            try await withThrowingTaskGroup(of: Int.self) { group in
                let stream = cache.changes()
                group.addTask {
                    var count = 0
                    for await _ in stream { count += 1 }
                    return count
                }
                group.addTask {
                    try await withThrowingTaskGroup(of: Void.self) { inner in
                        inner.addTask { try await cache.run() }
                        try await cache.barrier()
                        inner.cancelAll()
                    }
                    return 0
                }
                return try await group.reduce(0, +)
            }
        }
        #expect(count <= 1)
    }

    @Test func whatCannotBeReadIsLeftOutAndNamed() async throws {
        let store = MemoryStore(clock: clock)
        _ = try await put(Thing("a"), Thing("b"), in: store)
        _ = try await store.commit(Transaction(operations: [.put(Thing.key("broken"), Array("{}".utf8))]))
        try await withCache(of: store) { cache in
            try await cache.barrier()
            #expect(cache.all(Thing.self).count == 2)
            #expect(Array(cache.snapshot().undecodable.keys) == [Thing.key("broken")])
            let worse = try await store.commit(Transaction(operations: [.put(Thing.key("a"), Array("[]".utf8))]))
            try await cache.wait(for: worse)
            #expect(cache.get(Thing.self, "a") == nil)
            let mended = try await put(Thing("a"), Thing("broken"), in: store)
            try await cache.wait(for: mended)
            #expect(cache.all(Thing.self).count == 3 && cache.snapshot().undecodable.isEmpty)
        }
    }

    @Test func storedResourcesKeepTheirUnknownFields() async throws {
        let store = MemoryStore(clock: clock)
        var text = String(decoding: try Stored(new: Thing("a")).encoded(), as: UTF8.self)
        text.removeLast()
        _ = try await store.commit(Transaction(operations: [.put(Thing.key("a"), Array("\(text),\"later\":1}".utf8))]))
        try await withCache(of: store) { cache in
            try await cache.barrier()
            var stored = try #require(cache.stored(Thing.self, "a"))
            stored.value.spec.count = 5
            _ = try await store.commit(Transaction(conditions: [stored.unchanged], operations: [stored.put()]))
            let written = try #require(try await store.get(Thing.key("a")))
            #expect(String(decoding: written.value, as: UTF8.self).contains("\"later\":1"))
        }
    }

    @Test func readsAnewWhenTheWatchWasTooSlowOrItsHistoryIsGone() async throws {
        let store = MemoryStore(clock: clock, historyCountMax: 4, watchQueueMax: 2)
        try await withCache(of: store) { cache in
            try await cache.barrier()
            for round in 0..<20 {
                // Commits without a pause for the watch.
                for number in 0..<50 { _ = try await put(Thing("n\(number)", count: round), in: store) }
                let last = try await store.commit(Transaction(operations: [.delete(Thing.key("n\(round)"))]))
                try await cache.wait(for: last)
                #expect(cache.all(Thing.self).count == 49)
                #expect(cache.all(Thing.self).allSatisfy { $0.spec.count == round })
            }
        }
    }

    @Test func waitingHasADeadline() async throws {
        let store = MemoryStore(clock: clock)
        try await withCache(of: store) { cache in
            try await cache.barrier()
            await #expect(throws: StoreError.self) {
                try await cache.wait(for: Revision(1000), within: .milliseconds(20))
            }
        }
        let idle = ResourceCache(store: store, kinds: [Thing.self], logger: logger)
        await #expect(throws: StoreError.self) { try await idle.barrier(within: .milliseconds(20)) }
    }

    @Test func upkeepEndsLeasesInTime() async throws {
        let clock = ManualClock(wall: clock)
        let wall = self.clock
        let store = MemoryStore(clock: wall)
        let lease = try await store.grantLease(timeToLive: .seconds(5))
        _ = try await store.commit(Transaction(operations: [try Stored(new: Thing("a")).put(lease: lease)]))
        let upkeep = StoreUpkeep(store: store, wallClock: wall, clock: clock, logger: logger)
        try await withDeadline {
            try await withThrowingTaskGroup { group in
                group.addTask { try await upkeep.run() }
                for _ in 0..<6 {
                    await clock.waitForSleepers()
                    clock.advance(by: .seconds(1))
                }
                try await waitUntil { try await store.get(Thing.key("a")) == nil }
                group.cancelAll()
            }
        }
    }
}
