/// Looks for an order of one register's operations that explains all answers (Wing and Gong 1993; Lowe 2017, who
/// orders operations only when an answer has to be explained, and remembers where he has been).
///
/// Three rules keep the search small and change nothing of its result. What only looks is put in order as soon as it can be.
/// What has an unknown outcome is taken to have happened only where the next operation could not be without it: an effect
/// that nobody sees before it is overwritten may as well have come never. And of two ways to the same value, one that has
/// used more of what is unknown is not followed.
struct RegisterSearch {
    fileprivate struct Configuration: Hashable {
        var value: Int
        /// The open operations that will be answered and have taken effect, in ascending order.
        var done: [Int]
        /// The operations of unknown outcome that have taken effect, in ascending order.
        var used: [Int]
    }

    /// What decides what may come next, but for what of the unknown is left.
    private struct Crossing: Hashable {
        var value: Int
        var done: [Int]
        var unseenSince: Int?
    }

    /// Places that were seen, each with the least of the unknown that leads there.
    private struct Seen {
        var ways: [Crossing: [[Int]]] = [:]

        /// Whether the place is new, and better than what was seen.
        mutating func insert(_ place: Place) -> Bool {
            let crossing = Crossing(
                value: place.configuration.value, done: place.configuration.done, unseenSince: place.unseenSince)
            let used = Set(place.configuration.used)
            var known = ways[crossing] ?? []
            guard !known.contains(where: { used.isSuperset(of: $0) }) else { return false }
            known.removeAll { used.isSubset(of: $0) }
            known.append(place.configuration.used)
            ways[crossing] = known
            return true
        }

        /// The configurations that were seen.
        var configurations: Set<Configuration> {
            Set(
                ways.flatMap { crossing, ways in
                    ways.map { Configuration(value: crossing.value, done: crossing.done, used: $0) }
                })
        }
    }

    private struct Place: Hashable {
        var configuration: Configuration
        /// The value before the last operation, where that has an unknown outcome and its effect was not seen yet.
        var unseenSince: Int?
    }

    private let operations: [RegisterOperation]
    private var open: [Int] = []
    private var configurations: Set<Configuration>

    /// A search that begins with a value; nil: with any.
    init(_ operations: [RegisterOperation], initial: Int?) {
        self.operations = operations
        let possible = initial.map { [$0] } ?? operations.compactMap(\.action.seen) + [.min]
        configurations = Set(possible.map { Configuration(value: $0, done: [], used: []) })
    }

    /// The operation whose answer no order explains; nil: there is an order of all.
    mutating func firstUnexplained() -> Int? {
        for event in events() {
            if event.isAnswer {
                answer(event.operation)
                guard !configurations.isEmpty else { return event.operation }
            } else {
                open.append(event.operation)
                configurations = Set(configurations.map { looked($0) })
            }
        }
        return nil
    }

    private struct Event {
        var time: Int64
        var isAnswer: Bool
        var operation: Int
    }

    /// Of one moment all requests come first: what touches in time overlaps.
    private func events() -> [Event] {
        var events: [Event] = []
        for (index, operation) in operations.enumerated() {
            if operation.end == nil, !operation.action.isChange { continue }
            events.append(Event(time: operation.start, isAnswer: false, operation: index))
            if let end = operation.end { events.append(Event(time: end, isAnswer: true, operation: index)) }
        }
        return events.sorted {
            if $0.time != $1.time { return $0.time < $1.time }
            if $0.isAnswer != $1.isAnswer { return $1.isAnswer }
            return $0.operation < $1.operation
        }
    }

    private mutating func answer(_ index: Int) {
        var found = Seen()
        var visited = Seen()
        for configuration in configurations {
            if configuration.done.contains(index) {
                _ = found.insert(Place(configuration: configuration.without(index)))
            } else {
                explore(from: configuration, to: index, &visited, &found)
            }
        }
        open.removeAll { $0 == index }
        configurations = found.configurations
        forgetSettled()
    }

    /// Adds all configurations in which `index` has taken effect last.
    private func explore(
        from start: Configuration, to index: Int, _ visited: inout Seen, _ found: inout Seen
    ) {
        var stack = [Place(configuration: start)]
        while let place = stack.popLast() {
            guard visited.insert(place) else { continue }
            let now = place.configuration
            let wanted = wantedValues(now)
            for other in open where !now.done.contains(other) && !now.used.contains(other) {
                let operation = operations[other]
                guard let after = operation.action.applied(to: now.value) else { continue }
                if let before = place.unseenSince, operation.action.applied(to: before) != nil { continue }
                let isUnknown = operation.end == nil
                if isUnknown, !wanted.values.contains(after), !wanted.refusals.contains(now.value) { continue }
                var next = now
                next.value = after
                next.insert(other, isUnknown: isUnknown)
                let complete = looked(next)
                if complete.done.contains(index) {
                    _ = found.insert(Place(configuration: complete.without(index)))
                    continue
                }
                let isSeen = !isUnknown || complete.done.count > next.done.count
                stack.append(Place(configuration: complete, unseenSince: isSeen ? nil : now.value))
            }
        }
    }

    /// The values that open operations need, and those that they need not to be.
    private func wantedValues(_ configuration: Configuration) -> (values: Set<Int>, refusals: Set<Int>) {
        var values: Set<Int> = []
        var refusals: Set<Int> = []
        for index in open where !configuration.done.contains(index) && !configuration.used.contains(index) {
            if let seen = operations[index].action.seen { values.insert(seen) }
            if case .refusedSwap(let old) = operations[index].action { refusals.insert(old) }
        }
        return (values, refusals)
    }

    /// The configuration in which everything open that only looks, and can look now, has done so.
    private func looked(_ configuration: Configuration) -> Configuration {
        var result = configuration
        for index in open where !operations[index].action.isChange && !result.done.contains(index) {
            if operations[index].action.applied(to: result.value) != nil {
                result.insert(index, isUnknown: false)
            }
        }
        return result
    }

    /// Drops operations of unknown outcome that have taken effect in each configuration.
    private mutating func forgetSettled() {
        for index in open where operations[index].end == nil {
            guard configurations.allSatisfy({ $0.used.contains(index) }) else { continue }
            open.removeAll { $0 == index }
            configurations = Set(configurations.map { $0.without(index) })
        }
    }
}

extension RegisterSearch.Configuration {
    fileprivate func without(_ index: Int) -> Self {
        var result = self
        result.done.removeAll { $0 == index }
        result.used.removeAll { $0 == index }
        return result
    }

    fileprivate mutating func insert(_ index: Int, isUnknown: Bool) {
        if isUnknown {
            used.insert(index, at: used.firstIndex { $0 > index } ?? used.endIndex)
        } else {
            done.insert(index, at: done.firstIndex { $0 > index } ?? done.endIndex)
        }
    }
}
