import Primitives
import ReconcileRuntime
import StoreMemory

/// Runs a reconciler's steps from one queue in virtual time: the same seed gives the same trace.
///
/// What is due at the same time is taken in an order drawn from the seed, and effects take a time drawn from it, so
/// other seeds try other orders. The performer must take its randomness and time from what it is given, and its store
/// must be the one given here.
public struct SimulatedLoop<R: Reconciler> {
    private enum Item {
        case deliver(R.Event)
        case perform(R.Effect)
    }

    /// The reconciler after the steps so far.
    public private(set) var reconciler: R
    /// One line for each step and effect so far.
    public private(set) var trace: [String] = []
    /// FNV-1a (64 bits) over the lines of the trace.
    public private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    private var random: SeededRandom
    private var items: [(due: Timestamp, item: Item)] = []
    private var timers = TimerQueue<Timestamp, R.Event>()
    private let start: Timestamp
    private let clock: ManualWallClock
    private let store: MemoryStore?
    private let delayMax: Duration
    private let performer: any EffectPerformer<R.Effect, R.Event>

    /// A simulation that moves `clock`; each effect and each result is late by up to `delayMax`.
    public init(
        _ reconciler: R, seed: UInt64, clock: ManualWallClock, store: MemoryStore? = nil,
        delayMax: Duration = .milliseconds(500), performer: any EffectPerformer<R.Effect, R.Event>
    ) {
        self.reconciler = reconciler
        self.clock = clock
        self.store = store
        self.delayMax = delayMax
        self.performer = performer
        start = clock.now
        random = SeededRandom(seed: seed)
    }

    /// Delivers an event after a virtual time.
    public mutating func send(_ event: R.Event, after delay: Duration = .zero) {
        items.append((clock.now.advanced(by: delay), .deliver(event)))
    }

    /// Runs until nothing is left to do, `limit` of virtual time is over, or `stepMax` steps are done.
    ///
    /// Returns whether nothing is left to do.
    @discardableResult
    public mutating func run(for limit: Duration = .seconds(86_400), stepMax: Int = 100_000) async throws -> Bool {
        let end = clock.now.advanced(by: limit)
        for _ in 0..<stepMax {
            guard let next = earliest() else { return true }
            guard next <= end else {
                clock.set(end)
                return false
            }
            if next > clock.now { clock.set(next) }
            try await store?.expireLeases(now: clock.now)
            while let timer = timers.popDue(at: clock.now) { items.append((clock.now, .deliver(timer.event))) }
            await take()
        }
        return false
    }

    private mutating func earliest() -> Timestamp? {
        let item = items.map(\.due).min()
        guard let timer = timers.earliest else { return item }
        return item.map { min($0, timer) } ?? timer
    }

    private mutating func take() async {
        let due = items.indices.filter { items[$0].due <= clock.now }
        guard let index = due.randomElement(using: &random) else { return }
        switch items.remove(at: index).item {
        case .deliver(let event):
            let actions = reconciler.step(event, now: clock.now, random: &random)
            await note("\(event) -> \(actions)")
            for action in actions { start(action) }
        case .perform(let effect):
            let events = await performer.perform(effect)
            await note("\(effect) => \(events)")
            for event in events { items.append((later(), .deliver(event))) }
        }
    }

    private mutating func start(_ action: R.Action) {
        switch action {
        case .perform(let effect): items.append((later(), .perform(effect)))
        case .setTimer(let id, let after, let event): timers.set(id, at: clock.now.advanced(by: after), event)
        case .stopTimer(let id): timers.stop(id)
        }
    }

    private mutating func later() -> Timestamp {
        clock.now.advanced(by: .milliseconds(Int64.random(in: 0...delayMax.milliseconds, using: &random)))
    }

    private mutating func note(_ what: String) async {
        let revision = (try? await store?.currentRevision()) ?? .zero
        let line = "\(clock.now.since(start).milliseconds) r\(revision) \(what)"
        trace.append(line)
        for byte in "\(line)\n".utf8 { digest = (digest ^ UInt64(byte)) &* 0x100_0000_01B3 }
    }
}
