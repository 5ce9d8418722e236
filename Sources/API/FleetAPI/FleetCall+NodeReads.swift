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

    /// The node that the path names, by name or identifier; throws 404, or 409 when two have the name.
    func node() throws -> Node {
        let wanted = try parameter("node")
        if (try? NodeID(wanted)) != nil, let node = services.cache.get(Node.self, wanted) { return node }
        let named = services.cache.all(Node.self).filter { $0.spec.name == wanted }
        guard let node = named.first else {
            throw APIError.notFound(
                "There is no node '\(wanted.printable(limit: 80))'; 'muster node list' shows those there are.")
        }
        guard named.count == 1 else {
            let identifiers = named.map(\.metadata.name).sorted().joined(separator: ", ")
            throw APIError.conflict(
                "\(named.count) nodes have the name '\(wanted)'; use the identifier: \(identifiers).")
        }
        return node
    }

    func summary(_ node: Node) -> NodeSummary? {
        guard var summary = NodeSummary(node) else { return nil }
        if summary.progress != nil, let newer = services.live.progress(summary.id) { summary.progress = newer }
        return summary
    }

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
        let revision = services.cache.revision
        var nodes = services.cache.all(Node.self).compactMap(summary).filter { node in
            (state == nil || node.state == state) && (role == nil || node.role == role)
                && (prefix.map(node.name.hasPrefix) ?? true)
        }
        nodes.sort { ($0.name, $0.id) < ($1.name, $1.id) }
        if let marker = query("marker") {
            let parts = marker.split(separator: "~", omittingEmptySubsequences: false)
            guard parts.count == 2, let id = try? NodeID(String(parts[1])) else {
                throw InvalidValue("marker", marker, expected: "the 'next' of the page before")
            }
            let name = String(parts[0])
            nodes.removeAll { ($0.name, $0.id) <= (name, id) }
        }
        let page = Array(nodes.prefix(limit))
        let next = nodes.count > limit ? page.last.map { "\($0.name)~\($0.id)" } : nil
        return .json(NodeList(nodes: page, revision: revision, next: next))
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

    func showNode() async throws -> Response {
        let node = try node()
        guard var detail = NodeDetail(node, time: services.clock.now), let summary = summary(node) else {
            throw APIError.notFound("The node's key is not an identifier.")
        }
        detail.node = summary
        detail.facts = try await services.store.fetch(NodeFacts.self, summary.id.raw)?.value.status.facts
        return .json(detail)
    }

    func inventory() async throws -> Response {
        let node = try node()
        guard let digest = node.status.inventory else {
            throw APIError.notFound(
                "'\(node.spec.name)' has not been inventoried yet; boot it over the network, for example with "
                    + "'muster node power \(node.spec.name) reset'.")
        }
        let bytes = try await services.blobs.offPool { (blobs) throws(BlobError) in try blobs.get(digest) }
        return .json(bytes: bytes)
    }

    func logs() async throws -> Response {
        let node = try node()
        let id = try node.id
        let count = try number("lines", in: 1...FleetLimit.logLineCount, otherwise: 200)
        let known = services.live.logSources
        if let source = query("source"), !known.contains(source) {
            throw InvalidValue("source", source, expected: "one of " + known.joined(separator: ", "))
        }
        let sources = query("source").map { [$0] } ?? known
        var lines: [LogReply.Line] = []
        var kept: [String] = []
        for source in sources {
            let tail = services.live.logs(id, source, count)
            if !tail.isEmpty { kept.append(source) }
            lines += tail.map { LogReply.Line(source: source, text: $0) }
        }
        // Each line begins with its time in RFC 3339, 20 characters; a stable sort keeps a program's own order.
        let ordered = lines.enumerated().sorted {
            ($0.element.text.prefix(20), $0.offset) < ($1.element.text.prefix(20), $1.offset)
        }
        return .json(LogReply(sources: kept, lines: ordered.suffix(count).map(\.element)))
    }

    func console() async throws -> Response {
        let node = try node()
        let count = try number("lines", in: 1...FleetLimit.logLineCount, otherwise: 200)
        guard let lines = services.live.console(try node.id, count) else {
            throw APIError.notFound(
                "No serial console of '\(node.spec.name)' is kept here; use the BMC's own console, or "
                    + "'muster node logs \(node.spec.name)'. For a machine of a virtual rack: 'muster-rack console'.")
        }
        return .json(ConsoleReply(lines: lines))
    }

    func why() async throws -> Response {
        let node = try node()
        guard let summary = summary(node) else { throw APIError.notFound("The node's key is not an identifier.") }
        return .json(try await explanation(of: node, summary, try await judgement(of: node)).reply)
    }

    func explanation(
        of node: Node, _ summary: NodeSummary, _ judgement: RuleJudgement?
    ) async throws -> NodeExplanation {
        let bmcName = node.spec.bmc ?? node.status.identity.bmc
        let conflicts = services.cache.all(IdentityConflict.self).filter { $0.spec.nodes.contains(summary.id) }
        return NodeExplanation(
            node: node, summary: summary, bmc: bmcName.flatMap { services.cache.get(BMC.self, $0) }, bmcName: bmcName,
            bmcAtAddress: node.status.summary?.bmcAddress.flatMap(self.bmcName(at:)),
            images: services.cache.all(NodeImage.self), conflicts: conflicts, rules: judgement?.cause,
            events: try await newestEvents(of: summary.id, name: node.spec.name, limit: 10),
            now: services.clock.now)
    }

    /// The site's BMC with this address.
    private func bmcName(at address: IPv4Address) -> String? {
        let text = address.description
        return services.cache.all(BMC.self).first { bmc in
            (try? BMCAddress(bmc.spec.address, user: bmc.spec.username))?.host == text
        }?.metadata.name
    }

    // MARK: Events

    func nodeEvents() async throws -> Response {
        let node = try node()
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: 100)
        let events = try await newestEvents(of: try node.id, name: node.spec.name, limit: limit)
        return .json(RecordList(items: events))
    }

    /// The newest events of a node first; their keys begin with the node's identifier and go on with the time.
    private func newestEvents(of id: NodeID, name: String, limit: Int) async throws -> [EventRecord] {
        var events: [EventRecord] = []
        var after = NodeEvent.key("\(id).")
        while true {
            let page = try await services.store.list(
                kind: NodeEvent.kind, after: after, limit: StoreLimits.pageCountMax)
            for document in page.documents {
                guard document.key.name.hasPrefix("\(id).") else { return events.suffix(limit).reversed() }
                events.append(try Self.record(of: document, name: name))
            }
            guard page.hasMore, let last = page.documents.last else { return events.suffix(limit).reversed() }
            after = last.key
        }
    }

    func events() async throws -> Response {
        let limit = try number("limit", in: 1...FleetLimit.pageCount, otherwise: 100)
        let names = nodeNames()
        var newest: [EventRecord] = []
        var after: ResourceKey?
        while true {
            let page = try await services.store.list(
                kind: NodeEvent.kind, after: after, limit: StoreLimits.pageCountMax)
            newest += try page.documents.map { try Self.record(of: $0, name: nil) }
            newest.sort { ($0.time, $0.key) > ($1.time, $1.key) }
            newest.removeLast(max(0, newest.count - limit))
            guard page.hasMore, let last = page.documents.last else { break }
            after = last.key
        }
        for index in newest.indices { newest[index].nodeName = names[newest[index].node] }
        return .json(RecordList(items: newest))
    }

    private static func record(of document: Document, name: String?) throws -> EventRecord {
        let event = try Stored<NodeEvent>(document).value
        return EventRecord(
            key: event.metadata.name, time: event.spec.time, node: event.spec.node, nodeName: name,
            type: event.spec.type, message: event.spec.message)
    }
}
