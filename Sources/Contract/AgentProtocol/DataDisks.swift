import Primitives

/// Which disks of a node make its storage pool: all that are blank, or those that a match fits.
public struct DataDisks: Codable, Sendable, Hashable {
    /// The pool's name, a DNS label; the volume group has it too.
    public var pool: String
    /// Whether every disk but the one that the node runs from is named.
    public var all: Bool
    /// Names the disks that any of them fits, unless all are named.
    public var matches: [Match]

    /// The pool's name when none is given.
    public static let poolDefault = "data"
    /// The most matches.
    public static let matchCountMax = 64

    /// Disks of a pool.
    public init(pool: String = poolDefault, all: Bool = false, matches: [Match] = []) {
        self.pool = pool
        self.all = all
        self.matches = matches
    }

    /// Facts that a disk must have, all of them; nil fits anything. At least one is given.
    public struct Match: Codable, Sendable, Hashable {
        /// The disk's serial number, exactly.
        public var serial: String?
        /// The disk's World Wide Name, exactly.
        public var wwn: String?
        /// The bus path (udev's ID_PATH), exactly.
        public var path: String?
        /// The model, exactly.
        public var model: String?
        /// How it is attached, for example `nvme`, `ata`, `scsi`, `virtio`.
        public var bus: String?
        /// Whether it turns.
        public var isRotational: Bool?
        /// The smallest size.
        public var sizeMin: ByteCount?
        /// The largest size.
        public var sizeMax: ByteCount?

        /// A match.
        public init(
            serial: String? = nil, wwn: String? = nil, path: String? = nil, model: String? = nil, bus: String? = nil,
            isRotational: Bool? = nil, sizeMin: ByteCount? = nil, sizeMax: ByteCount? = nil
        ) {
            self.serial = serial
            self.wwn = wwn
            self.path = path
            self.model = model
            self.bus = bus
            self.isRotational = isRotational
            self.sizeMin = sizeMin
            self.sizeMax = sizeMax
        }

        /// Whether it is about one disk, not about a sort of disks.
        public var namesOne: Bool { serial != nil || wwn != nil || path != nil }

        /// Whether it says nothing.
        public var isEmpty: Bool { self == Match() }

        /// Whether every fact that it names is so of `disk`.
        public func fits(_ disk: InventoryReport.Disk) -> Bool {
            func same<Value: Equatable>(_ wanted: Value?, _ found: Value?) -> Bool { wanted == nil || wanted == found }
            return same(serial, disk.serial) && same(wwn, disk.wwn) && same(path, disk.idPath)
                && same(model, disk.model) && same(bus, disk.bus) && same(isRotational, disk.isRotational)
                && disk.size >= sizeMin ?? disk.size && disk.size <= sizeMax ?? disk.size
        }
    }
}

extension DataDisks {
    /// All that is wrong with these disks, each with its place, for example `.match[0].sizeMax`; empty when right.
    public func problems() -> [(path: String, message: String)] {
        var problems: [(path: String, message: String)] = []
        do { _ = try DNSLabel(pool, as: "pool name") } catch { problems.append((".pool", error.publicMessage)) }
        if all, !matches.isEmpty { problems.append((".match", "give either 'all: true' or 'match', not both")) }
        if !all, matches.isEmpty { problems.append(("", "names no disk; give 'all: true', or 'match' with facts")) }
        if matches.count > Self.matchCountMax {
            problems.append((".match", "\(matches.count) entries; at most \(Self.matchCountMax) are possible"))
        }
        for (index, match) in matches.enumerated() {
            let place = ".match[\(index)]"
            if match.isEmpty { problems.append((place, "fits every disk; say 'all: true' if that is meant")) }
            let texts = [
                ("serial", match.serial), ("wwn", match.wwn), ("path", match.path), ("model", match.model),
                ("bus", match.bus),
            ]
            for case (let name, let text?) in texts
            where !text.hasOnlyPrintableScalars || !(1...200).contains(text.utf8.count) {
                problems.append(("\(place).\(name)", "must have 1 to 200 bytes without control characters"))
            }
            if let least = match.sizeMin, let most = match.sizeMax, least > most {
                problems.append(("\(place).sizeMax", "\(most) is less than sizeMin, \(least)"))
            }
        }
        return problems
    }
}

extension DataDisks.Match: CustomStringConvertible {
    /// The facts it names, for example `bus nvme, at least 1 TiB`.
    public var description: String {
        var facts: [String] = []
        func add(_ name: String, _ value: String?) {
            if let value { facts.append("\(name) \(value.printable(limit: 80))") }
        }
        add("serial", serial)
        add("wwn", wwn)
        add("path", path)
        add("model", model)
        add("bus", bus)
        if let isRotational { facts.append(isRotational ? "rotational" : "not rotational") }
        add("at least", sizeMin?.description)
        add("at most", sizeMax?.description)
        return facts.isEmpty ? "any disk" : facts.joined(separator: ", ")
    }
}

extension DataDisks: CustomStringConvertible {
    /// For example `pool data of all disks`.
    public var description: String {
        "pool \(pool) of " + (all ? "all disks" : matches.map { "(\($0))" }.joined(separator: " or "))
    }
}

/// `storage.pool`: a pool of a storage node's disks, an LVM volume group. Key `pool-NAME`.
public struct StoragePoolItem: Codable, Sendable, Hashable {
    /// The item's kind in the view.
    public static let kind = "storage.pool"
    /// Whose pool it is; a pool with another owner's mark is not touched.
    public var owner: NodeID
    /// Its name and its disks.
    public var disks: DataDisks

    /// A pool.
    public init(owner: NodeID, disks: DataDisks) {
        self.owner = owner
        self.disks = disks
    }
}
