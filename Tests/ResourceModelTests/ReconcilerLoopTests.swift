import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport
import Testing

@Suite struct ReconcilerLoopTests {
    /// Notes what it is told and does what it is told.
    struct Recorder: Reconciler {
        enum Event: Sendable {
            case note(String)
            case act([Action])
        }

        typealias Effect = String
        let notes: Notes

        mutating func step(_ event: Event, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
            switch event {
            case .note(let text):
                notes.add(text)
                return []
            case .act(let actions): return actions
            }
        }
    }

    final class Notes: EffectPerformer {
        private let texts = Mutex<[String]>([])
        var all: [String] { texts.withLock { $0 } }
        func add(_ text: String) { texts.withLock { $0.append(text) } }
        func perform(_ effect: String) async -> [Recorder.Event] { [.note("did \(effect)")] }
    }

    /// An effect that ends when it is cancelled.
    struct Hanging: EffectPerformer {
        let notes: Notes
        func perform(_ effect: String) async -> [Recorder.Event] {
            notes.add("began")
            try? await Task.sleep(for: .seconds(3600))
            notes.add("ended")
            return [.note("result")]
        }
    }

    private let wall = ManualWallClock()
    private let notes = Notes()

    private func loop(
        _ performer: any EffectPerformer<String, Recorder.Event>, limits: LoopLimits = LoopLimits(), clock: ManualClock
    ) -> ReconcilerLoop<Recorder> {
        ReconcilerLoop(
            Recorder(notes: notes), performer: performer, limits: limits, wallClock: wall, clock: clock, seed: 1)
    }

    /// Runs the loop beside `body`.
    private func withRunning<R: Reconciler>(
        _ loop: ReconcilerLoop<R>, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withDeadline {
            try await withThrowingTaskGroup { group in
                group.addTask { try await loop.run() }
                try await body()
                group.cancelAll()
            }
        }
    }

