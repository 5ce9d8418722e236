/// What is to happen, in virtual time: one queue for everything that there is.
struct EventQueue {
    /// Something that will happen.
    struct Event {
        /// Milliseconds since the simulation began.
        let due: Int64
        /// Drawn from the seed, so that what is due at one moment comes in an order of the seed's.
        let tie: UInt64
        /// For the trace.
        let name: String
        let body: () -> Void
    }

    private var heap: [Event] = []

    var isEmpty: Bool { heap.isEmpty }

    mutating func add(_ event: Event) {
        heap.append(event)
        var child = heap.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popFirst() -> Event? {
        guard !heap.isEmpty else { return nil }
        heap.swapAt(0, heap.count - 1)
        let first = heap.removeLast()
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, least) {
                least = child
            }
            guard least != parent else { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        (heap[left].due, heap[left].tie) < (heap[right].due, heap[right].tie)
    }
}
