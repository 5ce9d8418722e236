import AgentProtocol
import FleetAPI
import FleetContract
import Primitives
import Synchronization

/// The newest figures of each node, in memory only.
final class NodeMetrics: Sendable {
    private let reports = Mutex<[NodeID: (report: MetricsReport, received: Timestamp)]>([:])

    private let signs = Mutex<[NodeID: VitalSigns]>([:])
    private let clocks = Mutex<[NodeID: ClockWatch]>([:])

    /// Figures older than this are not shown: a node that is gone has none.
    static let ageMax: Duration = .seconds(300)

    /// Keeps a report, and tells when the node's clock has left the conductor's or come back to it: then how many
    /// milliseconds it is ahead, nil in step; nothing when that has not changed.
    ///
    /// `roundTrip` is that of its stream, as measured here.
    func take(
        _ report: MetricsReport, from node: NodeID, roundTrip: Duration? = nil, at now: Timestamp
    ) -> ClockNews? {
        var bounded = report
        bounded.samples = Array(report.samples.prefix(MetricsReport.sampleCountMax - 2))
        let offset = report.time.since(now).milliseconds
        bounded.samples.append(.init(name: "muster_node_clock_offset_seconds", value: Double(offset) / 1000))
        if let roundTrip {
            bounded.samples.append(.init(name: "muster_agent_round_trip_seconds", value: roundTrip / .seconds(1)))
        }
        reports.withLock { $0[node] = (bounded, now) }
        signs.withLock { $0[node, default: VitalSigns()].take(bounded, at: now) }
        return clocks.withLock { $0[node, default: ClockWatch()].take(offset) }
    }

    /// Forgets a node.
    func remove(_ node: NodeID) {
        reports.withLock { $0[node] = nil }
        clocks.withLock { $0[node] = nil }
        signs.withLock { $0[node] = nil }
    }

    /// How it goes with a node; nil when it has sent nothing lately.
    func vitals(of node: NodeID, at now: Timestamp) -> NodeVitals? {
        guard let vitals = signs.withLock({ $0[node]?.vitals }), now.since(vitals.reported) <= Self.ageMax else {
            return nil
        }
        return vitals
    }

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

/// A change in what is known of a node's clock.
struct ClockNews: Hashable, Sendable {
    /// How many milliseconds it is ahead; nil: it is in step.
    var offset: Int64?
}

/// Watches one node's clock: over a second, twice in a row, is wrong, since one report may have been long on its way;
/// under half a second is right again.
struct ClockWatch: Hashable, Sendable {
    private var lateCount = 0
    /// nil until the first report: the node's record may be of another run of the conductor.
    private var isWrong: Bool?

    mutating func take(_ offset: Int64) -> ClockNews? {
        if offset.magnitude > 1000 {
            lateCount += 1
            guard lateCount >= 2, isWrong != true else { return nil }
            isWrong = true
            return ClockNews(offset: offset)
        }
        lateCount = 0
        guard offset.magnitude < 500, isWrong != false else { return nil }
        isWrong = false
        return ClockNews(offset: nil)
    }
}
