import Primitives

/// `node.network`: a node's own interfaces, how they stand on each other, and their addresses. Key `network`.
///
/// All is resolved: what a rule or an operator has chosen, with the addresses of this node.
public struct NodeNetworkItem: Codable, Sendable, Hashable {
    /// The item's kind in the view.
    public static let kind = "node.network"
    /// The item's key in the view.
    public static let key = "network"
    /// The bounds of `confirmSeconds`.
    public static let confirmRange = 10...600

    /// The node network that was chosen, by name; nil: DHCP on every card that the node is known by.
    public var name: String?
    /// Seconds in which the conductor has to be reached over a new configuration; then the old one comes back.
    public var confirmSeconds: Int
    /// The interfaces: cards first, then bonds, then VLANs.
    public var links: [Link]

    /// A node's network.
    public init(name: String?, confirmSeconds: Int, links: [Link]) {
        self.name = name
        self.confirmSeconds = confirmSeconds
        self.links = links
    }

    /// One interface.
    public struct Link: Codable, Sendable, Hashable {
        /// What others call it; of bonds and VLANs also the interface's name, at most 15 bytes.
        public var name: String
        /// What it is.
        public var form: Form
        /// Its MTU; nil: as it is.
        public var mtu: UInt32?
        /// Whether it asks for an address by DHCP.
        public var usesDHCP: Bool
        /// Its own addresses.
        public var addresses: [Address]
        /// The router of the default route over it.
        public var gateway: IPv4Address?
        /// Further routes over it.
        public var routes: [Route]
        /// Name servers, beside those that DHCP names.
        public var dnsServers: [IPv4Address]
        /// The domains that short names are looked for in.
        public var searchDomains: [String]
        /// Time servers by address or name, beside those that DHCP names.
        public var ntpServers: [String]

        /// An interface.
        public init(
            name: String, form: Form, mtu: UInt32? = nil, usesDHCP: Bool = false, addresses: [Address] = [],
            gateway: IPv4Address? = nil, routes: [Route] = [], dnsServers: [IPv4Address] = [],
            searchDomains: [String] = [], ntpServers: [String] = []
        ) {
            self.name = name
            self.form = form
            self.mtu = mtu
            self.usesDHCP = usesDHCP
            self.addresses = addresses
            self.gateway = gateway
            self.routes = routes
            self.dnsServers = dnsServers
            self.searchDomains = searchDomains
            self.ntpServers = ntpServers
        }
    }

    /// What an interface is.
    public enum Form: Codable, Sendable, Hashable {
        /// A card, found by one of its marks.
        case card(CardMatch)
        /// Several cards as one.
        case bond(Bond)
        /// One VLAN (IEEE 802.1Q) of the interface `over`.
        case vlan(id: UInt16, over: String)
    }

    /// By what a card is found.
    public enum CardMatch: Codable, Sendable, Hashable {
        /// Its permanent address.
        case mac(MACAddress)
        /// Its place (udev's ID_PATH), for example `pci-0000:01:00.0`.
        case path(String)
        /// Its name in the kernel, with `*` and `?`; may fit several cards.
        case name(String)
    }

    /// Several cards as one interface.
    public struct Bond: Codable, Sendable, Hashable {
        /// How they share the work.
        public var mode: Mode
        /// The cards' names.
        public var members: [String]
        /// Of active-backup: the member that is used while it has a link; nil: any.
        public var primary: String?
        /// Of 802.3ad: how many members must have a link, 1 or more.
        public var minLinks: Int
        /// Of 802.3ad: whether the partner shall speak every second instead of every 30.
        public var isFast: Bool
        /// The bond's address; nil: that of the first card that joins.
        public var mac: MACAddress?

        /// How the members share the work.
        public enum Mode: String, Codable, Sendable, Hashable, CaseIterable {
            /// LACP (IEEE 802.1AX). Without a partner that speaks it, one member works alone.
            case lacp = "802.3ad"
            /// One member works, the others wait.
            case activeBackup = "active-backup"
        }

        /// A bond.
        public init(
            mode: Mode, members: [String], primary: String? = nil, minLinks: Int = 1, isFast: Bool = true,
            mac: MACAddress? = nil
        ) {
            self.mode = mode
            self.members = members
            self.primary = primary
            self.minLinks = minLinks
            self.isFast = isFast
            self.mac = mac
        }
    }

    /// An address of this node.
    public struct Address: Codable, Sendable, Hashable {
        /// The address.
        public var address: IPv4Address
        /// The length of its network's prefix.
        public var prefixLength: Int

        /// An address.
        public init(_ address: IPv4Address, prefixLength: Int) {
            self.address = address
            self.prefixLength = prefixLength
        }
    }

    /// A route.
    public struct Route: Codable, Sendable, Hashable {
        /// Where to.
        public var to: IPv4Network
        /// By which router.
        public var via: IPv4Address

        /// A route.
        public init(to: IPv4Network, via: IPv4Address) {
            self.to = to
            self.via = via
        }
    }
}
