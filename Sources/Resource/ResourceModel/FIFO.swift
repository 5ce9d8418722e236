/// First in, first out, each in constant time on average.
package struct FIFO<Element> {
    private var storage: [Element?] = []
    private var start = 0

    package init() {}

    package var count: Int { storage.count - start }
    package var isEmpty: Bool { count == 0 }

    package mutating func append(_ element: Element) { storage.append(element) }

    package mutating func append(contentsOf elements: some Sequence<Element>) {
        for element in elements { storage.append(element) }
    }

    package mutating func popFirst() -> Element? {
        guard start < storage.count else { return nil }
        let element = storage[start]
        storage[start] = nil
        start += 1
        if start == storage.count {
            storage.removeAll(keepingCapacity: start <= 64)
            start = 0
        } else if start >= 64, start * 2 >= storage.count {
            storage.removeFirst(start)
            start = 0
        }
        return element
    }

    package mutating func removeAll() {
        storage = []
        start = 0
    }
}

extension FIFO: Sendable where Element: Sendable {}
