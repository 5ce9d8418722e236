/// Whether additions to a set, removals and reads of the whole set are linearizable, without a search.
///
/// A read of the whole set says of each change whether it came before. So the reads have to be a chain: sorted by how many
/// changes they have seen, no read lacks a change that an earlier one had. Together with the order in time (of reads, of
/// reads and changes, of changes) that is also enough: the changes between two reads touch different elements, or one
/// element that is added and then removed. Costs n log n, and the size of what was read.
///
/// A read that began before an addition was acknowledged and ended after the removal had begun, and that has not seen the
/// element, may have come before the one or after the other. Such reads are not judged, and counted.
public struct SetCheck: Sendable {
    /// What is wrong, with the operations that show it.
    public struct Violation: Error, Sendable, Hashable, CustomStringConvertible {
        /// The sort of fault.
        public var fault: Fault
        /// The element that shows it; for reads that contradict each other, the first.
        public var element: String
        /// The operations that show it.
        public var part: [SetOperation]

        public var description: String {
            let origin = part.map(\.start).min() ?? 0
            let lines = part.sorted { $0.start < $1.start }.map { operation in
                var line = "  client \(operation.client)  "
                line += HistoryText.span(operation.start, operation.end, since: origin)
                line += "  " + HistoryText.words(operation.action)
                if case .list(let seen) = operation.action {
                    line += seen.contains(element) ? ", \(element) among them" : ", without \(element)"
                }
                return line
            }
            return "\(fault.rawValue) (\(element)):\n" + lines.joined(separator: "\n")
        }
    }

    /// What can be wrong.
    public enum Fault: String, Sendable, Hashable, CaseIterable {
        case unknownElement = "An element was read that nobody has added"
        case readTooEarly = "An element was read before it was added"
        case lost = "An acknowledged element is missing"
        case cameBack = "A removed element is there again"
        case contradiction = "Two reads have seen changes in different orders"
        case backwards = "A later read has seen less than an earlier one"
        case changesSwapped = "A later change was seen before an earlier one"
    }

    /// A history that this does not judge: an element is added or removed twice, or removed before its addition is known.
    public struct Unfit: Error, Sendable, Hashable {
        public var element: String
    }

    /// Reads that were not judged; they can be read in two ways.
    public private(set) var undecidedReads = 0

    struct Life {
        var add: SetOperation
        var remove: SetOperation?
    }

    private var lives: [String: Life] = [:]
    private var reads: [SetOperation] = []

    /// Checks a history that begins with an empty set; throws `Violation` or `Unfit`.
    @discardableResult
    public static func check(_ operations: [SetOperation]) throws -> SetCheck {
        var check = SetCheck()
        try check.collect(operations)
        try check.checkElements()
        var chain = SetChain(lives: check.lives, reads: check.reads)
        try chain.check()
        return check
    }

    private mutating func collect(_ operations: [SetOperation]) throws {
        var misses: [(element: String, operation: SetOperation)] = []
        for operation in operations {
            switch operation.action {
            case .add(let element):
                guard lives.updateValue(Life(add: operation), forKey: element) == nil else {
                    throw Unfit(element: element)
                }
            case .list where operation.end != nil: reads.append(operation)
            case .missed(let element) where operation.end != nil: misses.append((element, operation))
            case .list, .missed, .remove: break
            }
        }
        for operation in operations {
            guard case .remove(let element) = operation.action else { continue }
            guard let life = lives[element], life.remove == nil, let added = life.add.end, added <= operation.start
            else { throw Unfit(element: element) }
            lives[element]?.remove = operation
        }
        for miss in misses {
            guard let life = lives[miss.element], let added = life.add.end, added < miss.operation.start,
                life.remove.map({ ($0.start) > miss.operation.end ?? .max }) ?? true
            else { throw Unfit(element: miss.element) }
            throw Violation(fault: .lost, element: miss.element, part: [life.add, miss.operation])
        }
    }

    /// What each read by itself must have seen, must not have seen, and what cannot be told of it.
    private mutating func checkElements() throws {
        for read in reads {
            guard case .list(let seen) = read.action else { continue }
            for element in seen {
                guard let life = lives[element] else {
                    throw Violation(fault: .unknownElement, element: element, part: [read])
                }
                if let end = read.end, end < life.add.start {
                    throw Violation(fault: .readTooEarly, element: element, part: [life.add, read])
                }
                if let remove = life.remove, let gone = remove.end, gone < read.start {
                    throw Violation(fault: .cameBack, element: element, part: [life.add, remove, read])
                }
            }
        }
        try checkLosses()
    }

    /// Throws for an element that was acknowledged before a read, was not being removed by its end, and is not in it; then
    /// leaves out what cannot be judged.
    private mutating func checkLosses() throws {
        let added = lives.values.filter { $0.add.end != nil }.sorted { ($0.add.end ?? 0) < ($1.add.end ?? 0) }
        let removed = added.filter { $0.remove?.end != nil }.sorted { ($0.remove?.end ?? 0) < ($1.remove?.end ?? 0) }
        var (nextAdded, nextRemoved) = (added[...], removed[...])
        var there: [String: Life] = [:]
        for read in reads.sorted(by: { $0.start < $1.start }) {
            guard case .list(let seen) = read.action else { continue }
            while let life = nextAdded.first, (life.add.end ?? .max) < read.start {
                there[life.element] = life
                nextAdded.removeFirst()
            }
            while let life = nextRemoved.first, (life.remove?.end ?? .max) < read.start {
                there[life.element] = nil
                nextRemoved.removeFirst()
            }
            for (element, life) in there where !seen.contains(element) {
                if let remove = life.remove, remove.start <= (read.end ?? .max) { continue }
                throw Violation(fault: .lost, element: element, part: [life.add, read])
            }
        }
        let judged = reads.filter { !isUndecided($0, added) }
        undecidedReads = reads.count - judged.count
        reads = judged
    }

    /// Whether the read lacks an element whose addition was answered after its start and whose removal began before its end.
    private func isUndecided(_ read: SetOperation, _ added: [Life]) -> Bool {
        guard case .list(let seen) = read.action, let end = read.end else { return true }
        let first = added.partition(where: { ($0.add.end ?? 0) >= read.start })
        for life in added[first...] {
            guard (life.add.end ?? .max) <= end else { return false }
            if let remove = life.remove, remove.start <= end, !seen.contains(life.element) { return true }
        }
        return false
    }
}

extension SetCheck.Life {
    /// The element's name.
    var element: String {
        guard case .add(let element) = add.action else { return "" }
        return element
    }
}

extension Array {
    /// The first index whose element fulfils a condition that all after it fulfil too.
    func partition(where isAfter: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
