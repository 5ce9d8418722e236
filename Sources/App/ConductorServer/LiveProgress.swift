import AgentProtocol
import CatalogBareMetal
import Primitives
import Synchronization

/// What is known of machines from minute to minute and never stored: who was heard when, how far images are.
final class LiveProgress: Sendable {
    private struct Entry {
        var heard: Timestamp
        var progress: Node.Progress?
        var stored = Timestamp(millisecondsSinceEpoch: 0)
    }

    private let entries = Mutex<[NodeID: Entry]>([:])

    /// How often progress reaches the store.
    static let storeInterval: Duration = .seconds(20)

    func heard(_ node: NodeID, at now: Timestamp) {
        entries.withLock { $0[node, default: Entry(heard: now)].heard = now }
    }

    /// Forgets a node.
    func remove(_ node: NodeID) { entries.withLock { $0[node] = nil } }

    /// A new image is begun: what was told of the one before is not shown any more.
    func begin(_ node: NodeID) { entries.withLock { $0[node]?.progress = nil } }

    /// Remembers `progress`; true when it is time to store it.
    func shouldStore(_ node: NodeID, _ progress: Node.Progress, at now: Timestamp) -> Bool {
        entries.withLock { entries in
            var entry = entries[node, default: Entry(heard: now)]
            entry.progress = progress
            let isDue = now.since(entry.stored) >= Self.storeInterval
            if isDue { entry.stored = now }
            entries[node] = entry
            return isDue
        }
    }

    /// How far the node's image is, as last told.
    func progress(of node: NodeID) -> Node.Progress? { entries.withLock { $0[node]?.progress } }

    /// When the machine was last heard.
    func lastHeard(_ node: NodeID) -> Timestamp? { entries.withLock { $0[node]?.heard } }
}
