import AgentProtocol
import Synchronization

/// Counts what agents send and how their streams come and go, for Prometheus.
final class StreamCounters: Sendable {
    private struct Counts {
        var messages: [String: UInt64] = [:]
        var opened: UInt64 = 0
        var ended: UInt64 = 0
        /// The nodes that came with a view of a later store than there is.
        var ahead: Set<NodeID> = []
    }

    private let counts = Mutex(Counts())

    func count(_ message: AgentMessage) {
        let kind =
            switch message {
            case .hello: "hello"
            case .status: "status"
            case .metrics: "metrics"
            case .logs: "logs"
            case .renew: "renew"
            case .secrets: "secrets"
            }
        counts.withLock { $0.messages[kind, default: 0] += 1 }
    }

    func countOpened() { counts.withLock { $0.opened += 1 } }

    func countEnded() { counts.withLock { $0.ended += 1 } }

    /// Notes that a node has seen a later store; true for the first.
    func countAhead(_ node: NodeID) -> Bool {
        counts.withLock { counts in
            let isFirst = counts.ahead.isEmpty
            counts.ahead.insert(node)
            return isFirst
        }
    }

    var samples: [MetricsReport.Sample] {
        let now = counts.withLock { $0 }
        let messages = now.messages.sorted { $0.key < $1.key }.map { kind, count in
            MetricsReport.Sample(
                name: "muster_agent_messages_total", labels: ["kind": kind], value: Double(count), isCounter: true)
        }
        return messages + [
            .init(name: "muster_agent_streams_opened_total", value: Double(now.opened), isCounter: true),
            .init(name: "muster_agent_streams_ended_total", value: Double(now.ended), isCounter: true),
            .init(name: "muster_agents_ahead_of_store", value: Double(now.ahead.count)),
        ]
    }
}
