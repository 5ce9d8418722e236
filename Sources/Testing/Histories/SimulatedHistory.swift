import Primitives

/// Histories of simulated clients of one true copy: what checkers are tested with.
///
/// Each operation takes effect at one moment between its start and its answer; some answers are lost, and of those
/// operations some take effect late and others never. The same seed gives the same history.
public struct SimulatedHistory {
    /// What is simulated.
    public struct Shape: Sendable {
        public var clients: Int
        public var operations: Int
        public var keys: Int
        /// Of a hundred changes, how many get no answer.
        public var lostPercent: Int

        public init(clients: Int = 8, operations: Int = 1000, keys: Int = 4, lostPercent: Int = 3) {
            self.clients = clients
            self.operations = operations
            self.keys = keys
            self.lostPercent = lostPercent
        }
    }

    private struct Moment {
        var client: Int
        var start: Int64
        var effect: Int64
        var end: Int64
        var isLost: Bool
        var never: Bool
    }

    private var random: SeededRandom
    private let shape: Shape

    public init(seed: UInt64, shape: Shape = Shape()) {
        random = SeededRandom(seed: seed)
        self.shape = shape
    }

    /// Registers that are read, written and changed under a condition.
    public mutating func registers() -> [RegisterOperation] {
        var values: [Int: Int] = [:]
        var next = 1
        var history: [RegisterOperation] = []
        for moment in moments() {
            let key = Int.random(in: 0..<shape.keys, using: &random)
            let value = values[key, default: 0]
            let action: RegisterOperation.Action
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5: action = .read(value)
            case 5..<8: action = .write(next)
            default:
                let isRight = Int.random(in: 0..<3, using: &random) > 0
                let from = isRight ? value : max(0, value - 1)
                action = from == value ? .swap(from: from, to: next) : .refusedSwap(from: from)
            }
            // Whose look got no answer has nothing to tell.
            guard action.isChange || !moment.isLost else { continue }
            if action.isChange {
                if !(moment.isLost && moment.never) { values[key] = next }
                next += 1
            }
            history.append(
                RegisterOperation(
                    key: "r\(key)", client: moment.client, start: moment.start, end: moment.isLost ? nil : moment.end,
                    action: action))
        }
        return history
    }

    /// A set to which is added, from which is removed, and that is read as a whole.
    public mutating func set() -> [SetOperation] {
        // When those were acknowledged that may be removed.
        var acknowledged: [String: Int64] = [:]
        var there: Set<String> = []
        var history: [SetOperation] = []
        var next = 0
        for moment in moments() {
            var action = SetOperation.Action.list(there)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3:
                let name = "e\(next)"
                next += 1
                action = .add(name)
                if !moment.isLost { acknowledged[name] = moment.end }
                if !(moment.isLost && moment.never) { there.insert(name) }
            case 3..<6:
                guard let gone = acknowledged.filter({ $0.value < moment.start }).keys.min() else { break }
                acknowledged[gone] = nil
                action = .remove(gone)
                if !(moment.isLost && moment.never) { there.remove(gone) }
            default: break
            }
            if case .list = action, moment.isLost { continue }
            history.append(
                SetOperation(
                    client: moment.client, start: moment.start, end: moment.isLost ? nil : moment.end, action: action))
        }
        return history
    }

    /// Each client's operations one after the other, all sorted by the moment at which they take effect.
    private mutating func moments() -> [Moment] {
        var free = [Int64](repeating: 0, count: shape.clients)
        var moments: [Moment] = []
        for _ in 0..<shape.operations {
            let client = Int.random(in: 0..<shape.clients, using: &random)
            let start = free[client] + Int64.random(in: 1...1000, using: &random) * 1000
            let effect = start + Int64.random(in: 0...5000, using: &random) * 1000
            let end = effect + Int64.random(in: 0...5000, using: &random) * 1000
            let isLost = Int.random(in: 0..<100, using: &random) < shape.lostPercent
            let late = isLost ? effect + Int64.random(in: 0...100_000, using: &random) * 1000 : effect
            free[client] = end
            moments.append(
                Moment(
                    client: client, start: start, effect: late, end: end, isLost: isLost,
                    never: Int.random(in: 0..<2, using: &random) == 0))
        }
        return moments.sorted { $0.effect < $1.effect }
    }
}
