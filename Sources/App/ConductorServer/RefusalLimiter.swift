import AgentProtocol
import Primitives
import Synchronization

/// Lets one refusal a minute and node be recorded, so that strangers cannot fill the audit log.
final class RefusalLimiter: Sendable {
    /// Between two records of one node.
    static let interval: Duration = .seconds(60)
    /// The most nodes that are remembered; then all may be recorded once more.
    static let nodeCountMax = 50_000

    private let last = Mutex<[NodeID: Timestamp]>([:])

    /// Whether a refusal of `node` may be recorded at `now`; the caller records it then.
    func mayRecord(_ node: NodeID, at now: Timestamp) -> Bool {
        last.withLock { last in
            if let before = last[node], now.since(before) < Self.interval { return false }
            if last.count >= Self.nodeCountMax { last.removeAll() }
            last[node] = now
            return true
        }
    }
}
