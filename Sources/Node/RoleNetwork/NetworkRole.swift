import AgentProtocol
import LinuxSystem
import NodeAgent
import Primitives

/// The network role: overlays, each a VXLAN device in a bridge, the rules that guard their tunnels, and whether the other
/// ends of the tunnels can be reached.
public actor NetworkRole: RoleModule {
    /// The most overlays of one node.
    public static let overlayCountMax = 4096

    public nonisolated let role = Role.network
    public nonisolated let itemKinds: Set<String> = [OverlayItem.kind]

    private let clock: any WallClock
    private var items: [OverlayItem] = []
    private var unreadable: [String] = []
    private var conditions: [String: Condition] = [:]
    private let prober: TunnelProber
    private var hasSettled = false

    /// A role that takes the times of its conditions from `clock`.
    public init(clock: any WallClock = SystemWallClock()) { self.init(clock: clock, times: ProbeTimes()) }

    init(clock: any WallClock = SystemWallClock(), times: ProbeTimes) {
        self.clock = clock
        prober = TunnelProber(times: times)
    }

    public func apply(_ items: [String: NodeView.Item]) async -> NodeStatusReport.RoleStatus {
        (self.items, unreadable) = Self.read(items)
        let made = status {
            $0.apply(self.items, isComplete: self.unreadable.isEmpty)
        } problem: { _ in
            nil
        }
        prober.ask(Self.ends(self.items))
        // The first report tells of cut tunnels too: else a restarted agent would seem to have healed them.
        if !hasSettled, !self.items.isEmpty {
            await prober.settle()
            hasSettled = true
        }
        return adding(tunnels: made)
    }

    public func check() -> NodeStatusReport.RoleStatus {
        let found = status {
            $0.check(self.items, isComplete: self.unreadable.isEmpty)
        } problem: { changes in
            changes == 0 ? nil : "\(changes) changes were made by somebody else; they are undone within seconds."
        }
        return adding(tunnels: found)
    }

    public nonisolated func run(_ changed: @escaping @Sendable () -> Void) async { await prober.run(changed) }

    public func metrics() -> [MetricsReport.Sample] {
        Self.samples(items, KernelFigures.read().interfaces) + TunnelReport.samples(prober.probes)
    }

    static func samples(
        _ items: [OverlayItem], _ counters: [String: KernelFigures.Interface]
    ) -> [MetricsReport.Sample] {
        var samples = [MetricsReport.Sample(name: "muster_network_overlays", value: Double(items.count))]
        for item in items.prefix(16) {
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

    /// The other ends of all tunnels, each once, with the largest packet of any.
    static func ends(_ items: [OverlayItem]) -> [TunnelEnd] {
        var ends: [IPv4Address: TunnelEnd] = [:]
        for item in items {
            for (index, address) in item.peers.enumerated() where address != item.local {
                let name = item.peerNames.flatMap { $0.indices.contains(index) ? $0[index].printable(limit: 63) : nil }
                let size = max(Int(item.mtu) + OverlayPlan.tunnelOverhead, ends[address]?.packetSize ?? 0)
                ends[address] = TunnelEnd(address: address, name: name ?? ends[address]?.name, packetSize: size)
            }
        }
        return Array(ends.values)
    }

    /// A tunnel that is cut is told, and is no reason for this node not to be ready: its own part is done.
    private func adding(tunnels status: NodeStatusReport.RoleStatus) -> NodeStatusReport.RoleStatus {
        var status = status
        if let problem = prober.problem {
            let message = "The other ends of tunnels cannot be asked: \(problem)"
            status.conditions.append(
                Condition(type: "TunnelsReachable", isTrue: false, message: message, since: clock.now))
        } else {
            status.conditions += TunnelReport.conditions(prober.probes, now: clock.now)
        }
        return status
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
