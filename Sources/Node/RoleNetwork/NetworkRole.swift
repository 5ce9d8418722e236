import AgentProtocol
import LinuxSystem
import NodeAgent
import Primitives

/// The network role: overlays, each a VXLAN device in a bridge, and the rules that guard their tunnels.
public actor NetworkRole: RoleModule {
    /// The most overlays of one node.
    public static let overlayCountMax = 4096

    public nonisolated let role = Role.network
    public nonisolated let itemKinds: Set<String> = [OverlayItem.kind]

    private let clock: any WallClock
    private var items: [OverlayItem] = []
    private var unreadable: [String] = []
    private var conditions: [String: Condition] = [:]

    /// A role that takes the times of its conditions from `clock`.
    public init(clock: any WallClock = SystemWallClock()) { self.clock = clock }

    public func apply(_ items: [String: NodeView.Item]) -> NodeStatusReport.RoleStatus {
        (self.items, unreadable) = Self.read(items)
        return status {
            $0.apply(self.items, isComplete: self.unreadable.isEmpty)
        } problem: { _ in
            nil
        }
    }

    public func check() -> NodeStatusReport.RoleStatus {
        status {
            $0.check(self.items, isComplete: self.unreadable.isEmpty)
        } problem: { changes in
            changes == 0 ? nil : "\(changes) changes were made by somebody else; they are undone within seconds."
        }
    }

    public func metrics() -> [MetricsReport.Sample] {
        let counters = KernelFigures.read().interfaces
        var samples = [MetricsReport.Sample(name: "muster_network_overlays", value: Double(items.count))]
        for item in items.prefix(80) {
            let labels = ["device": item.device, "bridge": item.bridge, "vni": "\(item.vni)"]
            samples.append(
                MetricsReport.Sample(
                    name: "muster_network_overlay_peers", labels: labels, value: Double(item.peers.count)))
            guard let figures = counters[item.device] else { continue }
            let values = [
                ("receive_bytes", figures.bytesReceived), ("receive_packets", figures.packetsReceived),
                ("transmit_bytes", figures.bytesSent), ("transmit_packets", figures.packetsSent),
                ("transmit_drops", figures.sendDrops),
            ]
            samples += values.map { name, value in
                MetricsReport.Sample(
                    name: "muster_network_overlay_\(name)_total", labels: labels, value: Double(value),
                    isCounter: true)
            }
        }
        return samples
    }

    /// The overlays that `items` hold, by key, and what cannot be read.
    static func read(_ items: [String: NodeView.Item]) -> ([OverlayItem], [String]) {
        var overlays: [OverlayItem] = []
        var problems: [String] = []
        for (key, item) in items.sorted(by: { $0.key < $1.key }) {
            guard let overlay = try? item.decode(OverlayItem.self) else {
                problems.append(
                    "'\(key.printable(limit: 80))' is not an overlay that this agent understands; upgrade it.")
                continue
            }
            overlays.append(overlay)
        }
        if overlays.count > overlayCountMax {
            problems.append("\(overlays.count) overlays are too many; \(overlayCountMax) are made.")
        }
        return (Array(overlays.prefix(overlayCountMax)), problems)
    }

    private func status(
        _ work: (NetworkDataplane) -> (overlays: NetworkDataplane.Outcome, rules: NetworkDataplane.Outcome),
        problem: (Int) -> String?
    ) -> NodeStatusReport.RoleStatus {
        var overlays = NetworkDataplane.Outcome()
        var rules = NetworkDataplane.Outcome()
        do throws(SystemError) {
            (overlays, rules) = work(try NetworkDataplane())
        } catch {
            overlays.problems.append(error.publicMessage)
            rules.problems.append(error.publicMessage)
        }
        overlays.problems = unreadable + overlays.problems + [problem(overlays.changes)].compactMap(\.self)
        rules.problems += [problem(rules.changes)].compactMap(\.self)
        let made = [
            condition("OverlayReady", overlays.problems, fine: "\(items.count) overlays are in the kernel."),
            condition("TunnelRulesReady", rules.problems, fine: "The nftables table is in the kernel."),
        ]
        return NodeStatusReport.RoleStatus(role: role, isReady: made.allSatisfy(\.isTrue), conditions: made)
    }

    /// A condition whose time is that of its last change.
    private func condition(_ type: String, _ problems: [String], fine: String) -> Condition {
        let message = problems.isEmpty ? fine : problems.joined(separator: " ").printable(limit: 1000)
        var made = Condition(type: type, isTrue: problems.isEmpty, message: message, since: clock.now)
        if let before = conditions[type], before.isTrue == made.isTrue { made.since = before.since }
        conditions[type] = made
        return made
    }
}
