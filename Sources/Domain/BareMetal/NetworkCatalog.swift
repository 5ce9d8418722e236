import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// All that the site says of nodes' networks, ready to be resolved for one node after the other.
public struct NetworkCatalog: Sendable {
    /// The networks, by name.
    public let networks: [String: PlaneNetwork.Spec]
    /// The node networks, by name.
    public let templates: [String: NodeNetwork.Spec]
    /// The addresses that nodes have, by node and network.
    public private(set) var assigned: [NodeID: [String: IPv4Address]]
    /// Seconds that a new configuration has to prove itself.
    public let confirmSeconds: Int
    /// The site's time servers.
    public let ntpServers: [String]

    /// Unless the site says otherwise.
    public static let confirmSecondsDefault = 60

    /// A catalog.
    public init(
        networks: [PlaneNetwork] = [], templates: [NodeNetwork] = [], assignments: [AddressAssignment] = [],
        site: Site.Spec? = nil
    ) {
        self.networks = Dictionary(
            networks.map { ($0.metadata.name, $0.spec) }, uniquingKeysWith: { first, _ in first })
        self.templates = Dictionary(
            templates.map { ($0.metadata.name, $0.spec) }, uniquingKeysWith: { first, _ in first })
        var assigned: [NodeID: [String: IPv4Address]] = [:]
        for assignment in assignments {
            assigned[assignment.spec.node, default: [:]][assignment.spec.network] = assignment.spec.address
        }
        self.assigned = assigned
        confirmSeconds = site?.networkConfirmSeconds ?? Self.confirmSecondsDefault
        ntpServers = site?.ntpServers ?? []
    }

    /// Takes in that `assignments` are all that `node` has now, in order of their names.
    public mutating func assign(_ assignments: [AddressAssignment], to node: NodeID) {
        var own: [String: IPv4Address] = [:]
        for assignment in assignments { own[assignment.spec.network] = assignment.spec.address }
        assigned[node] = own.isEmpty ? nil : own
    }

    /// The network of `node`, with its own addresses; nil when nothing is known of its cards.
    ///
    /// Throws `UnresolvedNetwork` when what was chosen is not there or an address has not been assigned.
    public func item(for node: Node) throws(UnresolvedNetwork) -> NodeNetworkItem? {
        guard let name = node.spec.network else {
            let macs = node.status.identity.macs.sorted()
            guard !macs.isEmpty else { return nil }
            let links = macs.enumerated().map { index, mac in
                NodeNetworkItem.Link(
                    name: "card\(index)", form: .card(.mac(mac)), usesDHCP: true, ntpServers: ntpServers)
            }
            return NodeNetworkItem(name: nil, confirmSeconds: confirmSeconds, links: links)
        }
        guard let template = templates[name] else { throw UnresolvedNetwork(network: name, reason: .noTemplate) }
        var links = Self.bareLinks(template)
        for entry in template.addresses {
            guard let index = links.firstIndex(where: { $0.name == entry.on }), let network = networks[entry.network]
            else { throw UnresolvedNetwork(network: name, reason: .noNetwork(entry.network)) }
            switch entry.source {
            case .dhcp: links[index].usesDHCP = true
            case .pool:
                guard let address = address(of: node, in: entry.network) else {
                    throw UnresolvedNetwork(network: name, reason: .noAddress(entry.network))
                }
                links[index].addresses.append(
                    NodeNetworkItem.Address(address, prefixLength: network.network.prefixLength))
                links[index].gateway = links[index].gateway ?? network.gateway
            }
            links[index].routes += template.routes.filter { network.network.contains($0.via) }
        }
        if let first = links.firstIndex(where: { $0.gateway != nil })
            ?? links.firstIndex(where: { $0.usesDHCP || !$0.addresses.isEmpty })
        {
            links[first].dnsServers = template.dnsServers
            links[first].searchDomains = template.searchDomains
            links[first].ntpServers = template.ntpServers.isEmpty ? ntpServers : template.ntpServers
        }
        return NodeNetworkItem(name: name, confirmSeconds: confirmSeconds, links: links)
    }

    private func address(of node: Node, in network: String) -> IPv4Address? {
        (try? node.id).flatMap { assigned[$0]?[network] }
    }

    /// The address where `node`'s tunnels end: the first that it reports in an underlay network of its own, else its
    /// first at all; nil when it has reported none.
    public func tunnelEnd(of node: Node) -> IPv4Address? {
        underlayAddress(of: node) ?? node.status.agent?.addresses.first
    }

    /// The address that `node` reports in an underlay network of its own.
    public func underlayAddress(of node: Node) -> IPv4Address? {
        let used = node.spec.network.flatMap { templates[$0] }?.addresses ?? []
        let underlays = used.compactMap { networks[$0.network] }.filter { $0.plane == .underlay }
        return node.status.agent?.addresses.first { address in
            underlays.contains { $0.network.contains(address) }
        }
    }

    private static func bareLinks(_ template: NodeNetwork.Spec) -> [NodeNetworkItem.Link] {
        let cards = template.interfaces.map {
            NodeNetworkItem.Link(name: $0.name, form: .card($0.match), mtu: $0.mtu)
        }
        let bonds = template.bonds.map { bond in
            var settings = bond.settings
            // The first member's own address, so that DHCP gives the bond the lease that the firmware had.
            if settings.mac == nil, let first = template.interfaces.first(where: { $0.name == settings.members.first }),
                case .mac(let mac) = first.match
            {
                settings.mac = mac
            }
            return NodeNetworkItem.Link(name: bond.name, form: .bond(settings), mtu: bond.mtu)
        }
        let vlans = template.vlans.map {
            NodeNetworkItem.Link(name: $0.name, form: .vlan(id: $0.id, over: $0.over), mtu: $0.mtu)
        }
        return cards + bonds + vlans
    }
}

/// A node's network that cannot be put together now.
public struct UnresolvedNetwork: UserFacingError, Hashable {
    /// The node network.
    public let network: String
    /// What is missing.
    public let reason: Reason

    /// What can be missing.
    public enum Reason: Sendable, Hashable {
        case noTemplate
        case noNetwork(String)
        case noAddress(String)
    }

    public var publicMessage: String {
        switch reason {
        case .noTemplate:
            "The site has no node network '\(network)'; choose another with 'muster node set NAME --network NETWORK'."
        case .noNetwork(let name):
            "The node network '\(network)' needs the network '\(name)', which the site does not have; apply the site."
        case .noAddress(let name):
            "The network '\(name)' has no free address for this node; make its pool larger and apply the site."
        }
    }
}
