import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

/// Three candidates over one memory store, from one seeded queue: requests and answers travel for a while, get lost, and
/// wait while their candidate is paused.
struct LeadershipWorld {
    /// The terms in the order in which they began, by whoever noticed.
    private(set) var terms: [Revision] = []
    /// The term of each commit that got in, in the order of commits.
    private(set) var committed: [Revision] = []
    private(set) var refusedCount = 0
    var commitCount: Int { committed.count }

    private static let count = 3
    private static let times = LeadershipTimes(timeToLive: .seconds(10))

    private struct Candidate {
        var state = LeadershipState(LeadershipWorld.times)
        var term: Term?
        var pausedUntil = Duration.zero
        /// Its own clock is so much ahead of the world's, and goes so much faster.
        var offset: Duration
        var rate: Double
    }

    private enum Happening {
        /// A candidate takes in an event.
        case event(Int, LeadershipState.Event)
        /// A question gets to the store.
        case question(Int, UInt64, LeadershipState.Question)
        case revocation(LeaseID)
        /// A candidate has something to write.
        case work(Int)
        /// What it writes gets to the store.
        case write(Term)
        case pause(Int)
        /// The store's clock goes forward all at once.
        case jump
        case upkeep
    }

    private let wall = ManualWallClock()
    private let store: MemoryStore
    private var random: SeededRandom
    private var candidates: [Candidate] = []
    private var queue: [(at: Duration, number: Int, what: Happening)] = []
    private var number = 0
    private var now = Duration.zero
    private var isCalm = false
    private let hasJumps: Bool

    init(seed: UInt64) {
        hasJumps = seed % 3 == 0
        store = MemoryStore(clock: wall)
        random = SeededRandom(seed: seed)
        for index in 0..<Self.count {
            let offset = Duration.milliseconds(Int.random(in: 0...1_000_000, using: &random))
            candidates.append(Candidate(offset: offset, rate: Double.random(in: 0.95...1.05, using: &random)))
            add(.event(index, .tick), after: 0...500)
            add(.work(index), after: 0...500)
            add(.pause(index), after: 1000...60_000)
        }
        add(.upkeep, after: 100...100)
        if hasJumps { add(.jump, after: 10_000...60_000) }
    }

    /// How many believe that they lead.
    var leaderCount: Int { candidates.indices.count { candidates[$0].state.leads(at: clock($0)) } }

    mutating func run(for time: Duration) async throws {
        let end = now + time
        while let next = queue.min(by: { ($0.at, $0.number) < ($1.at, $1.number) }), next.at <= end {
            queue.removeAll { $0.number == next.number }
            wall.advance(by: next.at - now)
            now = next.at
            try await happen(next.what)
            // Of a store whose clock jumps a lease may end early; what is written is fenced all the same.
            #expect(hasJumps || leaderCount <= 1, "two believe that they lead, at \(now)")
        }
    }

    /// Nothing is paused or lost any more.
    mutating func settle() async throws {
        isCalm = true
        try await run(for: .seconds(60))
    }

    private func clock(_ index: Int) -> Duration { now * candidates[index].rate + candidates[index].offset }

    private mutating func add(_ what: Happening, after milliseconds: ClosedRange<Int>) {
        number += 1
        let delay = Duration.milliseconds(Int.random(in: milliseconds, using: &random))
        queue.append((now + delay, number, what))
    }

    /// How long a message travels; nil: it is lost.
    private mutating func travel() -> ClosedRange<Int>? {
        if isCalm { return 1...20 }
        switch Int.random(in: 0..<20, using: &random) {
        case 0: return nil
        case 1: return 1000...15_000
        default: return 1...50
        }
    }

    private mutating func happen(_ what: Happening) async throws {
        switch what {
        case .event(let index, let event):
            guard candidates[index].pausedUntil <= now else { return wait(index, what) }
            let time = clock(index)
            for effect in candidates[index].state.step(event, now: time) { take(effect, index, time) }
        case .question(let index, let number, let question):
            let answer = await answer(question, index)
            // The candidate hears of a lost answer by its deadline.
            if let delay = travel() {
                add(.event(index, .answered(number, answer)), after: delay)
            } else {
                add(.event(index, .answered(number, .failed)), after: 3000...3000)
            }
        case .revocation(let lease): try? await store.revokeLease(lease)
        case .work(let index):
            add(.work(index), after: 50...1500)
            guard candidates[index].pausedUntil <= now, let term = candidates[index].term else { return }
            // It was its term when it looked; the write may be on its way for long.
            if let delay = travel() { add(.write(term), after: delay) }
        case .write(let term): await write(term)
        case .pause(let index):
            guard !isCalm else { return }
            let pause = Duration.milliseconds(Int.random(in: 100...30_000, using: &random))
            candidates[index].pausedUntil = now + pause
            add(.pause(index), after: 20_000...120_000)
        case .jump:
            guard !isCalm else { return }
            wall.advance(by: .seconds(Int.random(in: 5...60, using: &random)))
            add(.jump, after: 10_000...60_000)
        case .upkeep:
            try await store.expireLeases(now: wall.now)
            add(.upkeep, after: 100...100)
        }
    }

    private mutating func wait(_ index: Int, _ what: Happening) {
        number += 1
        queue.append((candidates[index].pausedUntil, number, what))
    }

    private mutating func take(_ effect: LeadershipState.Effect, _ index: Int, _ time: Duration) {
        switch effect {
        case .ask(let number, let question):
            if let delay = travel() {
                add(.question(index, number, question), after: delay)
            } else {
                add(.event(index, .answered(number, .failed)), after: 3000...3000)
            }
        case .revoke(let lease): if let delay = travel() { add(.revocation(lease), after: delay) }
        case .begin(let revision):
            candidates[index].term = Term(name: "work", holder: "\(index)", began: revision)
            terms.append(revision)
        case .end: candidates[index].term = nil
        case .wake(let at):
            let after = max(0, Int((at - time) / .milliseconds(1)) + 1)
            add(.event(index, .tick), after: after...(after + 20))
        }
    }

    private func answer(
        _ question: LeadershipState.Question, _ index: Int
    ) async -> LeadershipState.Answer {
        do {
            switch question {
            case .look:
                let found = try await store.get(LeaderRecord.key("work"))
                return .found(found.map { LeadershipState.Record(revision: $0.revision, lease: $0.lease) })
            case .grant: return .granted(try await store.grantLease(timeToLive: Self.times.timeToLive))
            case .claim(let lease):
                let record = Stored(new: LeaderRecord(name: "work", holder: "\(index)", began: wall.now))
                return .claimed(
                    try await store.commit(
                        Transaction(conditions: [record.unchanged], operations: [record.put(lease: lease)])))
            case .renew(let lease):
                try await store.renewLease(lease)
                return .renewed
            }
        } catch {
            switch error {
            case .conflict: return .taken
            case .leaseEnded: return .leaseEnded
            default: return .failed
            }
        }
    }

    private mutating func write(_ term: Term) async {
        let key = ResourceKey(kind: "test.thing", name: "x")
        do {
            _ = try await FencedStore(store, term: term).commit(Transaction(operations: [.put(key, [1])]))
            committed.append(term.began)
        } catch { refusedCount += 1 }
    }
}
