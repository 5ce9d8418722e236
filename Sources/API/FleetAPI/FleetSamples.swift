import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// What the conductor's figures tell of the fleet. A machine has at most four series of its own, a segment a dozen.
enum FleetSamples {
    typealias Sample = MetricsReport.Sample

    /// How many machines are in which state and phase, how long the longest is in each phase, and of each machine since
    /// when it is there, until when it waits, and whether its agent is there and ready.
    static func nodes(_ nodes: [Node], now: Timestamp) -> [Sample] {
        var states = Dictionary(NodeState.all.map { ($0.name, 0) }, uniquingKeysWith: { first, _ in first })
        var phases = Dictionary(
            DeployPhase.allCases.map { ($0, (count: 0, longest: Duration.zero)) },
            uniquingKeysWith: { first, _ in first })
        var own: [Sample] = []
        for node in nodes.sorted(by: { ($0.spec.name, $0.metadata.name) < ($1.spec.name, $1.metadata.name) }) {
            states[node.status.state.name, default: 0] += 1
            if case .deploying(let phase) = node.status.state, let entry = phases[phase] {
                phases[phase] = (entry.count + 1, max(entry.longest, now.since(node.status.since)))
            }
            own += samples(of: node)
        }
        return states.sorted { $0.key < $1.key }.map { state, count in
            Sample(name: "muster_nodes", labels: ["state": state], value: Double(count))
        }
            + TrustLevel.allCases.map { level in
                Sample(
                    name: "muster_nodes_by_trust", labels: ["trust": level.rawValue],
                    value: Double(nodes.count { $0.trust == level }))
            }
            + DeployPhase.allCases.flatMap { phase -> [Sample] in
                guard let entry = phases[phase] else { return [] }
                let labels = ["phase": phase.rawValue]
                return [
                    Sample(name: "muster_nodes_in_phase", labels: labels, value: Double(entry.count)),
                    Sample(
                        name: "muster_phase_longest_seconds", labels: labels, value: entry.longest / .seconds(1)),
                ]
            } + own
    }

    private static func samples(of node: Node) -> [Sample] {
        let status = node.status
        let names = ["node": node.spec.name, "role": node.spec.role?.rawValue ?? ""]
        let labels = names.merging(["state": status.state.name]) { $1 }
        var samples = [
            Sample(
                name: "muster_node_state_since_timestamp_seconds", labels: labels, value: seconds(status.since))
        ]
        guard !node.spec.isInMaintenance else {
            samples.append(Sample(name: "muster_node_maintenance", labels: ["node": node.spec.name], value: 1))
            return samples
        }
        if let wait = status.wait {
            samples.append(
                Sample(
                    name: "muster_node_wait_deadline_timestamp_seconds",
                    labels: labels.merging(["owner": wait.owner.rawValue]) { $1 }, value: seconds(wait.deadline)))
        }
        // In other states no agent is expected: the ramdisk runs, or nothing does.
        if status.state == .active, let agent = status.agent {
            samples.append(Sample(name: "muster_node_agent_up", labels: names, value: agent.isConnected ? 1 : 0))
            samples.append(Sample(name: "muster_node_ready", labels: names, value: agent.isReady ? 1 : 0))
        }
        return samples
    }

    /// How it goes with each segment, how many addresses it gives and has given.
    static func segments(_ segments: [Segment], _ leases: [Lease]) -> [Sample] {
        let given = Dictionary(grouping: leases, by: \.spec.segment)
        return segments.sorted { $0.metadata.name < $1.metadata.name }.flatMap { segment -> [Sample] in
            let name = segment.metadata.name
            let states: [Segment.State] = [.waiting, .serving, .blocked, .failed]
            var samples = states.map { state in
                Sample(
                    name: "muster_segment_state", labels: ["segment": name, "state": state.rawValue],
                    value: segment.status.state == state ? 1 : 0)
            }
            let size = segment.spec.pools.reduce(0) { sum, pool in
                sum + (pool.start <= pool.end ? Int(pool.end.value - pool.start.value) + 1 : 0)
            }
            samples.append(
                Sample(
                    name: "muster_segment_foreign_servers", labels: ["segment": name],
                    value: Double(segment.status.foreignServers.count)))
            samples.append(
                Sample(name: "muster_segment_addresses", labels: ["segment": name], value: Double(size)))
            let own = given[name] ?? []
            return samples
                + [Lease.Phase.bound, .quarantined].map { phase in
                    Sample(
                        name: "muster_leases", labels: ["segment": name, "phase": phase.rawValue],
                        value: Double(own.count { $0.status.phase == phase }))
                }
        }
    }

    /// How many machines are on, off, and not known to be either; whether each BMC answers, and what its sensors tell.
    static func bmcs(_ bmcs: [BMC], sensors: (String) -> [SensorReading]) -> [Sample] {
        let counts = PowerState.allCases.map { state in
            Sample(
                name: "muster_bmcs", labels: ["power": state.rawValue],
                value: Double(bmcs.count { $0.status.power == state }))
        }
        return counts
            + bmcs.sorted { $0.metadata.name < $1.metadata.name }.flatMap { bmc -> [Sample] in
                let name = bmc.metadata.name
                var samples = sensors(name).map { reading in
                    Sample(
                        name: "muster_bmc_sensor",
                        labels: ["bmc": name, "sensor": reading.name, "unit": reading.unit.rawValue],
                        value: reading.value)
                }
                if bmc.status.checked != nil {
                    samples.append(
                        Sample(
                            name: "muster_bmc_reachable", labels: ["bmc": name],
                            value: bmc.status.isReachable ? 1 : 0))
                }
                return samples
            }
    }

    private static func seconds(_ time: Timestamp) -> Double { Double(time.millisecondsSinceEpoch) / 1000 }
}
