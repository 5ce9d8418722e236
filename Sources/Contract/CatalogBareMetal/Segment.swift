import Primitives
import ResourceModel

/// A network on which the conductor answers machines that boot: directly, through DHCP relays, or both.
public struct Segment: Resource {
    public static let kind = "baremetal.segment"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: Status

    /// A segment.
    public init(metadata: Metadata, spec: Spec, status: Status = Status()) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// The conductor's interface on it, at most 15 bytes; nil: the segment is reached through relays alone.
        public var interface: String?
        /// The DHCP relays that speak for it, by the address (`giaddr`) that they put into requests.
        public var relays: [IPv4Address]
        /// Who gives addresses to its machines.
        public var mode: Mode
        /// The network.
        public var network: IPv4Network
        /// The conductor's address as machines of the segment reach it; on the network if there is an interface.
        public var server: IPv4Address
        /// The addresses for machines; none in `Mode.proxy`.
        public var pools: [AddressRange]
        /// Addresses that are kept for certain machines.
        public var reservations: [Reservation]
        /// The gateway to hand out; nil: none.
        public var router: IPv4Address?
        /// The DNS servers to hand out.
        public var dnsServers: [IPv4Address]
        /// The NTP servers to hand out; none: the conductor itself.
        public var ntpServers: [IPv4Address]
        /// The domain to hand out.
        public var domain: String?
        /// The MTU to hand out; nil: none.
        public var mtu: UInt16?
        /// The routes to hand out beside the one to `router`.
        public var routes: [Route]
        /// Seconds a lease is good for.
        public var leaseTimeSeconds: UInt32
        /// Whether UEFI firmware that does PXE is sent programs that are signed for Secure Boot; nil: iPXE, which is not.
        public var secureBoot: Bool?

        /// A segment.
        public init(
            interface: String?, relays: [IPv4Address] = [], mode: Mode = .server, network: IPv4Network,
            server: IPv4Address, pools: [AddressRange], reservations: [Reservation] = [],
            router: IPv4Address? = nil, dnsServers: [IPv4Address] = [], ntpServers: [IPv4Address] = [],
            domain: String? = nil, mtu: UInt16? = nil, routes: [Route] = [], leaseTimeSeconds: UInt32 = 3600
        ) {
            self.interface = interface
            self.relays = relays
            self.mode = mode
            self.network = network
            self.server = server
            self.pools = pools
            self.reservations = reservations
            self.router = router
            self.dnsServers = dnsServers
            self.ntpServers = ntpServers
            self.domain = domain
            self.mtu = mtu
            self.routes = routes
            self.leaseTimeSeconds = leaseTimeSeconds
        }
    }

    /// Who gives addresses to the machines of a segment.
    public enum Mode: String, Codable, Sendable, Hashable, CaseIterable {
        /// The conductor.
        case server
        /// Another DHCP server; the conductor only tells machines what to boot (proxyDHCP, PXE 2.1 section 2.2.3).
        case proxy
    }

    /// Addresses from one to another.
    public struct AddressRange: Codable, Sendable, Hashable {
        /// The first.
        public var start: IPv4Address
        /// The last.
        public var end: IPv4Address

        /// A range.
        public init(start: IPv4Address, end: IPv4Address) {
            self.start = start
            self.end = end
        }

        /// Whether `address` is in it.
        public func contains(_ address: IPv4Address) -> Bool { start <= address && address <= end }
    }

    /// An address that is kept for one machine.
    public struct Reservation: Codable, Sendable, Hashable {
        /// The machine's interface.
        public var mac: MACAddress
        /// The address, in the network; it may stand in a pool.
        public var address: IPv4Address
        /// The host name to hand out; nil: none.
        public var hostname: String?

        /// A reservation.
        public init(mac: MACAddress, address: IPv4Address, hostname: String? = nil) {
            self.mac = mac
            self.address = address
            self.hostname = hostname
        }
    }

    /// A route to hand out.
    public struct Route: Codable, Sendable, Hashable {
        /// Where to.
        public var to: IPv4Network
        /// Through which router of the segment.
        public var via: IPv4Address

        /// A route.
        public init(to: IPv4Network, via: IPv4Address) {
            self.to = to
            self.via = via
        }
    }

    /// What was seen; written by the conductor's segment supervisor alone.
    public struct Status: Codable, Sendable, Hashable {
        /// How it goes.
        public var state: State
        /// Why it is not served and what to do; nil when it is.
        public var message: String?
        /// Since when; nil: not looked at yet.
        public var since: Timestamp?
        /// The other DHCP servers that were heard when it was last looked for some.
        public var foreignServers: [IPv4Address]

        /// A status; by default nothing is known yet.
        public init(
            state: State = .waiting, message: String? = nil, since: Timestamp? = nil,
            foreignServers: [IPv4Address] = []
        ) {
            self.state = state
            self.message = message
            self.since = since
            self.foreignServers = foreignServers
        }
    }

    /// How it goes with a segment.
    public enum State: String, Codable, Sendable, Hashable {
        /// It is not served yet.
        case waiting
        /// Its machines are answered.
        case serving
        /// Another DHCP server gives addresses there, so that ours keeps silent.
        case blocked
        /// It cannot be served; it is tried again.
        case failed
    }
}
