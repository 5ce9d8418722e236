import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@Suite struct CacheIndexTests {
    private static let byCount = CacheIndex<Thing>("count") { ["\($0.spec.count % 7)"] }
    /// Any number of keys, also none.
    private static let byBits = CacheIndex<Thing>("bits") { thing in
        (0..<4).filter { thing.spec.count >> $0 & 1 == 1 }.map { "bit\($0)" }
    }

    private let clock = ManualWallClock()
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func withCache(
        of store: any ResourceStore, _ body: @escaping @Sendable (ResourceCache) async throws -> Void
    ) async throws {
        let cache = ResourceCache(
            store: store, kinds: [Thing.self, Other.self],
            indexes: [AnyCacheIndex(Self.byCount), AnyCacheIndex(Self.byBits)], logger: logger)
        try await withThrowingTaskGroup { group in
            group.addTask { try await cache.run() }
            do { try await withDeadline { try await body(cache) } } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
        }
    }

    /// Thousands of random changes: after each batch every index says what a look through everything says, and a
    /// snapshot that was taken before still says what it said.
    @Test(arguments: 0..<6 as Range<UInt64>)
    func `indexes say what a look through everything says`(seed: UInt64) async throws {
        let store = MemoryStore(clock: clock)
        try await withCache(of: store) { cache in
            var random = SeededRandom(seed: seed)
            var model: [String: Int] = [:]
            for _ in 0..<40 {
                let (before, old) = (cache.snapshot(), model)
                var transaction = Transaction()
                for name in Set((0..<40).map { _ in "t\(Int.random(in: 0..<900, using: &random))" }) {
                    if model[name] != nil, Int.random(in: 0..<3, using: &random) == 0 {
                        model[name] = nil
                        transaction.operations.append(.delete(Thing.key(name)))
                    } else {
                        let count = Int.random(in: 0..<64, using: &random)
                        model[name] = count
                        transaction.operations.append(try Stored(new: Thing(name, count: count)).put())
                    }
                }
                try await cache.wait(for: try await store.commit(transaction))
                check(cache.snapshot(), model)
                check(before, old)
            }
        }
    }

    private func check(_ now: CacheSnapshot, _ model: [String: Int]) {
        #expect(now.all(Thing.self).map(\.metadata.name) == model.keys.sorted())
        for key in 0..<7 {
            let wanted = model.filter { $0.value % 7 == key }.map(\.key).sorted()
            #expect(now.all(Self.byCount, "\(key)").map(\.metadata.name) == wanted)
            #expect(now.contains(Self.byCount, "\(key)") == !wanted.isEmpty)
        }
        for bit in 0..<4 {
            let wanted = model.filter { $0.value >> bit & 1 == 1 }.map(\.key).sorted()
            #expect(now.all(Self.byBits, "bit\(bit)").map(\.metadata.name) == wanted)
        }
        #expect(now.count(Self.byCount) == model.count)
        #expect(model.allSatisfy { now.get(Thing.self, $0.key)?.spec.count == $0.value })
    }

    @Test func `pages go on after the last, in the order of keys, then names`() async throws {
        let store = MemoryStore(clock: clock)
        let things = (0..<600).map { Thing("t\($0)", count: $0) }
        for start in stride(from: 0, to: things.count, by: 100) {
            _ = try await store.commit(
                Transaction(operations: things[start..<start + 100].map { try Stored(new: $0).put() }))
        }
        try await withCache(of: store) { cache in
            try await cache.barrier()
            var found: [Thing] = []
            while true {
                let last = found.last.map { (key: "\($0.spec.count % 7)", name: $0.metadata.name) }
                let page = cache.snapshot().page(Self.byCount, after: last, limit: 37) { $0.spec.count % 2 == 0 }
                guard !page.isEmpty else { break }
                found += page.map(\.value)
            }
            let wanted = things.filter { $0.spec.count % 2 == 0 }.sorted {
                ($0.spec.count % 7, $0.metadata.name) < ($1.spec.count % 7, $1.metadata.name)
            }
            #expect(found == wanted)
        }
    }

    @Test func `a follower sees the catalog and what changed as of one moment`() async throws {
        let store = MemoryStore(clock: clock)
        try await withCache(of: store) { cache in
            try await cache.barrier()
            let follower = cache.follower()
            #expect(follower.look()?.change?.isEverything == true)
            #expect(follower.look()?.change == nil)
            let revision = try await store.commit(
                Transaction(operations: [try Stored(new: Thing("a", count: 3)).put()]))
            for await _ in follower.news() { break }
            let look = try #require(follower.look())
            #expect(look.change == CacheChange(keys: [Thing.key("a")], revision: revision))
            #expect(look.now.revision == revision && look.now.get(Thing.self, "a")?.spec.count == 3)
        }
    }

    @Test func `a subscriber of one kind hears of no other`() async throws {
        let store = MemoryStore(clock: clock)
        try await withCache(of: store) { cache in
            try await cache.barrier()
            var changes = cache.changes(of: [Thing.self]) { $0 }.makeAsyncIterator()
            #expect(await changes.next()?.isEverything == true)
            _ = try await store.commit(Transaction(operations: [try Stored(new: Other("o")).put()]))
            let last = try await store.commit(
                Transaction(operations: [
                    try Stored(new: Thing("a")).put(), try Stored(new: Other("p")).put(),
                ]))
            #expect(await changes.next() == CacheChange(keys: [Thing.key("a")], revision: last))
        }
    }
}
