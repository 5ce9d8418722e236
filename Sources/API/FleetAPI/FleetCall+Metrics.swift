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
    /// Which version answers, at once and from memory; proxies take a conductor that does not for gone.
    func version() throws -> Response {
        guard services.conductor.reachesStore() else {
            throw APIError(
                .serviceUnavailable, "store_unreachable",
                "This conductor has not reached its store for some seconds; ask another one, or try again.",
                headers: [.retryAfter: "2"])
        }
        return .json(VersionDocument(version: services.conductor.version))
    }

    /// Whether the conductor can be given work. Its reads are behind the barrier, so what is left to ask is the store.
    func ready() throws -> Response {
        guard services.conductor.isStoreWritable() else {
            throw APIError(
                .serviceUnavailable, "not_ready",
                "The conductor reads, but its store takes no writes; its log and muster_store_writable tell more.",
                headers: [.retryAfter: "10"])
        }
        return .json(ReadyReply(isReady: true))
    }

    /// The conductor's own figures.
    func conductorMetrics() async throws -> Response {
        var samples = ProcessFigures.now()
        samples.append(
            MetricsReport.Sample(
                name: "muster_conductor_info", labels: ["version": services.conductor.version], value: 1))
        samples.append(
            MetricsReport.Sample(
                name: "muster_store_revision", value: Double(services.cache.revision.number)))
        let barriers = services.cache.barrierCounts
        for (name, count) in [
            ("muster_store_barriers_total", barriers.asked), ("muster_store_barrier_reads_total", barriers.read),
            ("muster_store_barrier_failures_total", barriers.failed),
        ] {
            samples.append(MetricsReport.Sample(name: name, value: Double(count), isCounter: true))
        }
        let now = services.cache.snapshot()
        samples += FleetSamples.nodes(now.all(Node.self), now: services.clock.now)
        samples += FleetSamples.segments(now.all(Segment.self), now.all(Lease.self))
        samples += FleetSamples.bmcs(now.all(BMC.self)) { services.live.sensors($0)?.readings ?? [] }
        samples.append(
            MetricsReport.Sample(
                name: "muster_identity_conflicts", value: Double(now.all(IdentityConflict.self).count)))
        samples.append(
            MetricsReport.Sample(name: "muster_agents_connected", value: Double(services.live.agentCount())))
        samples += counters.samples + services.conductor.samples()
        return Self.prometheus(PrometheusText.render(samples))
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
