import APISupport
import AgentProtocol
import BareMetal
import CatalogBareMetal
import FleetContract
import HTTPTypes
import Hummingbird
import NIOCore
import Primitives
import ReconcileRuntime
import ResourceModel

extension FleetCall {
    /// The conductor's own figures.
    func conductorMetrics() async throws -> Response {
        let nodes = services.cache.all(Node.self)
        var states: [String: Int] = [:]
        for node in nodes { states[node.status.state.name, default: 0] += 1 }
        for state in NodeState.all where states[state.name] == nil { states[state.name] = 0 }
        var samples = ProcessFigures.now()
        samples.append(
            MetricsReport.Sample(
                name: "muster_conductor_info", labels: ["version": services.conductor.version], value: 1))
        samples.append(
            MetricsReport.Sample(
                name: "muster_store_revision", value: Double(services.cache.revision.number)))
        samples += states.sorted { $0.key < $1.key }.map { state, count in
            MetricsReport.Sample(name: "muster_nodes", labels: ["state": state], value: Double(count))
        }
        samples += nodes.filter(\.spec.isInMaintenance).map { node in
            MetricsReport.Sample(name: "muster_node_maintenance", labels: ["node": node.spec.name], value: 1)
        }
        samples += bmcSamples()
        samples.append(
            MetricsReport.Sample(name: "muster_agents_connected", value: Double(services.live.agentCount())))
        samples += counters.samples + services.conductor.samples()
        return Self.prometheus(PrometheusText.render(samples))
    }

    /// How many machines are on, off, and not known to be either; and what their BMCs' sensors tell.
    private func bmcSamples() -> [MetricsReport.Sample] {
        let bmcs = services.cache.all(BMC.self)
        let counts = PowerState.allCases.map { state in
            MetricsReport.Sample(
                name: "muster_bmcs", labels: ["power": state.rawValue],
                value: Double(bmcs.count { $0.status.power == state }))
        }
        let sensors = bmcs.flatMap { bmc in
            (services.live.sensors(bmc.metadata.name)?.readings ?? []).map { reading in
                MetricsReport.Sample(
                    name: "muster_bmc_sensor",
                    labels: ["bmc": bmc.metadata.name, "sensor": reading.name, "unit": reading.unit.rawValue],
                    value: reading.value)
            }
        }
        return counts + sensors
    }

    /// A node's figures as its agent sent them last.
    func nodeMetrics() async throws -> Response {
        let node = try node()
        guard let text = services.live.metrics(try node.id, node.spec.name) else {
            throw APIError.notFound(
                "'\(node.spec.name)' has sent no figures lately; 'muster node why \(node.spec.name)' tells more.")
        }
        return Self.prometheus(text)
    }

    /// The nodes that have figures, as Prometheus' HTTP service discovery wants them (prometheus.io, `http_sd_config`).
    func metricTargets() async throws -> Response {
        let known = Dictionary(
            services.cache.all(Node.self).map { ($0.metadata.name, $0) },
            uniquingKeysWith: { first, _ in first })
        // The name by which the caller reached this conductor is one that its own scrapes can use.
        let target = request.head.authority ?? "localhost"
        let targets = services.live.metricNodes().compactMap { id -> MetricsTarget? in
            guard let node = known[id.raw] else { return nil }
            let labels = [
                "__metrics_path__": "\(FleetPath.metrics)/nodes/\(id)", "__scheme__": "https",
                "instance": node.spec.name, "role": node.spec.role?.rawValue ?? "",
            ]
            return MetricsTarget(targets: [target], labels: labels)
        }
        return .json(targets)
    }

    private static func prometheus(_ text: String) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
