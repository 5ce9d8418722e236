import AgentProtocol
import AsyncHTTPClient
import CatalogBareMetal
import FleetContract
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Primitives

/// Which nodes are listed; nil takes all.
public struct NodeFilter: Sendable, Hashable {
    /// A state's word, for example `active`.
    public var state: String?
    /// A role.
    public var role: String?
    /// The beginning of the name.
    public var name: String?

    /// A filter.
    public init(state: String? = nil, role: String? = nil, name: String? = nil) {
        self.state = state
        self.role = role
        self.name = name
    }
}

extension FleetClient {
    // MARK: Nodes

    /// What answers there; needs no token.
    public func version() async throws -> VersionDocument { try await get(FleetPath.root) }

    /// All nodes that pass the filter, page by page.
    public func nodes(_ filter: NodeFilter = NodeFilter()) async throws -> NodeList {
        var all: NodeList?
        var marker: String?
        repeat {
            let page: NodeList = try await get(
                FleetPath.below("nodes"),
                query: [
                    ("state", filter.state), ("role", filter.role), ("name", filter.name), ("marker", marker),
                    ("limit", String(FleetLimit.pageCount)),
                ])
            all = NodeList(nodes: (all?.nodes ?? []) + page.nodes, revision: page.revision)
            marker = page.next
        } while marker != nil
        return all ?? NodeList(nodes: [], revision: .zero)
    }

    /// All of one node, by name or identifier.
    public func node(_ name: String) async throws -> NodeDetail { try await get(FleetPath.below("nodes", name)) }

    /// What the machine is made of.
    public func inventory(of node: String) async throws -> InventoryReport {
        try await get(FleetPath.below("nodes", node, "inventory"))
    }

    /// Why the node is where it is.
    public func why(_ node: String) async throws -> WhyReply { try await get(FleetPath.below("nodes", node, "why")) }

    /// How the site's rules were held against the node's machine, and where its fields came from.
    public func explain(_ node: String) async throws -> ExplainReply {
        try await get(FleetPath.below("nodes", node, "explain"))
    }

    /// What would become of a machine with this inventory.
    public func explain(_ request: ExplainRequest) async throws -> ExplainReply {
        try await send(.POST, FleetPath.below("site", "explain"), request)
    }

    /// The newest events of a node first.
    public func events(of node: String, limit: Int = 100) async throws -> [EventRecord] {
        let list: RecordList<EventRecord> = try await get(
            FleetPath.below("nodes", node, "events"), query: [("limit", String(limit))])
        return list.items
    }

    /// Lets a machine in.
    public func approve(_ node: String, _ request: ApproveRequest) async throws -> NodeOrderReply {
        try await send(.POST, FleetPath.below("nodes", node, "approve"), request)
    }

    /// Takes the node out of the inventory; one that was let in only by `force`.
    public func deleteNode(_ node: String, force: Bool = false) async throws -> RemovalReply {
        try await send(
            .DELETE, FleetPath.below("nodes", node), query: [("force", force ? "true" : nil)], [String: String]())
    }

    /// Has all certificates of the node accepted no more.
    public func revokeCertificate(of node: String, _ request: RevokeRequest) async throws -> NodeOrderReply {
        try await send(.POST, FleetPath.below("nodes", node, "revoke-certificate"), request)
    }

    /// The conductors that run, by name.
    public func conductors() async throws -> [ConductorSummary] { try await list("conductors") }

    /// Forgets a conductor that is gone for good.
    public func forgetConductor(_ name: String) async throws -> RemovalReply {
        try await send(.DELETE, FleetPath.below("conductors", name), [String: String]())
    }

    /// The site's controllers.
    public func controllers() async throws -> ControllersReport { try await get(FleetPath.below("controllers")) }

    /// What would be done to have these controllers; nil: what is left to be done for those that were asked for.
    public func controllersPlan(
        _ controllers: [String]? = nil, retired: [String]? = nil
    ) async throws -> ControllersPlan {
        try await get(
            FleetPath.below("controllers", "plan"),
            query: [
                ("controllers", controllers?.joined(separator: ",")), ("retired", retired?.joined(separator: ",")),
            ])
    }

    /// Says what the site's controllers shall be.
    public func changeControllers(_ request: ChangeControllersRequest) async throws -> ControllersReport {
        try await send(.PUT, FleetPath.below("controllers"), request)
    }

    /// Moves the site from its first conductor to controllers, or tells how.
    public func pivot(_ request: PivotRequest) async throws -> PivotReport {
        try await send(.POST, FleetPath.below("controllers", "pivot"), request)
    }

    /// Has a move that is under way undone.
    public func undoPivot() async throws -> PivotReport {
        try await send(.DELETE, FleetPath.below("controllers", "pivot"), [String: String]())
    }

    /// The site's certificate authorities.
    public func authority() async throws -> AuthorityRecord { try await get(FleetPath.below("authority")) }