    @Test func eventsAreTakenInOrderAndEffectsComeBack() async throws {
        let loop = loop(notes, clock: ManualClock(wall: wall))
        for number in 0..<5 { #expect(loop.offer(.note("\(number)"))) }
        try await withRunning(loop) {
            try await waitUntil { notes.all == ["0", "1", "2", "3", "4"] }
            loop.offer(.act([.perform("a"), .perform("b")]))
            try await waitUntil { notes.all.count == 7 }
            #expect(Set(notes.all.suffix(2)) == ["did a", "did b"])
        }
        #expect(!loop.offer(.note("late")))
        #expect(await loop.send(.note("late")) == false)
    }

    @Test func timersFireWhenTheirTimeHasCome() async throws {
        let clock = ManualClock(wall: wall)
        let loop = loop(notes, clock: clock)
        try await withRunning(loop) {
            loop.offer(
                .act([
                    .setTimer("slow", after: .seconds(60), .note("slow")),
                    .setTimer("fast", after: .seconds(5), .note("fast")),
                    .setTimer("stopped", after: .seconds(5), .note("never")), .stopTimer("stopped"), .stopTimer("none"),
                ]))
            await clock.waitForSleepers()
            clock.advance(by: .seconds(4))
            loop.offer(.note("4 s"))
            try await waitUntil { notes.all == ["4 s"] }
            clock.advance(by: .seconds(1))
            try await waitUntil { notes.all == ["4 s", "fast"] }
            // Set anew: the first time does not count any more.
            loop.offer(.act([.setTimer("slow", after: .seconds(100), .note("slow"))]))
            loop.offer(.note("set"))
            try await waitUntil { notes.all.last == "set" }
            clock.advance(by: .seconds(90))
            loop.offer(.note("90 s"))
            try await waitUntil { notes.all.last == "90 s" }
            await clock.waitForSleepers()
            clock.advance(by: .seconds(10))
            try await waitUntil { notes.all == ["4 s", "fast", "set", "90 s", "slow"] }
        }
        #expect(clock.sleeperCount == 0)
    }

    @Test func aQueueHasAnEnd() async throws {
        let loop = loop(notes, limits: LoopLimits(eventCountMax: 2), clock: ManualClock(wall: wall))
        #expect(loop.offer(.note("1")) && loop.offer(.note("2")))
        #expect(!loop.offer(.note("3")))
        try await withDeadline {
            try await withThrowingTaskGroup { group in
                for number in 0..<20 { group.addTask { #expect(await loop.send(.note("sent \(number)"))) } }
                group.addTask { try await loop.run() }
                try await waitUntil { notes.all.count == 22 }
                group.cancelAll()
            }
        }
        #expect(Set(notes.all).count == 22)
    }

    @Test func effectsRunBesideEachOtherUpToTheLimit() async throws {
        let store = MemoryStore(clock: wall)
        let raiser = Raiser(store: store)
        let clock = ManualClock(wall: wall)
        let loop = ReconcilerLoop(
            TickReconciler(), performer: raiser, limits: LoopLimits(effectCountMax: 3), wallClock: wall, clock: clock,
            seed: 5)
        try await withRunning(loop) {
            for number in 0..<10 { #expect(await loop.send(.want("n\(number)", 5))) }
            try await waitUntil {
                clock.advance(by: .seconds(1))
                let things = try await store.fetchAll(Thing.self)
                return things.count == 10 && things.allSatisfy { $0.value.spec.count >= 5 }
            }
        }
        #expect(raiser.mostAtOnce <= 3)
    }

    @Test func theEndCancelsRunningEffects() async throws {
        let loop = loop(Hanging(notes: notes), clock: ManualClock(wall: wall))
        try await withRunning(loop) {
            loop.offer(.act([.perform("x")]))
            try await waitUntil { notes.all == ["began"] }
        }
        #expect(notes.all == ["began", "ended"])
    }
}

@Suite struct SimulatedLoopTests {
    private func simulate(seed: UInt64) async throws -> (digest: UInt64, trace: [String], reached: [String: Int]) {
        let clock = ManualWallClock()
        let store = MemoryStore(clock: clock)
        var loop = SimulatedLoop(
            TickReconciler(), seed: seed, clock: clock, store: store, performer: Raiser(store: store))
        for number in 0..<5 { loop.send(.want("n\(number)", 4), after: .milliseconds(100 * number)) }
        #expect(try await loop.run(for: .seconds(3000)))
        #expect(loop.reconciler.late.isEmpty)
        return (loop.digest, loop.trace, loop.reconciler.reached)
    }

    @Test func theSameSeedGivesTheSameTrace() async throws {
        for seed in [1, 2, 99] as [UInt64] {
            let first = try await simulate(seed: seed)
            let second = try await simulate(seed: seed)
            #expect(first.trace == second.trace)
            #expect(first.digest == second.digest)
        }
    }

    @Test func otherSeedsTryOtherOrdersAndReachTheSame() async throws {
        var digests: Set<UInt64> = []
        for seed in 0..<20 as Range<UInt64> {
            let run = try await simulate(seed: seed)
            digests.insert(run.digest)
            #expect(run.reached == ["n0": 4, "n1": 4, "n2": 4, "n3": 4, "n4": 4])
        }
        #expect(digests.count == 20)
    }

    @Test func deadlinesPassInVirtualTime() async throws {
        let clock = ManualWallClock()
        let store = MemoryStore(clock: clock)
        var loop = SimulatedLoop(
            TickReconciler(), seed: 1, clock: clock, store: store, performer: Raiser(store: store))
        loop.send(.want("n", 1_000_000))
        #expect(try await loop.run(for: .seconds(4000), stepMax: 100_000) == false)
        #expect(loop.reconciler.late == ["n"])
    }
}

@Suite struct BackoffTests {
    @Test func waitsGrowUpToTheMost() {
        var random = SeededRandom(seed: 1)
        var backoff = Backoff(first: .seconds(1), factor: 2, most: .seconds(10), jitter: 0)
        #expect((0..<6).map { _ in backoff.next(using: &random) } == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
        #expect(backoff.failures == 6)
        backoff.reset()
        #expect(backoff.next(using: &random) == .seconds(1))
    }

    @Test func jitterShortensAWaitByAtMostItsPart() {
        var random = SeededRandom(seed: 2)
        var waits: Set<Duration> = []
        for _ in 0..<200 {
            var backoff = Backoff(first: .seconds(8), most: .seconds(60), jitter: 0.25)
            let wait = backoff.next(using: &random)
            #expect(wait > .seconds(6) - .milliseconds(1) && wait <= .seconds(8))
            waits.insert(wait)
        }
        #expect(waits.count > 100)
    }

    @Test func manyFailuresDoNotOverflow() {
        var random = SeededRandom(seed: 3)
        var backoff = Backoff(first: .milliseconds(1), factor: 10, most: .seconds(3600))
        for _ in 0..<10_000 { #expect(backoff.next(using: &random) <= .seconds(3600)) }
    }
}

@Suite struct TimerQueueTests {
    @Test func timersComeOutByDeadlineThenOrder() {
        var random = SeededRandom(seed: 4)
        var queue = TimerQueue<Int, Int>()
        var expected: [String: (deadline: Int, order: Int)] = [:]
        for order in 0..<2000 {
            let name = "t\(Int.random(in: 0..<300, using: &random))"
            if Int.random(in: 0..<4, using: &random) == 0 {
                queue.stop(TimerID(name))
                expected[name] = nil
            } else {
                let deadline = Int.random(in: 0..<50, using: &random)
                queue.set(TimerID(name), at: deadline, order)
                expected[name] = (deadline, order)
            }
        }
        #expect(queue.count == expected.count)
        #expect(queue.earliest == expected.values.map(\.deadline).min())
        var popped: [Int] = []
        for now in 0..<50 {
            while let timer = queue.popDue(at: now) {
                #expect(expected[timer.id.name]?.deadline == now)
                popped.append(timer.event)
            }
        }
        let order = expected.values.sorted { ($0.deadline, $0.order) < ($1.deadline, $1.order) }.map(\.order)
        #expect(popped == order)
        #expect(queue.count == 0 && queue.earliest == nil)
    }
}
