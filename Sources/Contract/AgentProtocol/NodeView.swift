import FoundationEssentials
import Primitives

/// All that one node may see of the catalog: its own resources, and of others only what its dataplane needs.
///
/// A pure projection with a revision of its own; an agent keeps the last one on disk and goes on with it alone.
public struct NodeView: Codable, Sendable, Hashable {
    /// The store's revision that it was made from.
    public var revision: Revision
    /// The node's own generation; commands for an older one are refused.
    public var generation: Generation
    /// What the node shall be, by key.
    public var items: [String: Item]

    /// One thing that a role module acts on.
    public struct Item: Codable, Sendable, Hashable {
        /// Which role module reads it, for example `network.overlay`.
        public var kind: String
        /// Rises with every change.
        public var generation: Generation
        /// The module's own typed value, as JSON.
        public var body: JSONValue

        /// An item whose body is `value`, encoded.
        public init(kind: String, generation: Generation, encoding value: some Encodable) throws {
            self.init(kind: kind, generation: generation, body: try Self.body(of: value))
        }

        /// An item with a body that many nodes have, made once.
        public init(kind: String, generation: Generation, body: JSONValue) {
            self.kind = kind
            self.generation = generation
            self.body = body
        }

        /// The body of an item that is `value`.
        public static func body(of value: some Encodable) throws -> JSONValue {
            try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(value))
        }

        /// The body as a `Value`.
        public func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
            try JSONDecoder().decode(type, from: JSONEncoder().encode(body))
        }
    }

    /// A view.
    public init(revision: Revision, generation: Generation, items: [String: Item]) {
        self.revision = revision
        self.generation = generation
        self.items = items
    }

    /// The view before anything was received.
    public static let empty = NodeView(revision: .zero, generation: Generation(0), items: [:])

    /// What has to be sent to make `old` into this view; nil when the items are the same.
    public func change(from old: NodeView) -> ViewChange? {
        let upserts = items.filter { old.items[$0.key] != $0.value }
        let deletions = old.items.keys.filter { items[$0] == nil }.sorted()
        guard !upserts.isEmpty || !deletions.isEmpty || generation != old.generation else { return nil }
        return ViewChange(
            from: old.revision, revision: revision, generation: generation, upserts: upserts, deletions: deletions)
    }

    /// This view after `change`; nil when the change was made from another revision than this one.
    public func applying(_ change: ViewChange) -> NodeView? {
        guard change.from == revision else { return nil }
        var next = self
        next.revision = change.revision
        next.generation = change.generation
        next.items.merge(change.upserts) { $1 }
        for key in change.deletions { next.items[key] = nil }
        return next
    }
}

/// The difference between two views of one node.
public struct ViewChange: Codable, Sendable, Hashable {
    /// The revision of the view that it changes.
    public var from: Revision
    /// The revision after it.
    public var revision: Revision
    /// The node's generation after it.
    public var generation: Generation
    /// New and changed items.
    public var upserts: [String: NodeView.Item]
    /// Items that are gone from the view.
    public var deletions: [String]

    /// A change.
    public init(
        from: Revision, revision: Revision, generation: Generation, upserts: [String: NodeView.Item],
        deletions: [String]
    ) {
        self.from = from
        self.revision = revision
        self.generation = generation
        self.upserts = upserts
        self.deletions = deletions
    }
}

/// `node.settings`: how the agent itself behaves. Key `settings`.
public struct AgentSettings: Codable, Sendable, Hashable {
    /// The item's kind and key in the view.
    public static let kind = "node.settings"
    /// Seconds between two metric reports, 1 to 3600.
    public var metricsIntervalSeconds: Int
    /// The role modules that run; nil: all that the agent has.
    public var roles: [Role]?

    /// Settings.
    public init(metricsIntervalSeconds: Int, roles: [Role]? = nil) {
        self.metricsIntervalSeconds = metricsIntervalSeconds
        self.roles = roles
    }
}

/// `network.overlay`: a VXLAN device with its bridge (RFC 7348), and the nftables table that guards it.
public struct OverlayItem: Codable, Sendable, Hashable {
    /// The item's kind in the view.
    public static let kind = "network.overlay"
    /// The VXLAN network identifier, 1 to 16,777,215.
    public var vni: UInt32
    /// The bridge's name, at most 15 bytes.
    public var bridge: String
    /// The VXLAN device's name, at most 15 bytes.
    public var device: String
    /// The tunnel's own address on the underlay; nil: the first address of the interface with the default or segment route.
    public var local: IPv4Address?
    /// The other tunnel ends.
    public var peers: [IPv4Address]
    /// The names of the nodes that they are on, in the same order; nil when they are not told.
    public var peerNames: [String]?
    /// The MTU inside the overlay.
    public var mtu: UInt32

    /// An overlay.
    public init(
        vni: UInt32, bridge: String, device: String, local: IPv4Address?, peers: [IPv4Address],
        peerNames: [String]? = nil, mtu: UInt32 = 1450
    ) {
        self.vni = vni
        self.bridge = bridge
        self.device = device
        self.local = local
        self.peers = peers
        self.peerNames = peerNames
        self.mtu = mtu
    }
}

/// `node.trust`: the site's certificate authorities. Key `trust`.
public struct TrustItem: Codable, Sendable, Hashable {
    /// The item's kind in the view.
    public static let kind = "node.trust"
    /// The item's key in the view.
    public static let key = "trust"
    /// The most authorities of one item.
    public static let authorityCountMax = 4
    /// The certificates that are trusted, in PEM, the one that issues nodes' certificates first.
    public var authorities: [String]
    /// Whether a certificate that another than the first has issued is renewed at once.
    public var hastensRenewal: Bool

    /// Authorities.
    public init(authorities: [String], hastensRenewal: Bool = false) {
        self.authorities = authorities
        self.hastensRenewal = hastensRenewal
    }
}

/// `node.conductors`: where a node finds conductors, also those that are gone just now. Key `conductors`.
public struct ConductorsItem: Codable, Sendable, Hashable {
    /// The item's kind in the view.
    public static let kind = "node.conductors"
    /// The item's key in the view.
    public static let key = "conductors"
    /// The agent ports, each `host:port`, sorted.
    public var agents: [String]

    /// Conductors.
    public init(agents: [String]) { self.agents = agents }
}
