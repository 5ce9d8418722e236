import Primitives
import ResourceModel

/// An address of a segment that a machine has been given.
///
/// The name is made of segment and address, so that compare-and-swap keeps an address from having two holders.
public struct Lease: Resource {
    public static let kind = "baremetal.lease"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: Status

    /// A lease.
    public init(metadata: Metadata, spec: Spec, status: Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// The only name that a lease of `address` can have: `<segment>-<address>`.
    public static func name(segment: String, address: IPv4Address) -> String { "\(segment)-\(address)" }

    /// Who has which address.
    public struct Spec: Codable, Sendable, Hashable {
        /// The segment's name.
        public var segment: String
        /// The address.
        public var address: IPv4Address
        /// The machine's interface; the key of a client, whatever client identifier it sends.
        public var mac: MACAddress

        /// A holder.
        public init(segment: String, address: IPv4Address, mac: MACAddress) {
            self.segment = segment
            self.address = address
            self.mac = mac
        }
    }

    /// How long, and when it was last renewed.
    public struct Status: Codable, Sendable, Hashable {
        /// Whether the address is in use.
        public var phase: Phase
        /// When the address may go to another machine.
        public var expires: Timestamp
        /// When the client last asked; what it asks within ten seconds of that is not noted.
        public var lastSeen: Timestamp
        /// What the client calls itself (DHCP option 12), printable; nobody vouches for it.
        public var hostname: String?

        /// A status.
        public init(phase: Phase, expires: Timestamp, lastSeen: Timestamp, hostname: String? = nil) {
            self.phase = phase
            self.expires = expires
            self.lastSeen = lastSeen
            self.hostname = hostname
        }
    }

    /// What an address is in.
    public enum Phase: String, Codable, Sendable, Hashable {
        /// The client may use the address.
        case bound
        /// The client found somebody else using the address (DHCPDECLINE); nobody gets it until it expires.
        case quarantined
    }
}
