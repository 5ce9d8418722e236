import Primitives
import TestSupport

/// A rack in virtual time: machines, BMCs, disks, a network, an operator, a store, and a conductor made of the real parts.
///
/// One queue orders everything, and every choice is drawn from the seed: the same seed gives the same trace.
final class World: @unchecked Sendable {
    // SAFETY: everything here is touched by the thread that calls `run` only; the tasks of `executor` run on it too.

    let seed: UInt64
    let shape: Shape
    let mutation: Mutation?
    let executor = SteppingExecutor()
    /// The conductor's clock, which jumps.
    let wall = ManualWallClock()
    /// What the conductor times waits with; never jumps.
    let pace = ManualClock()
    let site: SiteFixture

    var random: SeededRandom
    /// Milliseconds since the beginning.
    private(set) var now: Int64 = 0
    private(set) var trace = Trace()
    private(set) var faults: [Fault: Int] = [:]
    private(set) var violations: [Violation] = []
    private(set) var stepCount = 0
    var machines: [Machine] = []
    var conductor: Conductor?
    let disk: StoreDisk
    /// What the conductor has given out, to hold everything against.
    var ledger = Ledger()
    var clockOffset: Int64 = 0
    var slowUntil: Int64 = 0
    var runCount = 0
    /// Addresses that a host nobody knows has taken.
    var foreignAddresses: [IPv4Address: Int64] = [:]

    private var queue = EventQueue()
    private var parked: [UInt64: (run: Int, continuation: CheckedContinuation<Void, Never>)] = [:]
    private var parkedCount: UInt64 = 0
    private var isOver = false

    /// Virtual milliseconds that machines get after the last fault.
    static let recoveryMax: Int64 = 5 * 3600 * 1000

    init(seed: UInt64, mutation: Mutation? = nil, shape given: Shape? = nil) {
        self.seed = seed
        self.mutation = mutation
        random = SeededRandom(seed: seed)
        shape = given ?? Shape(seed: seed, random: &random)
        site = SiteFixture(shape)
        disk = StoreDisk(engine: shape.engine)
        machines = shape.machines.enumerated().map { Machine(index: $0.offset, shape: $0.element, world: self) }
    }

    var hasFaults: Bool { now < shape.faultsEnd }

    // MARK: Running

    /// Runs until all machines are where they should be, something is violated, or too much time has passed.
    func run() {
        trace.note(0, "seed \(seed): \(machines.count) machines, \(shape.engine)")
        begin()
        executor.settle()
        while !isOver, violations.isEmpty, let event = queue.popFirst() {
            advance(to: event.due)
            trace.note(now, event.name)
            stepCount += 1
            event.body()
            executor.settle()
        }
        end()
    }

    private func begin() {
        executor.begin { [self] in
            await disk.open(in: self)
            await site.write(to: self)
            startConductor()
        }
        for machine in machines where !machine.hasBMC {
            after(draw(1000...60_000), "\(machine) is switched on") { machine.boot() }
        }
        after(15_000, "~ inspection") { [self] in inspect() }
        after(10_000, "~ calamities") { [self] in calamities() }
        after(30_000, "~ operator") { [self] in operate() }
        after(shape.faultsEnd, "faults end") { [self] in endFaults() }
    }

    /// Lets go of everything that still waits, and closes the store.
    private func end() {
        conductor?.isAlive = false
        releaseParked(of: nil)
        executor.settle()
        executor.begin { [self] in await disk.close(in: self) }
        executor.settle()
    }

    private func advance(to due: Int64) {
        guard due > now else { return }
        pace.advance(by: .milliseconds(due - now))
        now = due
        setClock()
    }

    func setClock() { wall.set(Self.epoch.advanced(by: .milliseconds(now + clockOffset))) }

    /// Where the conductor's clock stands at the beginning.
    static let epoch = Timestamp(millisecondsSinceEpoch: 1_767_225_600_000)

    /// Ends the simulation when nothing is left to be done.
    func finish() { isOver = true }

    // MARK: Events

    func after(_ delay: Int64, _ name: String, _ body: @escaping () -> Void) {
        queue.add(EventQueue.Event(due: now + max(0, delay), tie: random.next(), name: name, body: body))
    }

    /// As `after`, for what happens to a machine only while it has not been switched off or reset since.
    func after(_ delay: Int64, _ machine: Machine, _ name: String, _ body: @escaping () -> Void) {
        let epoch = machine.epoch
        let isRoutine = name.hasPrefix(Trace.routine)
        after(delay, isRoutine ? "~ \(machine) \(name)" : "\(machine) \(name)") { if machine.epoch == epoch { body() } }
    }

    /// Waits for a virtual time; a run of the conductor that crashes meanwhile waits no more.
    func pause(_ delay: Int64, run: Int, _ name: String) async {
        await withCheckedContinuation { continuation in
            parkedCount += 1
            let number = parkedCount
            parked[number] = (run, continuation)
            after(delay, name) { [self] in parked.removeValue(forKey: number)?.continuation.resume() }
        }
    }

    /// Lets the tasks of a run go on, to their end; nil: of all runs.
    func releaseParked(of run: Int?) {
        for number in parked.keys.sorted() where run == nil || parked[number]?.run == run {
            parked.removeValue(forKey: number)?.continuation.resume()
        }
    }

    // MARK: Chance

    func draw<Value: FixedWidthInteger>(_ range: ClosedRange<Value>) -> Value { .random(in: range, using: &random) }

    /// A time that is much longer while everything is slow.
    func slowly(_ range: ClosedRange<Int64>) -> Int64 { draw(range) * (now < slowUntil ? 20 : 1) }

    /// Whether a fault happens now.
    func strikes(_ fault: Fault) -> Bool {
        guard hasFaults, let chance = shape.chances[fault], chance > 0, draw(0...999) < chance else { return false }
        count(fault)
        return true
    }

    func count(_ fault: Fault) {
        faults[fault, default: 0] += 1
        trace.note(now, "FAULT \(fault.rawValue)")
    }

    func note(_ what: String) { trace.note(now, what) }

    func violate(_ invariant: Invariant, _ what: String) {
        trace.note(now, "VIOLATION \(invariant): \(what)")
        violations.append(Violation(invariant: invariant, time: now, what: what))
    }
}
