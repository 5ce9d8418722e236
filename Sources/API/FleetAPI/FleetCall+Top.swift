import APISupport
import CatalogBareMetal
import FleetContract
import Hummingbird
import Primitives
import ReconcileRuntime

extension FleetCall {
    /// Every node with its newest figures, by name; `state` and `name` choose some.
    func top() async throws -> Response {
        let limit = try number("limit", in: 1...FleetLimit.topCount, otherwise: FleetLimit.topCount)
        let nodes = services.cache.all(Node.self).compactMap(summary).sorted { ($0.name, $0.id) < ($1.name, $1.id) }
        var states: [String: Int] = [:]
        for node in nodes { states[node.state, default: 0] += 1 }
        let rows = nodes.prefix(limit).map { TopRow($0, vitals: services.live.vitals($0.id)) }
        return .json(TopReply(time: services.clock.now, states: states, nodes: rows))
    }
}
