/// The reads of a set in the order in which they can have been made, and whether that order agrees with every change.
///
/// Takes reads of which `SetCheck` has found each one to be right by itself.
struct SetChain {
    private struct Change {
        var element: String
        var operation: SetOperation
        var isAddition: Bool
        /// The first place in the chain of a read that has seen the change.
        var firstWith = Int.max
        /// The last place of a read that has not.
        var lastWithout = -1
    }

    private var changes: [Change] = []
    private var reads: [SetOperation]
    /// Reads' places by start, with the first place of all that begin then or later.
    private var byStart: [(time: Int64, place: Int)] = []
    /// Reads' places by end, with the last place of all that end then or earlier.
    private var byEnd: [(time: Int64, place: Int)] = []

    init(lives: [String: SetCheck.Life], reads: [SetOperation]) {
        for (element, life) in lives.sorted(by: { $0.key < $1.key }) {
            changes.append(Change(element: element, operation: life.add, isAddition: true))
            if let remove = life.remove {
                changes.append(Change(element: element, operation: remove, isAddition: false))
            }
        }
        self.reads = Self.sorted(reads, lives)
        var first = Int.max
        for place in self.reads.indices.sorted(by: { self.reads[$0].start > self.reads[$1].start }) {
            first = min(first, place)
            byStart.append((self.reads[place].start, first))
        }
        byStart.reverse()
        var last = -1
        for place in self.reads.indices.sorted(by: { self.reads[$0].answered < self.reads[$1].answered }) {
            last = max(last, place)
            byEnd.append((self.reads[place].answered, last))
        }
    }

    /// By the number of changes seen: of additions twice as many as there are, less what is there.
    private static func sorted(_ reads: [SetOperation], _ lives: [String: SetCheck.Life]) -> [SetOperation] {
        let acknowledged = lives.values.compactMap(\.add.end).sorted()
        let counted = reads.map { read -> (count: Int, read: SetOperation) in
            let before = acknowledged.partition { $0 >= read.start }
            let early = read.seen.count { (lives[$0]?.add.end ?? .max) >= read.start }
            return (2 * (before + early) - read.seen.count, read)
        }
        return counted.sorted { ($0.count, $0.read.start) < ($1.count, $1.read.start) }.map(\.read)
    }

    /// Throws `SetCheck.Violation`.
    mutating func check() throws(SetCheck.Violation) {
        try checkReads()
        placeForced()
        placeOverlapping()
        placeUnknown()
        for change in changes where change.lastWithout > change.firstWith {
            throw SetCheck.Violation(
                fault: .contradiction, element: change.element,
                part: [change.operation, reads[change.firstWith], reads[change.lastWithout]])
        }
        try checkChanges()
    }

    /// A read that began after another one had ended comes later in the chain.
    private func checkReads() throws(SetCheck.Violation) {
        for (place, read) in reads.enumerated() {
            guard let earlier = lastPlace(endingBefore: read.start), earlier > place else { continue }
            let element = reads[earlier].seen.symmetricDifference(read.seen).min() ?? ""
            throw SetCheck.Violation(fault: .backwards, element: element, part: [reads[earlier], read])
        }
    }

    /// A change that was sent after another one had ended is not seen without that.
    private func checkChanges() throws(SetCheck.Violation) {
        let answered = changes.filter { $0.operation.end != nil }.sorted {
            $0.operation.answered < $1.operation.answered
        }
        var next = answered[...]
        var latest: Change?
        for change in changes.sorted(by: { $0.operation.start < $1.operation.start }) {
            while let first = next.first, first.operation.answered < change.operation.start {
                if first.lastWithout > latest?.lastWithout ?? -1 { latest = first }
                next.removeFirst()
            }
            guard let latest, latest.lastWithout >= change.firstWith else { continue }
            throw SetCheck.Violation(
                fault: .changesSwapped, element: latest.element,
                part: [latest.operation, change.operation, reads[change.firstWith], reads[latest.lastWithout]])
        }
    }

