import Primitives

/// The services of a controller beside its proxy.
public struct ControllerFacts: Codable, Sendable, Hashable {
    /// The member of the store.
    public var etcd: Etcd?
    /// The shared address.
    public var vip: VIP?
    /// The clock.
    public var time: Time?
    /// The conductor.
    public var conductor: Conductor?

    /// The most bytes of a text.
    public static let textMax = 120

    /// A member of etcd.
    public struct Etcd: Codable, Sendable, Hashable {
        /// Its identifier, in hexadecimal as etcd writes it; nil: it does not tell.
        public var member: String?
        /// What it is in its cluster.
        public var part: Part
        /// Whether it knows a leader.
        public var hasLeader: Bool
        /// Whether it calls itself healthy: it has a leader and no alarm.
        public var isHealthy: Bool
        /// Its database as the file is.
        public var databaseSize: ByteCount
        /// What of it is used; the rest is free once it is defragmented.
        public var databaseUsed: ByteCount

        /// What a member is in its cluster.
        public enum Part: String, Codable, Sendable, Hashable, CaseIterable {
            case leader
            case follower
            case learner
            case unknown
        }

        /// A member.
        public init(
            member: String?, part: Part, hasLeader: Bool, isHealthy: Bool, databaseSize: ByteCount,
            databaseUsed: ByteCount
        ) {
            self.member = member
            self.part = part
            self.hasLeader = hasLeader
            self.isHealthy = isHealthy
            self.databaseSize = databaseSize
            self.databaseUsed = databaseUsed
        }
    }

    /// The shared address as this node sees it.
    public struct VIP: Codable, Sendable, Hashable {
        /// The address.
        public var address: IPv4Address
        /// What keepalived is for it.
        public var state: State

        /// VRRP's states (RFC 5798 section 6.4), and keepalived's for a node that may not have the address.
        public enum State: String, Codable, Sendable, Hashable, CaseIterable {
            case initialize
            case backup
            case master
            case fault
        }

        /// An address.
        public init(address: IPv4Address, state: State) {
            self.address = address
            self.state = state
        }
    }

    /// What chrony says of the clock.
    public struct Time: Codable, Sendable, Hashable {
        /// Where the time is from: an address or a name, empty without a source.
        public var source: String
        /// The stratum (RFC 5905); 0: not synchronised.
        public var stratum: Int
        /// Microseconds that the clock is behind the source.
        public var offsetMicroseconds: Int

        /// A clock.
        public init(source: String, stratum: Int, offsetMicroseconds: Int) {
            self.source = source
            self.stratum = stratum
            self.offsetMicroseconds = offsetMicroseconds
        }
    }

    /// The conductor of this node.
    public struct Conductor: Codable, Sendable, Hashable {
        /// Whether its API takes connections.
        public var isServing: Bool

        /// A conductor.
        public init(isServing: Bool) { self.isServing = isServing }
    }

    /// Facts.
    public init(etcd: Etcd? = nil, vip: VIP? = nil, time: Time? = nil, conductor: Conductor? = nil) {
        self.etcd = etcd
        self.vip = vip
        self.time = time
        self.conductor = conductor
    }

    /// Whether there is nothing in them.
    public var isEmpty: Bool { self == ControllerFacts() }

    var bounded: ControllerFacts {
        var facts = self
        facts.etcd?.member = etcd?.member?.cut(to: 32)
        facts.time?.source = time?.source.cut(to: Self.textMax) ?? ""
        return facts
    }
}
