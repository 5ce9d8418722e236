import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Performs a reconciler's effects.
public protocol EffectPerformer<Effect, Event>: Sendable {
    /// What is performed.
    associatedtype Effect: Sendable
    /// What comes of it.
    associatedtype Event: Sendable

    /// Performs one effect and returns what came of it, failures included; cancelled when the loop ends.
    func perform(_ effect: Effect) async -> [Event]
}

/// How much one loop takes on.
public struct LoopLimits: Sendable, Hashable {
    /// Events that wait for their step.
    public var eventCountMax: Int
    /// Effects performed at the same time.
    public var effectCountMax: Int
    /// Effects that wait for their turn; when there are more, events wait until some are done.
    public var effectBacklogMax: Int

    /// Limits of a loop.
    public init(eventCountMax: Int = 10_000, effectCountMax: Int = 64, effectBacklogMax: Int = 10_000) {
        precondition(eventCountMax > 0 && effectCountMax > 0 && effectBacklogMax > 0, "a loop takes on something")
        self.eventCountMax = eventCountMax
        self.effectCountMax = effectCountMax
        self.effectBacklogMax = effectBacklogMax
    }
}

/// Runs one reconciler: takes events one after the other, keeps its timers, performs its effects.
///
/// Steps run one at a time in the order of events; effects run beside each other, and their results are events.
public final class ReconcilerLoop<R: Reconciler>: Service {
    private struct State {
        var events = FIFO<R.Event>()
        var timers = TimerQueue<Duration, R.Event>()
        var backlog = FIFO<R.Effect>()
        var running = 0
        var sleepingUntil: [Duration] = []
        var waiter: CheckedContinuation<Void, Never>?
        var senders: [CheckedContinuation<Void, Never>] = []
        var isEnded = false
    }

    private let state = Mutex(State())
    private let initial: R
    private let limits: LoopLimits
    private let wallClock: any WallClock
    private let elapsed: @Sendable () -> Duration
    /// Sleeps until so much time has elapsed.
    private let sleepUntil: @Sendable (Duration) async throws -> Void
    private let seed: UInt64
    private let performer: any EffectPerformer<R.Effect, R.Event>

    /// A loop around `reconciler`; `clock` drives its timers, `seed` its randomness.
    public init<C: Clock<Duration>>(
        _ reconciler: R, performer: any EffectPerformer<R.Effect, R.Event>, limits: LoopLimits = LoopLimits(),
        wallClock: any WallClock = SystemWallClock(), clock: C = ContinuousClock(), seed: UInt64
    ) {
        initial = reconciler
        self.performer = performer
        self.limits = limits
        self.wallClock = wallClock
        self.seed = seed
        let start = clock.now
        elapsed = { start.duration(to: clock.now) }
        sleepUntil = { try await clock.sleep(until: start.advanced(by: $0), tolerance: nil) }
    }

    /// Hands in an event; false when too many wait or the loop has ended: the caller decides what to do then.
    @discardableResult
    public func offer(_ event: R.Event) -> Bool {
        let (isTaken, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            guard !state.isEnded, state.events.count < limits.eventCountMax else { return (false, nil) }
            state.events.append(event)
            return (true, state.waiter.take())
        }
        waiter?.resume()
        return isTaken
    }

    /// Hands in an event and waits for room as long as too many wait; false when the loop has ended.
    ///
    /// Each waiting sender is a task of its own: let only a bounded number of tasks send.
    @discardableResult
    public func send(_ event: R.Event) async -> Bool {
        while !offer(event) {
            if Task.isCancelled { return false }
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let isReady = state.withLock { state in
                    let isReady = state.isEnded || state.events.count < limits.eventCountMax
                    if !isReady { state.senders.append(continuation) }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
            if state.withLock({ $0.isEnded }) { return false }
        }
        return true
    }

    /// Runs until cancelled or shut down; then running effects are cancelled and waiting events dropped.
    public func run() async throws {
        await cancelWhenGracefulShutdown { await self.work() }
    }

    private func work() async {
        var reconciler = initial
        var random = SeededRandom(seed: seed)
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                startEffects(&group)
                startSleep(&group)
                guard let event = takeEvent() else {
                    await waitForWork()
                    continue
                }
                apply(reconciler.step(event, now: wallClock.now, random: &random))
            }
            group.cancelAll()
        }
        let (waiters, senders) = state.withLock { state in
            state.isEnded = true
            return (state.waiter.take(), state.senders)
        }
        waiters?.resume()
        for sender in senders { sender.resume() }
    }

    /// The next due timer's event, else the oldest event; nil while there is none or too much is to be done.
    private func takeEvent() -> R.Event? {
        let now = elapsed()
        let (event, senders) = state.withLock { state -> (R.Event?, [CheckedContinuation<Void, Never>]) in
            guard state.backlog.count <= limits.effectBacklogMax else { return (nil, []) }
            if let due = state.timers.popDue(at: now) { return (due.event, []) }
            guard let event = state.events.popFirst() else { return (nil, []) }
            defer { state.senders = [] }
            return (event, state.senders)
        }
        for sender in senders { sender.resume() }
        return event
    }

    private func apply(_ actions: [R.Action]) {
        let now = elapsed()
        state.withLock { state in
            for action in actions {
                switch action {
                case .perform(let effect): state.backlog.append(effect)
                case .setTimer(let id, let after, let event): state.timers.set(id, at: now + after, event)
                case .stopTimer(let id): state.timers.stop(id)
                }
            }
        }
    }

    private func startEffects(_ group: inout DiscardingTaskGroup) {
        let effects = state.withLock { state in
            var effects: [R.Effect] = []
            while state.running < limits.effectCountMax, let effect = state.backlog.popFirst() {
                effects.append(effect)
                state.running += 1
            }
            return effects
        }
        for effect in effects {
            group.addTask {
                let results = await self.performer.perform(effect)
                self.wake { state in
                    state.running -= 1
                    state.events.append(contentsOf: results)
                }
            }
        }
    }

    /// Sleeps until the earliest timer, unless somebody already sleeps no longer than that.
    private func startSleep(_ group: inout DiscardingTaskGroup) {
        let deadline = state.withLock { state -> Duration? in
            guard let earliest = state.timers.earliest else { return nil }
            guard state.sleepingUntil.allSatisfy({ $0 > earliest }) else { return nil }
            state.sleepingUntil.append(earliest)
            return earliest
        }
        guard let deadline else { return }
        group.addTask {
            try? await self.sleepUntil(deadline)
            self.wake { state in
                if let index = state.sleepingUntil.firstIndex(of: deadline) { state.sleepingUntil.remove(at: index) }
            }
        }
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state in
            change(&state)
            return state.waiter.take()
        }
        waiter?.resume()
    }

    /// Returns when something may have changed since the last look: too often does no harm, too rarely would.
    private func waitForWork() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = elapsed()
                let isReady = state.withLock { state in
                    let canStep = state.backlog.count <= limits.effectBacklogMax
                    let isDue = state.timers.earliest.map { $0 <= now } ?? false
                    let canStart = !state.backlog.isEmpty && state.running < limits.effectCountMax
                    let mustSleep =
                        state.timers.earliest.map { earliest in state.sleepingUntil.allSatisfy { $0 > earliest } }
                        ?? false
                    let isReady =
                        Task.isCancelled || canStart || mustSleep || canStep && (isDue || !state.events.isEmpty)
                    if !isReady { state.waiter = continuation }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            wake { _ in }
        }
    }
}