    /// Begins the rotation of the authority, or hurries it.
    public func rotateAuthority(_ request: RotateAuthorityRequest) async throws -> AuthorityRecord {
        try await send(.POST, FleetPath.below("authority", "rotate"), request)
    }

    /// All operators, without their tokens.
    public func tokens() async throws -> [TokenRecord] {
        let list: RecordList<TokenRecord> = try await get(FleetPath.below("tokens"))
        return list.items
    }

    /// Makes a token for an operator who has none in force.
    public func createToken(_ name: String, _ request: CreateTokenRequest) async throws -> TokenReply {
        try await send(.POST, FleetPath.below("tokens", name), request)
    }

    /// Replaces an operator's token.
    public func rotateToken(_ name: String, _ request: RotateTokenRequest) async throws -> TokenReply {
        try await send(.POST, FleetPath.below("tokens", name, "rotate"), request)
    }

    /// Makes an operator's token void.
    public func revokeToken(_ name: String) async throws -> RemovalReply {
        try await send(.POST, FleetPath.below("tokens", name, "revoke"), [String: String]())
    }

    /// Forgets an identity conflict.
    public func deleteConflict(_ name: String) async throws -> RemovalReply {
        try await send(.DELETE, FleetPath.below("conflicts", name), [String: String]())
    }

    /// Has the node's image written anew.
    public func deploy(_ node: String, _ request: DeployRequest = DeployRequest()) async throws -> NodeOrderReply {
        try await send(.POST, FleetPath.below("nodes", node, "deploy"), request)
    }

    /// Has disks of the node emptied.
    public func clean(_ node: String, _ request: CleanRequestBody) async throws -> NodeOrderReply {
        try await send(.POST, FleetPath.below("nodes", node, "clean"), request)
    }

    /// Has the node booted into the rescue ramdisk; the answer has the one-time password.
    public func rescue(_ node: String, _ request: RescueRequestBody = RescueRequestBody()) async throws -> RescueReply {
        try await send(.POST, FleetPath.below("nodes", node, "rescue"), request)
    }

    /// Has the node's disk booted again.
    public func unrescue(_ node: String) async throws -> NodeOrderReply {
        try await send(.POST, FleetPath.below("nodes", node, "unrescue"), [String: String]())
    }

    /// Has the node's BMC switch its power.
    public func power(_ node: String, _ action: Node.PowerRequest.Action) async throws -> NodeOrderReply {
        try await send(.POST, FleetPath.below("nodes", node, "power"), PowerCommand(action: action))
    }

    /// Changes what is given.
    public func change(_ node: String, _ patch: NodePatch) async throws -> NodeOrderReply {
        try await send(.PATCH, FleetPath.below("nodes", node), patch)
    }

    /// Gives each line to `body` until it returns false or the stream ends; `since` goes on where another has ended.
    public func watch(since: Revision? = nil, _ body: (WatchLine) async throws -> Bool) async throws {
        let request = request(
            .GET, FleetPath.below("watch"), query: [("since", since.map { String($0.number) })])
        try await eachLine(of: request, "watch") { (line: WatchLine) in
            if let error = line.error { throw ClientError.gone(error.message) }
            return try await body(line)
        }
    }

    // MARK: Site

    /// Makes the conductor's site what `site` says, or only tells what that would change.
    public func applySite(_ site: SiteDocument, dryRun: Bool = false) async throws -> SitePlanReply {
        try await send(.PUT, FleetPath.below("site"), query: [("dryRun", dryRun ? "true" : nil)], site)
    }

    /// Whether the conductor's surroundings are fit for `site`, or for the site that was applied.
    public func checkSite(_ site: SiteDocument? = nil) async throws -> SiteCheckReply {
        try await send(
            .POST, FleetPath.below("site", "check"), SiteCheckRequest(site: site), timeout: .seconds(90))
    }

    /// All BMCs.
    public func bmcs() async throws -> [BMCRecord] { try await list("bmcs") }

    /// One BMC with its sensors.
    public func bmc(_ name: String) async throws -> BMCDetail { try await get(FleetPath.below("bmcs", name)) }

    /// Has a BMC that belongs to no node switch its machine's power.
    public func powerBMC(_ name: String, _ action: Node.PowerRequest.Action) async throws -> BMCRecord {
        try await send(.POST, FleetPath.below("bmcs", name, "power"), PowerCommand(action: action))
    }

    /// Has another password made for a BMC's user.
    public func rotateBMCPassword(_ name: String) async throws -> BMCRecord {
        try await send(.POST, FleetPath.below("bmcs", name, "rotate-password"), RotateBMCPasswordRequest())
    }

    /// Has the certificate trusted that a BMC shows, if it is this one.
    public func approveBMC(_ name: String, _ request: ApproveBMCRequest) async throws -> BMCRecord {
        try await send(.POST, FleetPath.below("bmcs", name, "approve"), request)
    }

