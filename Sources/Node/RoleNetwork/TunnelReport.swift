import AgentProtocol
import Primitives

/// Tells what probes found: as checks, of which those that do not hold name the end and what to look at, and as figures.
enum TunnelReport {
    /// The most ends that have a check of their own.
    static let conditionCountMax = 16
    /// The most ends that have figures of their own.
    static let sampleEndCountMax = 75

    /// The checks; texts change only when a verdict does.
    static func conditions(_ probes: TunnelProbes, now: Timestamp) -> [Condition] {
        let peers = probes.peers.values.sorted { $0.end.address < $1.end.address }
        guard !peers.isEmpty else { return [] }
        let cut = peers.filter { $0.reach.verdict == .down }
        let narrow = peers.filter { $0.reach.verdict == .up && $0.size.verdict == .down }
        var conditions: [Condition] = []
        func add(_ type: String, _ isTrue: Bool, _ message: String) {
            conditions.append(Condition(type: type, isTrue: isTrue, message: message, since: now))
        }
        for peer in cut.prefix(conditionCountMax) {
            let show = peer.end.name.map { " ('muster node show \($0)')" } ?? ""
            add(
                "Tunnel/\(peer.end.address)", false,
                "\(peer.end.title) does not answer echoes on the underlay. See whether that node is up\(show), whether "
                    + "this one has a route to it, and whether cables, switches and firewalls let ICMP and UDP 4789 pass."
            )
        }
        for peer in narrow.prefix(max(0, conditionCountMax - conditions.count)) {
            add(
                "TunnelMTU/\(peer.end.address)", false,
                "Packets of \(peer.end.packetSize) bytes do not get to \(peer.end.title) and back, small ones do. Raise "
                    + "the MTU of the interfaces and switches between, or lower 'overlay: mtu' in the site file.")
        }
        if cut.count > conditionCountMax {
            add("TunnelsReachable", false, "\(cut.count) of \(peers.count) tunnel ends do not answer echoes.")
        } else if cut.isEmpty {
            let rest = probes.unasked > 0 ? "; \(probes.unasked) more are too many to be asked" : ""
            add("TunnelsReachable", true, "All of \(peers.count) tunnel ends answer echoes on the underlay\(rest).")
        }
        return conditions
    }

    /// The figures; ends that do not answer come first where there are too many.
    static func samples(_ probes: TunnelProbes) -> [MetricsReport.Sample] {
        var samples: [MetricsReport.Sample] = []
        func add(_ name: String, _ labels: [String: String], _ value: Double, isCounter: Bool = false) {
            samples.append(
                MetricsReport.Sample(
                    name: "muster_network_tunnel\(name)", labels: labels, value: value, isCounter: isCounter))
        }
        for (state, verdict) in [("up", ProbeTrack.Verdict.up), ("down", .down), ("unknown", .unknown)] {
            let count = probes.peers.values.count { $0.reach.verdict == verdict }
            add("s", ["state": state], Double(count))
        }
        let peers = probes.peers.values.sorted {
            ($0.reach.verdict == .up ? 1 : 0, $0.end.address) < ($1.reach.verdict == .up ? 1 : 0, $1.end.address)
        }
        for peer in peers.prefix(sampleEndCountMax) {
            var labels = ["peer": "\(peer.end.address)"]
            if let name = peer.end.name { labels["peer_node"] = name }
            if peer.reach.verdict != .unknown { add("_up", labels, peer.reach.verdict == .up ? 1 : 0) }
            if peer.size.verdict != .unknown { add("_full_size_up", labels, peer.size.verdict == .up ? 1 : 0) }
            if peer.reach.verdict == .up, let time = peer.reach.roundTrip {
                add(
                    "_rtt_seconds", labels, Double(time.components.attoseconds) / 1e18 + Double(time.components.seconds)
                )
            }
            add("_probes_total", labels, Double(peer.reach.sent), isCounter: true)
            add("_lost_total", labels, Double(peer.reach.lost), isCounter: true)
        }
        return samples
    }
}
