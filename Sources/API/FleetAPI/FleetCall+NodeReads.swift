import APISupport
import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import FleetContract
import Hummingbird
import Primitives
import ReconcileRuntime
import ResourceModel

extension FleetCall {
    // MARK: Finding nodes

    var reads: FleetReads { FleetReads(services: services, watches: counters.watches) }

    /// The node that the path names, by name or identifier; throws 404, or 409 when two have the name.
    func node() throws -> Node { try reads.node(try parameter("node")) }

    func summary(_ node: Node) -> NodeSummary? { reads.summary(node) }

    func nodeNames() -> [NodeID: String] {
        var names: [NodeID: String] = [:]
        for node in services.cache.all(Node.self) {
            if let id = try? node.id { names[id] = node.spec.name }
        }
        return names
    }

    // MARK: Lists

    func listNodes() async throws -> Response {
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: FleetLimit.pageCount)
        let state = try stateFilter()
        let role = try roleFilter()
        let prefix = query("name")
        var last: (key: String, name: String)?
        if let marker = query("marker") {
            let parts = marker.split(separator: "~", omittingEmptySubsequences: false)
            guard parts.count == 2, let id = try? NodeID(String(parts[1])) else {
                throw InvalidValue("marker", marker, expected: "the 'next' of the page before")
            }
            last = (String(parts[0]), id.raw)
        } else if let prefix {
            last = (prefix, "")
        }
        let snapshot = services.cache.snapshot()
        let nodes = snapshot.page(FleetReads.nodesByName, after: last, limit: limit + 1) { node in
            (state == nil || node.status.state.name == state) && (role == nil || node.spec.role == role)
                && (prefix.map(node.spec.name.hasPrefix) ?? true)
        }
        let (reads, segments) = (reads, reads.segments())
        let page = nodes.prefix(limit)
        let next = nodes.count > limit ? page.last.map { "\($0.value.spec.name)~\($0.value.metadata.name)" } : nil
        return .json(
            bytes: try services.summaries.page(
                page, of: snapshot.count(Node.self), revision: snapshot.revision, next: next, segments: segments
            ) { reads.summary($0, in: segments) })
    }

    private func stateFilter() throws -> String? {
        guard let text = query("state") else { return nil }
        let wanted = text.split { "-_+ ".contains($0) }.joined(separator: " ")
        let names = Array(Set(NodeState.all.map(\.name))).sorted()
        guard names.contains(wanted) else {
            throw InvalidValue("state", text, expected: "one of " + names.joined(separator: ", "))
        }
        return wanted
    }

    private func roleFilter() throws -> Role? {
        guard let text = query("role") else { return nil }
        guard let role = Role(rawValue: text) else {
            throw InvalidValue(
                "role", text, expected: "one of " + Role.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return role
    }

    // MARK: One node

    func showNode() async throws -> Response { .json(try await reads.detail(of: try node())) }

    func inventory() async throws -> Response {
        let node = try node()
        guard let digest = node.status.inventory else {
            throw APIError.notFound(
                "'\(node.spec.name)' has not been inventoried yet; boot it over the network, for example with "
                    + "'muster node power \(node.spec.name) reset'.")
        }
        let bytes = try await services.blobs.get(digest)
        return .json(bytes: bytes)
    }

    func why() async throws -> Response { .json(try await reads.why(try node())) }

    // MARK: Events

    func nodeEvents() async throws -> Response {
        let node = try node()
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: 100)
        return .json(RecordList(items: try await reads.events(of: node, limit: limit)))
    }

    func events() async throws -> Response {
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: 100)
        let names = nodeNames()
        var newest: [EventRecord] = []
        var after: ResourceKey?
        while true {
            let page = try await services.store.list(
                kind: NodeEvent.kind, after: after, limit: StoreLimits.pageCountMax)
            newest += try page.documents.map { try FleetReads.record(of: $0, name: nil) }
            newest.sort { ($0.time, $0.key) > ($1.time, $1.key) }
            newest.removeLast(max(0, newest.count - limit))
            guard page.hasMore, let last = page.documents.last else { break }
            after = last.key
        }
        for index in newest.indices { newest[index].nodeName = names[newest[index].node] }
        return .json(RecordList(items: newest))
    }
}
