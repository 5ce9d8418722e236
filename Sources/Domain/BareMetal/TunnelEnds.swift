import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// Where the tunnels of all active network and compute nodes end; what these nodes see of each other.
public struct TunnelEnds: Sendable, Hashable {
    /// One node's end.
    public struct End: Sendable, Hashable {
        /// The node's identifier.
        public let node: String
        /// Where it is reached.
        public let address: IPv4Address
        /// What the node is called.
        public let name: String
    }

    /// All ends in order of their addresses, then names.
    public private(set) var sorted: [End] = []
    private var byNode: [String: End] = [:]

    /// No ends.
    public init() {}

    /// The ends of `nodes`, whatever else these are.
    public init(of nodes: some Sequence<Node>, in networks: NetworkCatalog) {
        for node in nodes { byNode[node.metadata.name] = Self.end(of: node, in: networks) }
        sort()
    }

    /// Takes nodes in as they are now, nil for one that is gone; whether anybody's end has changed by that.
    public mutating func update(_ nodes: [(name: String, node: Node?)], in networks: NetworkCatalog) -> Bool {
        var isChanged = false
        for (name, node) in nodes {
            let end = node.flatMap { Self.end(of: $0, in: networks) }
            guard byNode[name] != end else { continue }
            byNode[name] = end
            isChanged = true
        }
        if isChanged { sort() }
        return isChanged
    }

    private mutating func sort() { sorted = byNode.values.sorted { ($0.address, $0.name) < ($1.address, $1.name) } }

    private static func end(of node: Node, in networks: NetworkCatalog) -> End? {
        guard node.hasTunnels, node.status.state == .active, let address = networks.tunnelEnd(of: node) else {
            return nil
        }
        return End(node: node.metadata.name, address: address, name: node.spec.name)
    }
}

extension Node {
    /// Whether its role has it take part in the overlay.
    public var hasTunnels: Bool { spec.role == .network || spec.role == .compute }
}
