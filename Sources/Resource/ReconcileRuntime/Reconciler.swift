import Primitives

/// A controller as a state machine without time, tasks or input and output of its own.
///
/// The same steps run in a `ReconcilerLoop` and in the simulator: a step may use nothing but its arguments and what
/// the reconciler holds. It returns what is to be done; what came of that arrives as events.
public protocol Reconciler: Sendable {
    /// What can happen.
    associatedtype Event: Sendable
    /// What can be asked of the world.
    associatedtype Effect: Sendable

    /// What the step returns.
    typealias Action = ReconcilerAction<Event, Effect>

    /// Takes in one event and decides what to do.
    mutating func step(_ event: Event, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action]
}

/// What a reconciler wants done.
public enum ReconcilerAction<Event: Sendable, Effect: Sendable>: Sendable {
    /// Perform an effect; its results come back as events.
    case perform(Effect)
    /// Deliver an event after a time, unless the timer is set anew or stopped before.
    case setTimer(TimerID, after: Duration, Event)
    /// Forget a timer; nothing happens when there is none.
    case stopTimer(TimerID)
}

extension ReconcilerAction: Equatable where Event: Equatable, Effect: Equatable {}

/// Names a timer of one reconciler.
public struct TimerID: Hashable, Sendable, Comparable, ExpressibleByStringInterpolation, CustomStringConvertible {
    /// The name, such as `deadline/node-7`.
    public let name: String

    /// A timer's name.
    public init(_ name: String) { self.name = name }
    public init(stringLiteral name: String) { self.name = name }

    public static func < (left: TimerID, right: TimerID) -> Bool { left.name < right.name }
    public var description: String { name }
}

/// The timers of one reconciler: a heap of deadlines keyed by id.
public struct TimerQueue<Deadline: Comparable & Sendable, Event: Sendable>: Sendable {
    private struct Item: Sendable {
        let deadline: Deadline
        let number: UInt64
        let id: TimerID
    }

    private var heap: [Item] = []
    private var timers: [TimerID: (number: UInt64, event: Event)] = [:]
    private var nextNumber: UInt64 = 0

    /// No timers.
    public init() {}

    /// How many timers are set.
    public var count: Int { timers.count }

    /// The earliest deadline.
    public var earliest: Deadline? {
        mutating get {
            dropStale()
            return heap.first?.deadline
        }
    }

    /// Sets a timer, in place of the one with the same id.
    public mutating func set(_ id: TimerID, at deadline: Deadline, _ event: Event) {
        nextNumber += 1
        timers[id] = (nextNumber, event)
        heap.append(Item(deadline: deadline, number: nextNumber, id: id))
        siftUp()
        if heap.count > 2 * timers.count + 16 { rebuild() }
    }

    /// Forgets a timer.
    public mutating func stop(_ id: TimerID) { timers[id] = nil }

    /// Takes out the earliest timer whose deadline is not after `now`; of equal deadlines the one set first.
    public mutating func popDue(at now: Deadline) -> (id: TimerID, event: Event)? {
        dropStale()
        guard let first = heap.first, first.deadline <= now, let timer = timers.removeValue(forKey: first.id) else {
            return nil
        }
        removeFirst()
        return (first.id, timer.event)
    }

    private func isBefore(_ left: Item, _ right: Item) -> Bool {
        left.deadline != right.deadline ? left.deadline < right.deadline : left.number < right.number
    }

    private mutating func dropStale() {
        while let first = heap.first, timers[first.id]?.number != first.number { removeFirst() }
    }

    private mutating func rebuild() {
        heap.removeAll { timers[$0.id]?.number != $0.number }
        heap.sort(by: isBefore)
    }

    private mutating func siftUp() {
        var child = heap.count - 1
        while child > 0, isBefore(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func removeFirst() {
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if isBefore(heap[child], heap[least]) { least = child }
            }
            guard least != parent else { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
