import AgentProtocol
import Primitives
import Synchronization

/// Which stream of each node is the newest one.
final class NewestSessions: Sendable {
    private let sessions = Mutex<[NodeID: UInt64]>([:])
    /// At most as many as nodes have had a stream in this run; none is forgotten, as its next view may be this run's.
    private let greeted = Mutex<Set<NodeID>>([])

    func open(_ node: NodeID, _ session: UInt64) {
        sessions.withLock { $0[node] = max($0[node] ?? 0, session) }
    }

    /// Whether the node has not come before in this run of the conductor.
    func greet(_ node: NodeID) -> Bool { greeted.withLock { $0.insert(node).inserted } }

    /// Whether no newer stream has taken its place.
    func isNewest(_ node: NodeID, _ session: UInt64) -> Bool { sessions.withLock { $0[node] == session } }

    /// Forgets the session; false when a newer one has taken its place.
    func close(_ node: NodeID, _ session: UInt64) -> Bool {
        sessions.withLock { sessions in
            guard sessions[node] == session else { return false }
            sessions[node] = nil
            return true
        }
    }

    /// The nodes with a stream that a change may concern.
    func nodes(among concerned: ViewBoard.Concerned) -> [NodeID] {
        sessions.withLock { sessions in
            guard case .some(let names) = concerned else { return Array(sessions.keys) }
            return names.compactMap { try? NodeID($0) }.filter { sessions[$0] != nil }
        }
    }
}