    /// All segments and how it goes with them.
    public func segments() async throws -> [SegmentRecord] { try await list("segments") }

    /// The newest events of a segment first.
    public func events(ofSegment name: String, limit: Int = 100) async throws -> [SegmentEventRecord] {
        let reply: RecordList<SegmentEventRecord> = try await get(
            FleetPath.below("segments", name, "events"), query: [("limit", String(limit))])
        return reply.items
    }

    /// All leases.
    public func leases() async throws -> [LeaseRecord] { try await list("leases") }

    /// All rules in their order.
    public func rules() async throws -> [SiteDocument.RuleEntry] { try await list("rules") }

    /// Machines that claim to be another.
    public func conflicts() async throws -> [ConflictRecord] { try await list("conflicts") }

    /// The newest events of all nodes first.
    public func events(limit: Int = 100) async throws -> [EventRecord] {
        try await list("events", query: [("limit", String(limit))])
    }

    /// The last `limit` audit events since a time, in their order; at most 100 pages are read.
    public func audit(since: Timestamp, limit: Int) async throws -> [AuditRecord] {
        var newest: [AuditRecord] = []
        var marker: String?
        for _ in 0..<100 {
            let page: RecordList<AuditRecord> = try await get(
                FleetPath.below("audit"),
                query: [
                    ("since", String(since.millisecondsSinceEpoch)), ("marker", marker),
                    ("limit", String(FleetLimit.pageCount)),
                ])
            newest = (newest + page.items).suffix(limit)
            marker = page.next
            if marker == nil { break }
        }
        return newest
    }

    private func list<Record: Codable & Sendable & Hashable>(
        _ noun: String, query: [(String, String?)] = []
    ) async throws -> [Record] {
        let list: RecordList<Record> = try await get(FleetPath.below(noun), query: query)
        return list.items
    }

    /// Text of a path that answers no JSON, for example `/metrics`.
    public func text(_ path: String) async throws -> String { String(buffer: try await bytes(path)) }

    // MARK: Images

    /// All images and ramdisks.
    public func images() async throws -> ImageList { try await get(FleetPath.below("images")) }

    /// Those of `digests` that are not stored, in their order.
    public func missingBlobs(_ digests: [Digest]) async throws -> [Digest] {
        var missing: [Digest] = []
        for start in stride(from: 0, to: digests.count, by: FleetLimit.digestCount) {
            let part = Array(digests[start..<min(start + FleetLimit.digestCount, digests.count)])
            let reply: MissingBlobsReply = try await send(
                .POST, FleetPath.below("blobs", "missing"), MissingBlobsRequest(digests: part), timeout: .seconds(300))
            missing += reply.missing
        }
        return missing
    }

    /// Stores blobs; throws `ClientError.unreadable` when the conductor names one otherwise than by `digests`.
    public func storeBlobs(_ blobs: [(digest: Digest, bytes: [UInt8])]) async throws {
        var batch = ByteBuffer()
        for blob in blobs {
            batch.writeBytes(BlobBatch.header(length: blob.bytes.count))
            batch.writeBytes(blob.bytes)
        }
        let reply: StoredBlobsReply = try await upload(
            .POST, FleetPath.below("blobs"), contentType: BlobBatch.contentType, .bytes(batch))
        guard reply.stored == blobs.map(\.digest) else {
            throw ClientError.unreadable("A blob was altered on the way to the conductor; push the image again.")
        }
    }

    /// Stores one blob of `length` bytes that come in parts.
    public func storeBlob<Parts: AsyncSequence & Sendable>(
        _ digest: Digest, length: UInt64, _ parts: Parts
    ) async throws where Parts.Element == ByteBuffer {
        let _: StoredBlobsReply = try await upload(
            .PUT, FleetPath.below("blobs", digest.hex), contentType: "application/octet-stream",
            .stream(parts, length: .known(Int64(length))))
    }

    /// Makes an image current whose blobs are all stored.
    public func putImage(_ name: String, _ request: ImageRequest) async throws -> ImageRecord {
        try await send(.PUT, FleetPath.below("images", name), request, timeout: .seconds(300))
    }

    /// Makes a ramdisk current whose files are stored.
    public func putRamdisk(_ name: String, _ request: RamdiskRequest) async throws -> RamdiskRecord {
        try await send(.PUT, FleetPath.below("ramdisks", name), request)
    }

    // MARK: Rules

    /// All rules of the policy, by name.
    public func policyRules() async throws -> PolicyRuleList { try await get(FleetPath.below("policy", "rules")) }

    /// Whether a user may call a route, in one scope or wherever the user has a role.
    public func explainPolicy(
        user: String, route: String, project: String? = nil, domain: String? = nil, inSystem: Bool = false
    ) async throws -> PolicyExplainReply {
        try await get(
            FleetPath.below("policy", "explain"),
            query: [
                ("user", user), ("route", route), ("project", project), ("domain", domain),
                ("system", inSystem ? "true" : nil),
            ])
    }
}
