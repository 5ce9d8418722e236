import AgentProtocol
import Primitives
import ResourceModel

/// What a network is for.
public enum Plane: String, Codable, Sendable, Hashable, CaseIterable {
    /// Machines boot from it, and agents speak with conductors over it.
    case provisioning
    /// Tunnels between nodes.
    case underlay
    /// Traffic of volumes and objects.
    case storage
    /// The world outside.
    case external
    /// The BMCs.
    case bmc
}

/// An address range of the site that nodes have addresses in. Its name is the site file's.
public struct PlaneNetwork: Resource {
    public static let kind = "baremetal.network"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A network.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// What it is for.
        public var plane: Plane
        /// The addresses.
        public var network: IPv4Network
        /// The first address that is given to nodes; nil: none is given from a pool.
        public var poolStart: IPv4Address?
        /// The last address that is given to nodes.
        public var poolEnd: IPv4Address?
        /// The addresses of certain nodes, by the node's name.
        public var hosts: [String: IPv4Address]
        /// The router to everywhere else; nil: none.
        public var gateway: IPv4Address?

        /// A network.
        public init(
            plane: Plane, network: IPv4Network, poolStart: IPv4Address? = nil, poolEnd: IPv4Address? = nil,
            hosts: [String: IPv4Address] = [:], gateway: IPv4Address? = nil
        ) {
            self.plane = plane
            self.network = network
            self.poolStart = poolStart
            self.poolEnd = poolEnd
            self.hosts = hosts
            self.gateway = gateway
        }
    }
}

/// How nodes are cabled and addressed: chosen for a node by a rule or an operator, by name.
public struct NodeNetwork: Resource {
    public static let kind = "baremetal.node-network"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A node network.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// The cards.
        public var interfaces: [Interface]
        /// The bonds over cards.
        public var bonds: [Bond]
        /// The VLANs over cards and bonds.
        public var vlans: [VLAN]
        /// Which interface has an address in which network.
        public var addresses: [Address]
        /// Further routes.
        public var routes: [NodeNetworkItem.Route]
        /// Name servers.
        public var dnsServers: [IPv4Address]
        /// The domains that short names are looked for in.
        public var searchDomains: [String]
        /// Time servers by address or name; empty: the site's.
        public var ntpServers: [String]

        /// A node network.
        public init(
            interfaces: [Interface], bonds: [Bond] = [], vlans: [VLAN] = [], addresses: [Address] = [],
            routes: [NodeNetworkItem.Route] = [], dnsServers: [IPv4Address] = [], searchDomains: [String] = [],
            ntpServers: [String] = []
        ) {
            self.interfaces = interfaces
            self.bonds = bonds
            self.vlans = vlans
            self.addresses = addresses
            self.routes = routes
            self.dnsServers = dnsServers
            self.searchDomains = searchDomains
            self.ntpServers = ntpServers
        }
    }

    /// A card.
    public struct Interface: Codable, Sendable, Hashable {
        /// What it is called here.
        public var name: String
        /// By what it is found.
        public var match: NodeNetworkItem.CardMatch
        /// Its MTU; nil: as it is.
        public var mtu: UInt32?

        /// A card.
        public init(name: String, match: NodeNetworkItem.CardMatch, mtu: UInt32? = nil) {
            self.name = name
            self.match = match
            self.mtu = mtu
        }
    }

    /// A bond.
    public struct Bond: Codable, Sendable, Hashable {
        /// The interface's name.
        public var name: String
        /// Its members and how they share the work.
        public var settings: NodeNetworkItem.Bond
        /// Its MTU and that of its members; nil: as they are.
        public var mtu: UInt32?

        /// A bond.
        public init(name: String, settings: NodeNetworkItem.Bond, mtu: UInt32? = nil) {
            self.name = name
            self.settings = settings
            self.mtu = mtu
        }
    }

    /// A VLAN.
    public struct VLAN: Codable, Sendable, Hashable {
        /// The interface's name.
        public var name: String
        /// The VLAN's number, 1 to 4094.
        public var id: UInt16
        /// The card or bond it stands on.
        public var over: String
        /// Its MTU, at most that of what it stands on; nil: the same.
        public var mtu: UInt32?

        /// A VLAN.
        public init(name: String, id: UInt16, over: String, mtu: UInt32? = nil) {
            self.name = name
            self.id = id
            self.over = over
            self.mtu = mtu
        }
    }

    /// An address that each node gets.
    public struct Address: Codable, Sendable, Hashable {
        /// The interface.
        public var on: String
        /// The network, by name.
        public var network: String
        /// Where it comes from.
        public var source: Source

        /// Where an address comes from.
        public enum Source: String, Codable, Sendable, Hashable, CaseIterable {
            /// A DHCP server.
            case dhcp
            /// The network's `hosts`, else its pool; assigned once and kept.
            case pool
        }

        /// An address.
        public init(on: String, network: String, source: Source) {
            self.on = on
            self.network = network
            self.source = source
        }
    }
}

/// An address of a plane's network that a node has. Named by network and address, so that none is given twice.
public struct AddressAssignment: Resource {
    public static let kind = "baremetal.address"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// An assignment.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// The name of the assignment of `address` in `network`.
    public static func name(network: String, address: IPv4Address) -> String { "\(network).\(address)" }

    /// Who has what.
    public struct Spec: Codable, Sendable, Hashable {
        /// The network, by name.
        public var network: String
        /// The address.
        public var address: IPv4Address
        /// The node.
        public var node: NodeID

        /// An assignment.
        public init(network: String, address: IPv4Address, node: NodeID) {
            self.network = network
            self.address = address
            self.node = node
        }
    }
}
