import Primitives

/// The pools of a storage node.
public struct StorageFacts: Codable, Sendable, Hashable {
    /// The most that is kept of each list, in entries, so that the facts of one node stay under 12 KiB.
    public enum Limit {
        /// Pools.
        public static let pools = 4
        /// Members that are named, of all pools; `memberCount` counts those of each.
        public static let members = 32
        /// Notes about a member.
        public static let notes = 2
        /// Bytes of a text.
        public static let text = 48
    }

    /// The pools, by name.
    public var pools: [Pool]

    /// A pool: an LVM volume group.
    public struct Pool: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// All of it.
        public var size: ByteCount
        /// What no volume has.
        public var free: ByteCount
        /// Its disks; those that are missing or failing first, and only so many as fit.
        public var members: [Member]
        /// All its disks.
        public var memberCount: Int

        /// What volumes have.
        public var used: ByteCount { ByteCount(bytes: size.bytes - min(size.bytes, free.bytes)) }

        /// A pool.
        public init(name: String, size: ByteCount, free: ByteCount, members: [Member]) {
            self.name = name
            self.size = size
            self.free = free
            self.members = members
            memberCount = members.count
        }
    }

    /// A disk of a pool.
    public struct Member: Codable, Sendable, Hashable {
        /// The physical volume's identifier.
        public var uuid: String
        /// The disk's path now; nil when it is missing.
        public var path: String?
        /// The disk's serial number, also of a missing one.
        public var serial: String?
        /// The disk's model.
        public var model: String?
        /// Its capacity.
        public var size: ByteCount
        /// Whether the disk is not there.
        public var isMissing: Bool
        /// What the disk says of itself.
        public var health: Health
        /// Why it is not well, or worth looking at; a phrase each.
        public var notes: [String]

        /// A member.
        public init(
            uuid: String, path: String? = nil, serial: String? = nil, model: String? = nil, size: ByteCount,
            isMissing: Bool = false, health: Health = .none, notes: [String] = []
        ) {
            self.uuid = uuid
            self.path = path
            self.serial = serial
            self.model = model
            self.size = size
            self.isMissing = isMissing
            self.health = health
            self.notes = notes
        }

        /// Whether somebody has to look at it.
        public var isAmiss: Bool { isMissing || health == .failing }
    }

    /// What a disk says of itself (SMART).
    public enum Health: String, Codable, Sendable, Hashable, CaseIterable {
        /// It has no SMART, as a virtual disk.
        case none
        /// It did not answer, or is asleep.
        case unknown
        case good
        case failing
    }

    /// Facts.
    public init(pools: [Pool]) { self.pools = pools }

    var bounded: StorageFacts {
        var left = Limit.members
        return StorageFacts(
            pools: pools.prefix(Limit.pools).map { pool in
                var pool = pool
                pool.name = pool.name.cut(to: Limit.text)
                let sorted = pool.members.filter(\.isAmiss) + pool.members.filter { !$0.isAmiss }
                pool.members = sorted.prefix(left).map(\.bounded)
                left -= pool.members.count
                return pool
            })
    }
}

extension StorageFacts.Member {
    fileprivate var bounded: Self {
        let limit = StorageFacts.Limit.text
        return Self(
            uuid: uuid.cut(to: limit), path: path?.cut(to: limit), serial: serial?.cut(to: limit),
            model: model?.cut(to: limit), size: size, isMissing: isMissing, health: health,
            notes: notes.prefix(StorageFacts.Limit.notes).map { $0.cut(to: limit) })
    }
}

/// The proxy of a controller node.
public struct ProxyFacts: Codable, Sendable, Hashable {
    /// The port that it listens on.
    public var port: UInt16
    /// The conductors that it passes connections to, at most `ProxyItem.conductorCountMax`.
    public var conductors: [Conductor]

    /// A conductor as the proxy sees it.
    public struct Conductor: Codable, Sendable, Hashable {
        /// `address:port`.
        public var address: String
        /// Whether its health check passes.
        public var isUp: Bool
        /// What the last check came to, in HAProxy's words.
        public var check: String

        /// A conductor.
        public init(address: String, isUp: Bool, check: String) {
            self.address = address
            self.isUp = isUp
            self.check = check
        }
    }

    /// Facts.
    public init(port: UInt16, conductors: [Conductor]) {
        self.port = port
        self.conductors = conductors
    }

    var bounded: ProxyFacts {
        ProxyFacts(
            port: port,
            conductors: conductors.prefix(ProxyItem.conductorCountMax).map {
                Conductor(address: $0.address.cut(to: 48), isUp: $0.isUp, check: $0.check.cut(to: 120))
            })
    }
}
