import AgentProtocol
import FleetAPI
import Primitives
import Synchronization

/// The newest figures of each node, in memory only.
final class NodeMetrics: Sendable {
    private let reports = Mutex<[NodeID: (report: MetricsReport, received: Timestamp)]>([:])

    /// Figures older than this are not shown: a node that is gone has none.
    static let ageMax: Duration = .seconds(300)

    func take(_ report: MetricsReport, from node: NodeID, at now: Timestamp) {
        var bounded = report
        bounded.samples = Array(report.samples.prefix(MetricsReport.sampleCountMax))
        reports.withLock { $0[node] = (bounded, now) }
    }

    /// Forgets a node.
    func remove(_ node: NodeID) { reports.withLock { $0[node] = nil } }

    /// The nodes that have figures.
    func nodes(at now: Timestamp) -> [NodeID] {
        reports.withLock { reports in
            reports.filter { now.since($0.value.received) <= Self.ageMax }.map(\.key).sorted()
        }
    }

    /// Prometheus' text format (version 0.0.4); nil when the node has sent nothing lately.
    func text(for node: NodeID, name: String, at now: Timestamp) -> String? {
        guard let (report, received) = reports.withLock({ $0[node] }), now.since(received) <= Self.ageMax else {
            return nil
        }
        return PrometheusText.render(report.samples, labels: ["node": name])
    }
}
