import AgentProtocol
import Primitives
import Synchronization

/// Which stream of each node is the newest one.
final class NewestSessions: Sendable {
    private let sessions = Mutex<[NodeID: Newest]>([:])
    /// At most as many as nodes have had a stream in this run; none is forgotten, as its next view may be this run's.
    private let greeted = Mutex<Set<NodeID>>([])

    private struct Newest {
        var session: UInt64
        var hello: AgentHello
        /// The newest view that the agent has told of.
        var seen: Revision
    }

    func open(_ node: NodeID, _ session: UInt64, _ hello: AgentHello) {
        sessions.withLock { sessions in
            if let known = sessions[node], known.session > session { return }
            sessions[node] = Newest(session: session, hello: hello, seen: hello.viewRevision)
        }
    }

    /// Notes which view the agent goes by.
    func note(_ node: NodeID, _ session: UInt64, seen revision: Revision) {
        sessions.withLock { sessions in
            guard let newest = sessions[node], newest.session == session, newest.seen < revision else { return }
            sessions[node]?.seen = revision
        }
    }

    /// How many nodes with a stream have not told yet of a view of `revision` or newer.
    func count(behind revision: Revision) -> Int { sessions.withLock { $0.values.count { $0.seen < revision } } }

    /// The newest stream of a node and what it began with; nil: it has none here.
    func newest(of node: NodeID) -> (session: UInt64, hello: AgentHello)? {
        sessions.withLock { $0[node] }.map { ($0.session, $0.hello) }
    }

    /// Whether the node has not come before in this run of the conductor.
    func greet(_ node: NodeID) -> Bool { greeted.withLock { $0.insert(node).inserted } }

    /// Whether no newer stream has taken its place.
    func isNewest(_ node: NodeID, _ session: UInt64) -> Bool { sessions.withLock { $0[node]?.session == session } }

    /// Forgets the session; false when a newer one has taken its place.
    func close(_ node: NodeID, _ session: UInt64) -> Bool {
        sessions.withLock { sessions in
            guard sessions[node]?.session == session else { return false }
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
