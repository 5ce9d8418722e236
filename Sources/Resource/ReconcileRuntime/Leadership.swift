import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Campaigns for one thing that only one of many may do, and leads in it as long as it can be sure to be alone.
///
/// Whoever holds the record `fleet.leader/<name>` leads. It is tied to a lease of the store, which the leader renews; by
/// its own clock it gives up before that lease can end. What it writes goes through `FencedStore`, so that nothing of it
/// gets in afterwards, however long it was paused in between.
public final class Leadership: Service {
    private struct State {
        var machine: LeadershipState
        var term: Term?
        var isOver = false
        var readers: [UInt64: AsyncStream<Term?>.Continuation] = [:]
        var nextReader: UInt64 = 0
        /// When sleeping tasks wake.
        var sleeping: [Duration] = []
    }

    private let state: Mutex<State>
    private let store: any ResourceStore
    private let name: String
    private let holder: String
    private let times: LeadershipTimes
    private let wallClock: any WallClock
    private let elapsed: @Sendable () -> Duration
    private let sleepUntil: @Sendable (Duration) async throws -> Void
    private let events: AsyncStream<LeadershipState.Event>
    private let queue: AsyncStream<LeadershipState.Event>.Continuation
    private let logger: Logger

    /// A candidate for `name`; `holder` tells it from all others, also from an earlier run of the same program.
    ///
    /// `clock` must go on while the process or the machine sleeps.
    public init<C: Clock<Duration>>(
        store: any ResourceStore, name: String, holder: String, times: LeadershipTimes = LeadershipTimes(),
        wallClock: any WallClock = SystemWallClock(), clock: C = ContinuousClock(), logger: Logger
    ) {
        self.store = store
        self.name = name
        self.holder = holder
        self.times = times
        self.wallClock = wallClock
        self.logger = logger
        state = Mutex(State(machine: LeadershipState(times)))
        (events, queue) = AsyncStream.makeStream()
        let start = clock.now
        elapsed = { start.duration(to: clock.now) }
        sleepUntil = { try await clock.sleep(until: start.advanced(by: $0), tolerance: nil) }
    }

    /// The term in which it leads now, by its own clock; nil: it does not.
    public var current: Term? {
        let now = elapsed()
        return state.withLock { $0.machine.leads(at: now) ? $0.term : nil }
    }

    /// The term at this moment and each later one; nil while it does not lead. Who is slow sees the newest only.
    public func terms() -> AsyncStream<Term?> {
        let (stream, continuation) = AsyncStream.makeStream(of: Term?.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state -> UInt64? in
            continuation.yield(state.term)
            guard !state.isOver else { return nil }
            state.nextReader += 1
            state.readers[state.nextReader] = continuation
            return state.nextReader
        }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.readers[number] = nil } }
        return stream
    }

    /// Does `work` in each term, which is cancelled when the term ends, and has to end before the next begins.
    ///
    /// Returns when the candidate gives up or the program shuts down; throws what `work` throws within its term.
    public func whileLeading(_ work: @escaping @Sendable (Term) async throws -> Void) async throws {
        var last: Term?
        while let term = await nextTerm(after: last) {
            last = term
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await work(term) }
                group.addTask { for await now in self.terms() where now != term { return } }
                let first = await group.nextResult()
                group.cancelAll()
                if case .failure(let error)? = first, current == term { throw error }
                while await group.nextResult() != nil {}
            }
        }
    }

    private func nextTerm(after last: Term?) async -> Term? {
        for await term in terms().cancelOnGracefulShutdown() {
            if let term, term != last { return term }
        }
        return nil
    }

    /// Waits until nobody else leads in `name`, does `work` over a fenced store, and makes way.
    ///
    /// For what one of many does while the others wait. Throws what `work` throws, and `CancellationError`.
    public static func once<Result: Sendable>(
        store: any ResourceStore, name: String, holder: String, times: LeadershipTimes = LeadershipTimes(),
        logger: Logger, _ work: @escaping @Sendable (FencedStore) async throws -> Result
    ) async throws -> Result {
        let leadership = Leadership(store: store, name: name, holder: holder, times: times, logger: logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await leadership.run() }
            defer { leadership.resign() }
            guard let term = await leadership.nextTerm(after: nil) else { throw CancellationError() }
            let result = try await work(FencedStore(store, term: term))
            leadership.resign()
            try await group.waitForAll()
            return result
        }
    }

    /// Gives up: `run` ends the lease and returns.
    public func resign() { queue.finish() }

    /// Campaigns and leads until cancelled, shut down or resigned; then makes way for another.
    public func run() async throws {
        await cancelWhenGracefulShutdown { await self.campaign() }
        let (effects, readers) = state.withLock { state in
            defer { (state.readers, state.isOver) = ([:], true) }
            return (state.machine.stop(), state.readers.values)
        }
        if effects.contains(.end) { change(to: nil) }
        for reader in readers {
            reader.yield(nil)
            reader.finish()
        }
        for case .revoke(let lease) in effects { try? await store.revokeLease(lease) }
    }

    private func campaign() async {
        queue.yield(.tick)
        await withDiscardingTaskGroup { group in
            for await event in events {
                let now = elapsed()
                for effect in state.withLock({ $0.machine.step(event, now: now) }) { carryOut(effect, &group) }
            }
            group.cancelAll()
        }
    }

    private func carryOut(_ effect: LeadershipState.Effect, _ group: inout DiscardingTaskGroup) {
        switch effect {
        case .ask(let number, let question):
            group.addTask { self.queue.yield(.answered(number, await self.answer(to: question))) }
        case .revoke(let lease):
            group.addTask { try? await self.store.revokeLease(lease) }
        case .begin(let revision):
            change(to: Term(name: name, holder: holder, began: revision))
        case .end:
            change(to: nil)
        case .wake(let time):
            let isNew = state.withLock { state in
                guard state.sleeping.allSatisfy({ $0 > time }) else { return false }
                state.sleeping.append(time)
                return true
            }
            guard isNew else { return }
            group.addTask {
                try? await self.sleepUntil(time)
                self.state.withLock { state in state.sleeping.removeAll { $0 == time } }
                self.queue.yield(.tick)
            }
        }
    }

    private func change(to term: Term?) {
        let readers = state.withLock { state in
            state.term = term
            return state.readers.values
        }
        for reader in readers { reader.yield(term) }
        if let term {
            logger.notice("leads in '\(name)' since revision \(term.began)")
        } else {
            logger.notice("does not lead in '\(name)' any more")
        }
    }

    private func answer(to question: LeadershipState.Question) async -> LeadershipState.Answer {
        do {
            switch question {
            case .look:
                let found = try await store.get(LeaderRecord.key(name))
                return .found(found.map { LeadershipState.Record(revision: $0.revision, lease: $0.lease) })
            case .grant:
                return .granted(try await store.grantLease(timeToLive: times.timeToLive))
            case .claim(let lease):
                let record = Stored(new: LeaderRecord(name: name, holder: holder, began: wallClock.now))
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
            default:
                logger.warning("'\(name)': the store did not answer a candidate", metadata: ["error": "\(error)"])
                return .failed
            }
        }
    }
}
