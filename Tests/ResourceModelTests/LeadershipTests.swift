import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

/// Candidates for one thing under pauses, lost answers, late requests and clocks that jump: two never both commit.
@Suite struct LeadershipTests {
    private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    @Test(arguments: [UInt64](1...24)) func `candidates take turns and never write in each other's terms`(
        seed: UInt64
    ) async throws {
        var world = LeadershipWorld(seed: seed)
        try await world.run(for: .seconds(400))
        #expect(world.commitCount > 50, "terms are long enough to work in")
        #expect(Set(world.terms).count > 2, "leaders were paused past their lease")
        #expect(world.refusedCount > 0, "a paused leader has tried to write")
        // What was committed in a term lies before everything of the next.
        #expect(world.committed == world.committed.sorted())
        try await world.settle()
        #expect(world.leaderCount == 1, "somebody leads in the end")
    }

    @Test func `a leader gives up before its lease can end`() async throws {
        var state = LeadershipState(LeadershipTimes(timeToLive: .seconds(10)))
        #expect(state.step(.tick, now: .zero) == [.ask(1, .look)])
        #expect(state.step(.answered(1, .found(nil)), now: .seconds(1)) == [.ask(2, .grant)])
        #expect(state.step(.answered(2, .granted(LeaseID(7))), now: .seconds(2)) == [.ask(3, .claim(LeaseID(7)))])
        let begun = state.step(.answered(3, .claimed(Revision(5))), now: .seconds(3))
        #expect(begun == [.begin(Revision(5)), .wake(at: .milliseconds(5500))])
        // The grant was asked for at 1 s, so the lease may be over at 11 s: 2 s before that it is not relied on.
        #expect(state.leads(at: .milliseconds(8999)) && !state.leads(at: .seconds(9)))
        #expect(state.step(.tick, now: .milliseconds(5500)) == [.ask(4, .renew(LeaseID(7))), .wake(at: .seconds(9))])
        var late = state
        #expect(
            late.step(.answered(4, .renewed), now: .seconds(9)) == [
                .end, .revoke(LeaseID(7)), .wake(at: .milliseconds(9500)),
            ])
        #expect(state.step(.answered(3, .renewed), now: .seconds(6)) == [], "an answer to an older question")
        #expect(state.step(.answered(4, .failed), now: .seconds(6)) == [.wake(at: .milliseconds(6500))])
        #expect(state.step(.tick, now: .milliseconds(6500)) == [.ask(5, .renew(LeaseID(7))), .wake(at: .seconds(9))])
        #expect(state.step(.answered(5, .renewed), now: .seconds(7)) == [.wake(at: .seconds(9))])
        #expect(state.leads(at: .milliseconds(14_499)) && !state.leads(at: .milliseconds(14_500)))
    }

    @Test func `a lost answer to the claim is found out by reading`() async throws {
        var state = LeadershipState(LeadershipTimes(timeToLive: .seconds(10)))
        _ = state.step(.tick, now: .zero)
        _ = state.step(.answered(1, .found(nil)), now: .zero)
        _ = state.step(.answered(2, .granted(LeaseID(7))), now: .zero)
        #expect(state.step(.answered(3, .failed), now: .seconds(1)) == [.ask(4, .look)])
        var other = state
        let own = LeadershipState.Record(revision: Revision(9), lease: LeaseID(7))
        #expect(state.step(.answered(4, .found(own)), now: .seconds(1)).first == .begin(Revision(9)))
        let another = LeadershipState.Record(revision: Revision(9), lease: LeaseID(8))
        #expect(
            other.step(.answered(4, .found(another)), now: .seconds(1)) == [
                .revoke(LeaseID(7)), .wake(at: .milliseconds(1500)),
            ])
    }

    @Test func `a fenced store writes in its term and never after`() async throws {
        let store = MemoryStore()
        let key = ResourceKey(kind: LeaderRecord.kind, name: "work")
        let began = try await store.commit(Transaction(operations: [.put(key, [1])]))
        let term = Term(name: "work", holder: "a", began: began)
        let fenced = FencedStore(store, term: term)
        let thing = ResourceKey(kind: "test.thing", name: "x")
        let conditions = (1...StoreLimits.operationCountMax).map {
            Transaction.Condition.absent(ResourceKey(kind: "test.thing", name: "absent-\($0)"))
        }
        _ = try await fenced.commit(Transaction(conditions: conditions, operations: [.put(thing, [1])]))
        let more = conditions + [.absent(ResourceKey(kind: "test.thing", name: "one more"))]
        await #expect(throws: StoreError.self, "a fence is not taken for a condition of the caller's") {
            _ = try await fenced.commit(Transaction(conditions: more, operations: [.put(thing, [1])]))
        }
        await #expect(throws: StoreError.conflict(thing)) {
            _ = try await fenced.commit(Transaction(conditions: [.absent(thing)], operations: [.put(thing, [2])]))
        }
        for over in [Transaction.Operation.put(key, [2]), .delete(key)] {
            _ = try await store.commit(Transaction(operations: [over]))
            await #expect(throws: StoreError.notLeader("work")) {
                _ = try await fenced.commit(Transaction(conditions: [.absent(thing)], operations: [.put(thing, [3])]))
            }
        }
        #expect(try await store.get(thing)?.value == [1])
    }

    @Test(.timeLimit(.minutes(1))) func `work is begun with the term and cancelled with it`() async throws {
        let wall = ManualWallClock()
        let clock = ManualClock(wall: wall)
        let store = MemoryStore(clock: wall)
        func candidate(_ holder: String) -> Leadership {
            Leadership(
                store: store, name: "work", holder: holder, wallClock: wall, clock: clock, logger: Self.logger)
        }
        let (begun, beginnings) = AsyncStream.makeStream(of: String.self)
        let (ended, endings) = AsyncStream.makeStream(of: String.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let first = candidate("first")
            group.addTask { try await first.run() }
            group.addTask {
                try await first.whileLeading { term in
                    beginnings.yield("first")
                    try? await Task.sleep(for: .seconds(3600))
                    endings.yield("first")
                }
            }
            var news = begun.makeAsyncIterator()
            #expect(await news.next() == "first")
            let second = candidate("second")
            group.addTask { try await second.run() }
            group.addTask {
                try await second.whileLeading { _ in
                    beginnings.yield("second")
                    try? await Task.sleep(for: .seconds(3600))
                }
            }
            await clock.waitForSleepers(2)
            #expect(first.current?.holder == "first" && second.current == nil)
            // The lease is lost: the leader hears of it with its next renewal.
            let lease = try #require(try await store.get(LeaderRecord.key("work"))?.lease)
            try await store.revokeLease(lease)
            group.addTask {
                while !Task.isCancelled {
                    clock.advance(by: .milliseconds(100))
                    try await Task.sleep(for: .milliseconds(1))
                }
            }
            var over = ended.makeAsyncIterator()
            #expect(await over.next() == "first")
            #expect(["first", "second"].contains(await news.next()), "somebody leads again")
            group.cancelAll()
        }
    }

    @Test(.timeLimit(.minutes(1))) func `what is done once by many is done one after the other`() async throws {
        let store = MemoryStore()
        let key = ResourceKey(kind: "test.thing", name: "made")
        let made = try await withThrowingTaskGroup(of: Bool.self) { group in
            for number in 0..<8 {
                group.addTask {
                    try await Leadership.once(
                        store: store, name: "start", holder: "run-\(number)",
                        times: LeadershipTimes(timeToLive: .seconds(10), pause: .milliseconds(5)), logger: Self.logger
                    ) { fenced in
                        guard try await fenced.get(key) == nil else { return false }
                        // Not a condition: only one is here at a time.
                        await Task.yield()
                        _ = try await fenced.commit(Transaction(operations: [.put(key, [UInt8(number)])]))
                        return true
                    }
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(made == 1)
        #expect(try await store.get(LeaderRecord.key("start")) == nil, "the last one has made way")
    }
}
