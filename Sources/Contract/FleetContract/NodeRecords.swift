import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// What a list shows of a node.
public struct NodeSummary: Codable, Sendable, Hashable {
    /// Its identifier, for ever.
    public var id: NodeID
    /// Its name.
    public var name: String
    /// What it shall do; nil until somebody or a rule says so.
    public var role: Role?
    /// Where it is in its life, for example `active` or `deploy failed`.
    public var state: String
    /// How far a deployment is.
    public var phase: DeployPhase?
    /// Since when.
    public var since: Timestamp
    /// Whether somebody has let it in.
    public var isApproved: Bool
    /// How far it is trusted to be what it says; nil from a conductor that does not know TPMs.
    public var trust: TrustLevel?
    /// Whether nothing shall be done to it.
    public var isInMaintenance: Bool
    /// Why, since when, and who said so.
    public var maintenance: Node.Maintenance?
    /// What is waited for.
    public var wait: Node.Wait?
    /// Why the last thing that failed did.
    public var lastError: String?
    /// How far its image is.
    public var progress: Node.Progress?
    /// `on`, `off` or `unknown`.
    public var power: String
    /// Whether the installed agent's stream is open; nil: there is no agent.
    public var isConnected: Bool?
    /// Whether the stream was open and its conductor is gone, so that nobody knows; nil: it is known, or there is no agent.
    public var isUncertain: Bool?
    /// The first of its addresses.
    public var address: IPv4Address?
    /// Vendor, product, processors, memory and disks.
    public var hardware: InventorySummary?

    /// What a list shows of `node`; nil when its key is not an identifier.
    public init?(_ node: Node) {
        guard let id = try? node.id else { return nil }
        self.id = id
        name = node.spec.name
        role = node.spec.role
        state = node.status.state.name
        if case .deploying(let phase) = node.status.state { self.phase = phase }
        since = node.status.since
        isApproved = node.spec.approval != nil
        trust = node.trust
        isInMaintenance = node.spec.isInMaintenance
        maintenance = node.spec.maintenance
        wait = node.status.wait
        lastError = node.status.lastError
        progress = node.status.progress
        power = (node.status.power?.state ?? .unknown).rawValue
        isConnected = node.status.agent?.isConnected
        if node.status.agent?.connection == .unknown { isUncertain = true }
        address = node.status.agent?.addresses.first
        hardware = node.status.summary
    }
}

/// A page of nodes, by name.
public struct NodeList: Codable, Sendable, Hashable {
    /// The nodes.
    public var nodes: [NodeSummary]
    /// The revision that the list shows at least.
    public var revision: Revision
    /// Give it as `marker` for the next page; nil: this is the last.
    public var next: String?

    /// A page.
    public init(nodes: [NodeSummary], revision: Revision, next: String? = nil) {
        self.nodes = nodes
        self.revision = revision
        self.next = next
    }
}

/// All that operators may know of a node: one object with what lists show and more.
public struct NodeDetail: Codable, Sendable, Hashable {
    /// What lists show.
    public var node: NodeSummary
    /// What was asked for.
    public var spec: Node.Spec
    /// How often that was changed.
    public var generation: Generation
    /// When the node was first seen.
    public var created: Timestamp
    /// All that the machine is known by.
    public var identity: MachineIdentity
    /// The full inventory's digest.
    public var inventory: Digest?
    /// The ramdisk that runs on it now.
    public var session: Session?
    /// The deployment that the disk holds.
    public var deployed: Generation
    /// The deployment that was last begun.
    public var attempted: Generation
    /// The manifest that the disk holds.
    public var image: Digest?
    /// What the BMC last told, and when.
    public var powerReading: PowerReading?
    /// The installed agent.
    public var agent: Node.Agent?
    /// What keeps it from being let in until an operator accepts it.
    public var blocks: [Node.Block]?
    /// What its TPM proved in the boot that was accepted last.
    public var attestation: Attestation?
    /// The order to begin or end a rescue that was last followed.
    public var rescued: UInt64?
    /// How to log in, while it is in rescue.
    public var rescue: Node.Rescue?
    /// The certificate that its agent holds, or the one that was revoked last; nil: none is known.
    public var certificate: CertificateRecord?
    /// What its roles told of it; nil when they told nothing.
    public var facts: RoleFacts?
    /// The conductor's time, to tell ages by.
    public var time: Timestamp

    /// Its identifier, for ever.
    public var id: NodeID { node.id }

    /// A ramdisk on a machine, without what it proves itself with.
    public struct Session: Codable, Sendable, Hashable {
        /// When the machine posted its inventory.
        public var opened: Timestamp
        /// Whether secrets may go to it.
        public var isTrusted: Bool

        /// A ramdisk.
        public init(opened: Timestamp, isTrusted: Bool) {
            self.opened = opened
            self.isTrusted = isTrusted
        }
    }

    /// What operators may know of `node`; nil when its key is not an identifier.
    public init?(_ node: Node, time: Timestamp) {
        guard let summary = NodeSummary(node) else { return nil }
        self.node = summary
        spec = node.spec
        generation = node.metadata.generation
        created = node.metadata.created
        identity = node.status.identity
        inventory = node.status.inventory
        session = node.status.session.map { Session(opened: $0.opened, isTrusted: $0.isTrusted) }
        deployed = node.status.deployed
        attempted = node.status.attempted
        image = node.status.image
        powerReading = node.status.power
        agent = node.status.agent
        blocks = node.status.blocks
        attestation = node.status.attestation
        rescued = node.status.rescued
        rescue = node.status.rescue
        self.time = time
    }
}

