import APISupport
import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import FoundationEssentials
import HTTPTypes
import Primitives
import ReconcileRuntime
import ResourceModel

/// What operators may read of nodes, the same for every surface that shows it; its caller asks the gate first.
public struct FleetReads: Sendable {
    let services: FleetServices
    /// The places of all that follow.
    let watches: PlaceLimit

    /// Nodes by what they are called; the cache has to have it.
    public static let nodesByName = CacheIndex<Node>("name") { [$0.spec.name] }

    /// The conductor's time.
    public var now: Timestamp { services.clock.now }

    /// All commits up to this one are shown.
    public var revision: Revision { services.cache.revision }

    /// The node with this name or identifier; throws 404, or 409 when two have the name.
    public func node(_ wanted: String) throws -> Node {
        if (try? NodeID(wanted)) != nil, let node = services.cache.get(Node.self, wanted) { return node }
        let named = services.cache.snapshot().all(Self.nodesByName, wanted)
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

    /// What lists show of a node, with progress that is not stored; nil when its key is not an identifier.
    public func summary(_ node: Node) -> NodeSummary? { summary(node, in: segments()) }

    /// The networks that machines boot from.
    func segments() -> [IPv4Network] { services.cache.all(Segment.self).map(\.spec.network) }

    func summary(_ node: Node, in segments: [IPv4Network]) -> NodeSummary? {
        guard var summary = NodeSummary(node) else { return nil }
        // Operators are on the networks that machines boot from rather than on those of tunnels.
        let near = node.status.agent?.addresses.first { address in segments.contains { $0.contains(address) } }
        if let near { summary.address = near }
        if summary.progress != nil, let newer = services.live.progress(summary.id) { summary.progress = newer }
        return summary
    }

    /// All nodes by name, and a revision that they show at least.
    public func nodes() -> (nodes: [NodeSummary], revision: Revision) {
        // Nodes are read after the revision is known: a change in between is shown twice, never missed.
        let revision = services.cache.revision
        let segments = segments()
        let nodes = services.cache.snapshot().page(Self.nodesByName, after: nil, limit: .max)
        return (nodes.compactMap { summary($0.value, in: segments) }, revision)
    }

    /// All that operators may know of a node.
    public func detail(of node: Node) async throws -> NodeDetail {
        guard var detail = NodeDetail(node, time: services.clock.now), let summary = summary(node) else {
            throw APIError.notFound("The node's key is not an identifier.")
        }
        detail.node = summary
        detail.certificate = services.cache.get(NodeCertificates.self, summary.id.raw).flatMap(CertificateRecord.init)
        detail.facts = try await services.store.fetch(NodeFacts.self, summary.id.raw)?.value.status.facts
        return detail
    }

    /// What the machine is made of; nil when it has not been inventoried. Throws `BlobError` and `DecodingError`.
    public func inventory(of node: Node) async throws -> InventoryReport? {
        guard let digest = node.status.inventory else { return nil }
        let bytes = try await services.blobs.get(digest)
        return try JSONDecoder().decode(InventoryReport.self, from: Data(bytes))
    }

    /// The chain of causes of a node's state, with its newest events.
    public func why(_ node: Node, eventCount: Int = 10) async throws -> WhyReply {
        guard let summary = summary(node) else { throw APIError.notFound("The node's key is not an identifier.") }
        return try await explanation(of: node, summary, try await judgement(of: node), eventCount: eventCount).reply
    }

    func explanation(
        of node: Node, _ summary: NodeSummary, _ judgement: RuleJudgement?, eventCount: Int = 10
    ) async throws -> NodeExplanation {
        let bmcName = node.spec.bmc ?? node.status.identity.bmc
        let conflicts = services.cache.all(IdentityConflict.self).filter { $0.spec.nodes.contains(summary.id) }
        return NodeExplanation(
            node: node, summary: summary, bmc: bmcName.flatMap { services.cache.get(BMC.self, $0) }, bmcName: bmcName,
            bmcAtAddress: node.status.summary?.bmcAddress.flatMap(self.bmcName(at:)),
            certificates: services.cache.get(NodeCertificates.self, summary.id.raw),
            images: services.cache.all(NodeImage.self), conflicts: conflicts, rules: judgement?.cause,
            events: try await events(of: node, limit: eventCount), now: services.clock.now)
    }

    /// What the rules say of `node` as it was seen last; nil when it has no inventory that can be read.
    func judgement(of node: Node) async throws -> RuleJudgement? {
        // What an untrusted boot says of itself is what an approval would take over.
        guard let digest = node.status.session?.claim?.inventory ?? node.status.inventory else { return nil }
        let bytes: [UInt8]
        do {
            bytes = try await services.blobs.get(digest)
        } catch {
            guard case .missing = error else { throw error }
            return nil
        }
        let inventory = try JSONDecoder().decode(InventoryReport.self, from: Data(bytes))
        return RuleJudgement(
            rules: services.cache.all(Rule.self), skus: services.cache.all(SKU.self), sku: node.spec.sku,
            inventory: inventory)
    }

    /// The site's BMC with this address.
    private func bmcName(at address: IPv4Address) -> String? {
        let text = address.description
        return services.cache.all(BMC.self).first { bmc in
            (try? BMCAddress(bmc.spec.address, user: bmc.spec.username))?.host == text
        }?.metadata.name
    }

    /// The newest events of a node first; their keys begin with the node's identifier and go on with the time.
    public func events(of node: Node, limit: Int) async throws -> [EventRecord] {
        let id = try node.id
        var events: [EventRecord] = []
        var after = NodeEvent.key("\(id).")
        while true {
            let page = try await services.store.list(
                kind: NodeEvent.kind, after: after, limit: StoreLimits.pageCountMax)
            for document in page.documents {
                guard document.key.name.hasPrefix("\(id).") else { return events.suffix(limit).reversed() }
                events.append(try Self.record(of: document, name: node.spec.name))
            }
            guard page.hasMore, let last = page.documents.last else { return events.suffix(limit).reversed() }
            after = last.key
        }
    }

    /// The last `count` log lines of a node in the order of time.
    public func logs(of node: NodeID, sources: [String]? = nil, count: Int) -> LogReply {
        logs(of: node, sources: sources, count: count, since: nil, after: nil)
    }

    /// Log lines of a node in the order of time: the last `count`, or of each source the first `count` after a place.
    func logs(
        of node: NodeID, sources: [String]?, count: Int, since: Timestamp?, after: LogCursor?
    ) -> LogReply {
        var lines: [LogReply.Line] = []
        var kept: [String] = []
        var places: [String: LogPosition] = [:]
        for source in sources ?? services.live.logSources {
            // A source that had no lines when the place was noted is read from its beginning.
            let start = after.map { $0.places[source] ?? LogPosition() }
            let page = services.live.logs(node, source, LogQuestion(count: count, since: since, after: start))
            if page.end != LogPosition() { places[source] = page.end }
            if !page.lines.isEmpty { kept.append(source) }
            lines += page.lines.map { LogReply.Line(source: source, text: $0) }
        }
        // Each line begins with its time in RFC 3339, 20 characters; a stable sort keeps a program's own order.
        let ordered = lines.enumerated().sorted {
            ($0.element.text.prefix(20), $0.offset) < ($1.element.text.prefix(20), $1.offset)
        }
        let shown = after == nil ? ordered.suffix(count) : ordered[...]
        return LogReply(sources: kept, lines: shown.map(\.element), next: LogCursor(places).text)
    }

    /// Follows nodes: without `since` all of them first, then their changes, and bookmarks in between.
    ///
    /// Throws 400 for a revision that is yet to come, 410 when the history after `since` is gone, and 503 when there
    /// are `FleetLimit.watchCount` watches.
    public func watch(since: Revision?) async throws -> NodeFeed {
        let (nodes, current) = nodes()
        if let since, since > current {
            throw InvalidValue("revision", since.description, expected: "at most the newest, \(current)")
        }
        if let since, since < current {
            // There is at least one batch after `since`, or the history before it is gone: known at once.
            var probe = await services.store.watch(after: since).makeAsyncIterator()
            _ = try await probe.next()
        }
        let reads = self
        return NodeFeed(
            store: services.store,
            first: since == nil ? nodes.map { WatchLine(.node, revision: current, node: $0) } : [],
            start: since ?? current, writing: nodes.filter { $0.progress != nil }, slot: try place(),
            summary: { reads.summary($0) },
            progress: services.live.progress)
    }

    /// A place among all that follow; throws 503 when all are taken.
    public func place() throws -> PlaceLimit.Slot {
        guard let slot = watches.take() else {
            throw APIError(
                .serviceUnavailable, "busy", "There are \(FleetLimit.watchCount) watches already; end one, or wait.",
                headers: [.retryAfter: "10"])
        }
        return slot
    }

    static func record(of document: Document, name: String?) throws -> EventRecord {
        let event = try Stored<NodeEvent>(document).value
        return EventRecord(
            key: event.metadata.name, time: event.spec.time, node: event.spec.node, nodeName: name,
            type: event.spec.type, message: event.spec.message)
    }
}

extension CertificateRecord {
    /// What is shown of a node's certificates; nil: there is none.
    init?(_ certificates: NodeCertificates) {
        if let held = certificates.held {
            self.init(serial: held.serial, notAfter: held.notAfter, authority: held.authority)
        } else if let revoked = certificates.shutOut {
            self.init(
                serial: revoked.serial, notAfter: revoked.notAfter, authority: nil, revoked: revoked.at,
                revokedBy: revoked.by, reason: revoked.reason)
        } else {
            return nil
        }
    }
}