    private func lastPlace(endingBefore time: Int64) -> Int? {
        let index = byEnd.partition { $0.time >= time }
        return index > 0 ? byEnd[index - 1].place : nil
    }

    private func firstPlace(startingAfter time: Int64) -> Int? {
        let index = byStart.partition { $0.time > time }
        return index < byStart.count ? byStart[index].place : nil
    }

    // MARK: Where the reads with and without a change are

    /// Reads wholly before a change, and wholly after its answer.
    private mutating func placeForced() {
        for index in changes.indices {
            let operation = changes[index].operation
            changes[index].lastWithout = lastPlace(endingBefore: operation.start) ?? -1
            if let end = operation.end { changes[index].firstWith = firstPlace(startingAfter: end) ?? .max }
        }
    }

    /// Reads that overlap a change that was answered: what they hold says which.
    private mutating func placeOverlapping() {
        var events: [(time: Int64, isEnd: Bool, isRead: Bool, index: Int)] = []
        for (index, change) in changes.enumerated() {
            guard let end = change.operation.end else { continue }
            events.append((change.operation.start, false, false, index))
            events.append((end, true, false, index))
        }
        for (place, read) in reads.enumerated() {
            events.append((read.start, false, true, place))
            events.append((read.answered, true, true, place))
        }
        events.sort { $0.time != $1.time ? $0.time < $1.time : !$0.isEnd && $1.isEnd }
        var (openReads, openChanges) = (Set<Int>(), Set<Int>())
        for event in events {
            switch (event.isRead, event.isEnd) {
            case (true, true): openReads.remove(event.index)
            case (false, true): openChanges.remove(event.index)
            case (true, false):
                openReads.insert(event.index)
                for change in openChanges { place(event.index, change) }
            case (false, false):
                openChanges.insert(event.index)
                for read in openReads { place(read, event.index) }
            }
        }
    }

    private mutating func place(_ read: Int, _ change: Int) {
        if reads[read].seen.contains(changes[change].element) == changes[change].isAddition {
            changes[change].firstWith = min(changes[change].firstWith, read)
        } else {
            changes[change].lastWithout = max(changes[change].lastWithout, read)
        }
    }

    /// Changes of unknown outcome may come at any time after their start.
    private mutating func placeUnknown() {
        let unknown = changes.indices.filter { changes[$0].operation.end == nil }
        guard !unknown.isEmpty else { return }
        let elements = Set(unknown.map { changes[$0].element })
        var holding: [String: Set<Int>] = [:]
        for (place, read) in reads.enumerated() {
            for element in read.seen where elements.contains(element) { holding[element, default: []].insert(place) }
        }
        var latestEnd: [Int64] = []
        for read in reads { latestEnd.append(max(latestEnd.last ?? .min, read.answered)) }
        for index in unknown {
            let places = holding[changes[index].element] ?? []
            if changes[index].isAddition {
                changes[index].firstWith = places.min() ?? .max
                changes[index].lastWithout = reads.indices.last { !places.contains($0) } ?? -1
            } else {
                placeRemoval(index, holding: places, latestEnd)
            }
        }
    }

    private mutating func placeRemoval(_ index: Int, holding places: Set<Int>, _ latestEnd: [Int64]) {
        let start = changes[index].operation.start
        let last = max(changes[index].lastWithout, places.max() ?? -1)
        changes[index].lastWithout = last
        changes[index].firstWith = reads.indices.suffix(from: last + 1).first { reads[$0].answered >= start } ?? .max
        var place = last
        while place >= 0, latestEnd[place] >= start {
            if reads[place].answered >= start, !places.contains(place) { changes[index].firstWith = place }
            place -= 1
        }
    }
}

extension SetOperation {
    /// What a read of the whole set has seen.
    fileprivate var seen: Set<String> {
        guard case .list(let elements) = action else { return [] }
        return elements
    }

    /// When it was answered, the end of time if it was not.
    fileprivate var answered: Int64 { end ?? .max }
}
