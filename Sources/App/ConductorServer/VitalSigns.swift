import AgentProtocol
import FleetContract
import Primitives

/// Makes `NodeVitals` of a node's reports: what rises becomes a rate between one report and the next. A pure step.
struct VitalSigns: Hashable, Sendable {
    private struct Totals: Hashable {
        var time: Timestamp
        var processor = 0.0
        var idle = 0.0
        var received = 0.0
        var sent = 0.0
    }

    /// The newest.
    private(set) var vitals: NodeVitals?
    private var totals: Totals?

    /// Devices that carry what a card carries too.
    private static let virtualPrefixes = [
        "bond", "br", "lo", "ovs", "tap", "tun", "veth", "virbr", "vlan", "vnet", "vxlan",
    ]

    /// Takes a report that came at `now`.
    mutating func take(_ report: MetricsReport, at now: Timestamp) {
        var vitals = NodeVitals(reported: now)
        var totals = Totals(time: report.time)
        var memory: (total: Double?, available: Double?)
        var pools: [String: (size: Double?, free: Double?)] = [:]
        for sample in report.samples where sample.value.isFinite {
            switch sample.name {
            case "node_cpu_seconds_total":
                totals.processor += sample.value
                if let mode = sample.labels["mode"], mode == "idle" || mode == "iowait" { totals.idle += sample.value }
            case "node_network_receive_bytes_total" where Self.isCard(sample): totals.received += sample.value
            case "node_network_transmit_bytes_total" where Self.isCard(sample): totals.sent += sample.value
            case "node_load1": vitals.load = sample.value
            case "node_memory_MemTotal_bytes": memory.total = sample.value
            case "node_memory_MemAvailable_bytes": memory.available = sample.value
            case "muster_storage_pool_size_bytes":
                pools[sample.labels["pool"] ?? "", default: (nil, nil)].size = sample.value
            case "muster_storage_pool_free_bytes":
                pools[sample.labels["pool"] ?? "", default: (nil, nil)].free = sample.value
            case "muster_agent_round_trip_seconds": vitals.roundTripSeconds = sample.value
            case "muster_node_clock_offset_seconds": vitals.clockOffsetSeconds = sample.value
            default: break
            }
        }
        if let total = memory.total, total >= 1, total < 1e18 {
            vitals.memory = ByteCount(bytes: UInt64(total))
            vitals.memoryShare = memory.available.map { Self.share(1 - $0 / total) }
        }
        vitals.poolShare = pools.values.compactMap { pool in
            guard let size = pool.size, let free = pool.free, size > 0 else { return nil }
            return Self.share(1 - free / size)
        }.max()
        if let before = self.totals {
            let seconds = report.time.since(before.time) / .seconds(1)
            // Counters begin anew with each boot, and a clock may have been set.
            if seconds > 0.5, seconds < 3600 {
                let processor = totals.processor - before.processor
                let idle = totals.idle - before.idle
                if processor > 0, idle >= 0 { vitals.processorShare = Self.share(1 - idle / processor) }
                vitals.receivedRate = Self.rate(totals.received - before.received, seconds)
                vitals.sentRate = Self.rate(totals.sent - before.sent, seconds)
            }
        }
        self.vitals = vitals
        self.totals = totals
    }

    /// Nil for a counter that began anew, and for sums that no card can have carried: JSON has no infinity.
    private static func rate(_ difference: Double, _ seconds: Double) -> Double? {
        difference >= 0 && difference.isFinite ? difference / seconds : nil
    }

    private static func share(_ value: Double) -> Double { min(1, max(0, value)) }

    private static func isCard(_ sample: MetricsReport.Sample) -> Bool {
        let device = sample.labels["device"] ?? ""
        return !virtualPrefixes.contains { device.hasPrefix($0) }
    }
}