extension NodeDetail {
    private enum CodingKeys: String, CodingKey {
        case spec
        case generation
        case created
        case identity
        case inventory
        case session
        case deployed
        case attempted
        case image
        case powerReading
        case agent
        case blocks
        case attestation
        case rescued
        case rescue
        case certificate
        case facts
        case time
    }

    public init(from decoder: any Decoder) throws {
        node = try NodeSummary(from: decoder)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        spec = try fields.decode(Node.Spec.self, forKey: .spec)
        generation = try fields.decode(Generation.self, forKey: .generation)
        created = try fields.decode(Timestamp.self, forKey: .created)
        identity = try fields.decode(MachineIdentity.self, forKey: .identity)
        inventory = try fields.decodeIfPresent(Digest.self, forKey: .inventory)
        session = try fields.decodeIfPresent(Session.self, forKey: .session)
        deployed = try fields.decode(Generation.self, forKey: .deployed)
        attempted = try fields.decode(Generation.self, forKey: .attempted)
        image = try fields.decodeIfPresent(Digest.self, forKey: .image)
        powerReading = try fields.decodeIfPresent(PowerReading.self, forKey: .powerReading)
        agent = try fields.decodeIfPresent(Node.Agent.self, forKey: .agent)
        blocks = try fields.decodeIfPresent([Node.Block].self, forKey: .blocks)
        attestation = try fields.decodeIfPresent(Attestation.self, forKey: .attestation)
        rescued = try fields.decodeIfPresent(UInt64.self, forKey: .rescued)
        rescue = try fields.decodeIfPresent(Node.Rescue.self, forKey: .rescue)
        certificate = try fields.decodeIfPresent(CertificateRecord.self, forKey: .certificate)
        facts = try fields.decodeIfPresent(RoleFacts.self, forKey: .facts)
        time = try fields.decode(Timestamp.self, forKey: .time)
    }

    public func encode(to encoder: any Encoder) throws {
        try node.encode(to: encoder)
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encode(spec, forKey: .spec)
        try fields.encode(generation, forKey: .generation)
        try fields.encode(created, forKey: .created)
        try fields.encode(identity, forKey: .identity)
        try fields.encodeIfPresent(inventory, forKey: .inventory)
        try fields.encodeIfPresent(session, forKey: .session)
        try fields.encode(deployed, forKey: .deployed)
        try fields.encode(attempted, forKey: .attempted)
        try fields.encodeIfPresent(image, forKey: .image)
        try fields.encodeIfPresent(powerReading, forKey: .powerReading)
        try fields.encodeIfPresent(agent, forKey: .agent)
        try fields.encodeIfPresent(blocks, forKey: .blocks)
        try fields.encodeIfPresent(attestation, forKey: .attestation)
        try fields.encodeIfPresent(rescued, forKey: .rescued)
        try fields.encodeIfPresent(rescue, forKey: .rescue)
        try fields.encodeIfPresent(certificate, forKey: .certificate)
        try fields.encodeIfPresent(facts, forKey: .facts)
        try fields.encode(time, forKey: .time)
    }
}

/// Why a node is where it is.
public struct WhyReply: Codable, Sendable, Hashable {
    /// The node.
    public var node: NodeSummary
    /// The conductor's time, to tell ages by.
    public var time: Timestamp
    /// One sentence: what is the matter and what to do.
    public var headline: String
    /// From the node's state down to what it hangs on.
    public var causes: [Cause]
    /// What the roles' checks say.
    public var conditions: [Condition]
    /// The newest events first.
    public var events: [EventRecord]

    /// One link of the chain.
    public struct Cause: Codable, Sendable, Hashable {
        /// What it is about, for example `node`, `bmc`, `ramdisk`, `agent`, `image`.
        public var subject: String
        /// What is so.
        public var what: String
        /// Since when.
        public var since: Timestamp?
        /// Who has to act.
        public var owner: Node.Wait.Owner?
        /// When the wait is over.
        public var deadline: Timestamp?
        /// What happens then, or what to do now.
        public var next: String?
        /// Whether this holds the node up.
        public var isProblem: Bool

        /// A link.
        public init(
            subject: String, what: String, since: Timestamp? = nil, owner: Node.Wait.Owner? = nil,
            deadline: Timestamp? = nil, next: String? = nil, isProblem: Bool = false
        ) {
            self.subject = subject
            self.what = what
            self.since = since
            self.owner = owner
            self.deadline = deadline
            self.next = next
            self.isProblem = isProblem
        }
    }

    /// A reply.
    public init(
        node: NodeSummary, time: Timestamp, headline: String, causes: [Cause], conditions: [Condition],
        events: [EventRecord]
    ) {
        self.node = node
        self.time = time
        self.headline = headline
        self.causes = causes
        self.conditions = conditions
        self.events = events
    }
}

/// A line of the stream of `GET /fleet/v1/watch`.
public struct WatchLine: Codable, Sendable, Hashable {
    /// What the line says.
    public var type: Kind
    /// Go on from here with `?since=`.
    public var revision: Revision
    /// The node as it is now, when `type` is `node`.
    public var node: NodeSummary?
    /// The node that is gone, when `type` is `gone`.
    public var id: NodeID?
    /// Why the stream ends, when `type` is `error`.
    public var error: ErrorReply.Content?

    /// What a line says.
    public enum Kind: String, Codable, Sendable, Hashable {
        case node
        case gone
        case bookmark
        case error
    }

    /// A line.
    public init(
        _ type: Kind, revision: Revision, node: NodeSummary? = nil, id: NodeID? = nil, error: ErrorReply.Content? = nil
    ) {
        self.type = type
        self.revision = revision
        self.node = node
        self.id = id
        self.error = error
    }
}
