/// Whether the answers of registers are those of one copy that does one thing after the other (linearizable; Herlihy and
/// Wing 1990).
public enum RegisterCheck {
    /// A register whose answers no order explains, with as few operations as still show it.
    public struct Violation: Error, Sendable, Hashable, CustomStringConvertible {
        /// The register.
        public var key: String
        /// What shows it, by start.
        public var part: [RegisterOperation]
        /// How many operations the register had.
        public var operationCount: Int

        public var description: String {
            let lines = part.map { operation in
                "  client \(operation.client)  \(HistoryText.span(operation.start, operation.end, since: origin))  "
                    + HistoryText.words(operation.action)
            }
            return "No order explains \(part.count) of \(operationCount) operations on \(key):\n"
                + lines.joined(separator: "\n")
        }

        private var origin: Int64 { part.map(\.start).min() ?? 0 }
    }

    /// Checks each register by itself, as a history of many is linearizable when each one's is (locality, same paper).
    ///
    /// `initial` is the value of all at the beginning. Throws `Violation` for the first register, by name, that fails.
    public static func check(_ operations: [RegisterOperation], initial: Int = 0) throws(Violation) {
        for (key, own) in Dictionary(grouping: operations, by: \.key).sorted(by: { $0.key < $1.key }) {
            var search = RegisterSearch(own, initial: initial)
            guard let at = search.firstUnexplained() else { continue }
            let part = smallestPart(of: own, failingAt: own[at], initial: initial)
            throw Violation(key: key, part: part.sorted { $0.start < $1.start }, operationCount: own.count)
        }
    }

    /// What of the history is needed to see that it fails.
    ///
    /// Leaving out all that had ended by a moment (with any value then), leaving out what only looked, forgetting that a change
    /// was answered, and leaving out a change that nobody sees make a history weaker and never a good one bad. So what still
    /// fails afterwards is a proof.
    static func smallestPart(
        of all: [RegisterOperation], failingAt last: RegisterOperation, initial: Int
    ) -> [RegisterOperation] {
        let end = last.end ?? .max
        let known = all.filter { $0.start <= end && ($0.action.isChange || ($0.end ?? .max) <= end) }
        let open = known.map { operation in
            var operation = operation
            if (operation.end ?? .max) > end { operation.end = nil }
            return operation
        }
        let byEnd = open.sorted { ($0.end ?? .max) < ($1.end ?? .max) }
        var count = 8
        while count < byEnd.count, !fails(Array(byEnd.suffix(count)), nil) { count *= 2 }
        let start = count < byEnd.count ? nil : initial
        var rest = withoutUnseen(Array(byEnd.suffix(count)))
        rest = weaken(rest, initial: start, where: { !$0.action.isChange }, by: { _ in nil })
        rest = weaken(withoutUnseen(rest), initial: start, where: { $0.action.isChange && $0.end != nil }) {
            operation in
            var open = operation
            open.end = nil
            return open
        }
        return withoutUnseen(rest)
    }

    private static func fails(_ operations: [RegisterOperation], _ initial: Int?) -> Bool {
        var search = RegisterSearch(operations, initial: initial)
        return search.firstUnexplained() != nil
    }

    /// How often a history is looked at again to make it smaller.
    private static let attemptCountMax = 300

    /// Applies `change` to as many of the chosen operations as leave the history failing, in ever smaller groups.
    private static func weaken(
        _ operations: [RegisterOperation], initial: Int?, where isChosen: (RegisterOperation) -> Bool,
        by change: (RegisterOperation) -> RegisterOperation?
    ) -> [RegisterOperation] {
        var kept: [RegisterOperation?] = operations
        var size = max(1, operations.count / 2)
        var attempts = 0
        while true {
            let chosen = kept.indices.filter { index in kept[index].map(isChosen) ?? false }
            for first in stride(from: 0, to: chosen.count, by: size) where attempts < attemptCountMax {
                attempts += 1
                var attempt = kept
                for index in chosen[first..<min(first + size, chosen.count)] {
                    attempt[index] = attempt[index].flatMap(change)
                }
                if fails(attempt.compactMap(\.self), initial) { kept = attempt }
            }
            guard size > 1 else { break }
            size /= 2
        }
        return kept.compactMap(\.self)
    }

    /// Without changes that nobody has seen. While a refusal is left, any change may be what it was refused for.
    private static func withoutUnseen(_ operations: [RegisterOperation]) -> [RegisterOperation] {
        guard !operations.contains(where: { if case .refusedSwap = $0.action { true } else { false } }) else {
            return operations
        }
        var rest = operations
        while true {
            let seen = Set(rest.compactMap(\.action.seen))
            let fewer = rest.filter { operation in
                guard operation.end == nil, let made = operation.action.made else { return true }
                return seen.contains(made)
            }
            guard fewer.count < rest.count else { return rest }
            rest = fewer
        }
    }
}
