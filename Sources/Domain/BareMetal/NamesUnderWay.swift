import AgentProtocol
import CatalogBareMetal
import Synchronization

/// The names that machines are just being given, so that those of one moment do not all try for one number.
///
/// The marks in the store are what keeps two machines from having one name; this only spares tries that would fail.
final class NamesUnderWay: Sendable {
    private struct State {
        var names: [String: Int] = [:]
        /// For names with `{n}` in place of their number, below which number all are nodes', as of how many names were freed.
        var floors: [String: (freed: UInt64, number: Int)] = [:]
    }

    /// Rules have few names; those with facts in them are forgotten again.
    private static let floorCountMax = 1000

    private let state = Mutex(State())

    /// A name that is under way for as long as this is held.
    final class Hold: Sendable {
        private let owner: NamesUnderWay
        private let name: String

        init(_ owner: NamesUnderWay, _ name: String) {
            self.owner = owner
            self.name = name
        }

        deinit { owner.release(name) }
    }

    /// Chooses a name while nobody else does: one that is neither in `catalog` nor under way, nor in `taken`.
    func choose(
        for decision: RuleDecision, _ inventory: InventoryReport, otherwise: String, catalog: NodeNames,
        taken: Set<String>
    ) -> (NodeNaming.Outcome, Hold) {
        let outcome = state.withLock { state in
            var start = 1
            var known = 0
            var isLeading = true
            let (names, floors) = (state.names, state.floors)
            let outcome = NodeNaming.name(for: decision, inventory: inventory, otherwise: otherwise) { pattern in
                start = floors[pattern].flatMap { $0.freed == catalog.freed ? $0.number : nil } ?? 1
                return start
            } isTaken: { name in
                let isKnown = catalog.contains(name)
                isLeading = isLeading && isKnown
                if isLeading { known += 1 }
                return isKnown || names[name] != nil || taken.contains(name)
            }
            if let pattern = outcome.numbered {
                if state.floors.count >= Self.floorCountMax { state.floors = [:] }
                state.floors[pattern] = (catalog.freed, start + known)
            }
            state.names[outcome.name, default: 0] += 1
            return outcome
        }
        return (outcome, Hold(self, outcome.name))
    }

    private func release(_ name: String) {
        state.withLock { state in
            let left = (state.names[name] ?? 1) - 1
            state.names[name] = left > 0 ? left : nil
        }
    }
}

/// Which names nodes have at one moment.
public struct NodeNames: Sendable {
    /// How often a name has become free; while it is the same, none has.
    public let freed: UInt64
    /// Whether a node has this name.
    public let contains: @Sendable (String) -> Bool

    /// Names of nodes.
    public init(freed: UInt64, contains: @escaping @Sendable (String) -> Bool) {
        self.freed = freed
        self.contains = contains
    }
}
