import FoundationEssentials
import Glibc
import LinuxSystem
import NetworkUnits
import Primitives

/// Where a node's network is written down.
public struct NetworkPaths: Sendable, Hashable {
    /// The record, on the state partition.
    public var record: String
    /// The units of the next boot, on the state partition; a script copies them to `running` before systemd starts.
    public var stored: String
    /// The units that systemd-networkd reads now.
    public var running: String
    /// The unit that is used when there is no other: DHCP on every card.
    public var fallback: String

    /// The paths of a node image whose agent keeps its files in `directory`.
    public init(directory: String = "/state/muster") {
        record = "\(directory)/network.json"
        stored = "\(directory)/network"
        running = "/run/systemd/network"
        fallback = "/usr/lib/muster/fallback.network"
    }

    /// Whether this is a node image, whose network is ours to make.
    var isNodeImage: Bool { SystemFile.bytes(fallback) != nil }
}

/// The files of a node's network, changed by difference.
struct NetworkFiles: Sendable {
    private static let fallbackName = "fallback.network"

    let paths: NetworkPaths

    /// What is on disk; a record that is missing or damaged is made of the units that are there.
    func record() -> NetworkRecord {
        if let bytes = SystemFile.bytes(paths.record, limit: 2 * UnitSet.sizeMax), !bytes.isEmpty,
            let record = try? JSONDecoder().decode(NetworkRecord.self, from: Data(bytes))
        {
            return record
        }
        let units = Self.units(in: paths.stored)
        return NetworkRecord(kept: units.files.isEmpty ? nil : units)
    }

    func save(_ record: NetworkRecord) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try SystemFile.replace(paths.record, content: Array(try encoder.encode(record)) + [10], mode: 0o600)
    }

    /// Makes the units of the next boot `units`; those of others stay.
    func store(_ units: UnitSet?) throws(SystemError) {
        _ = try Self.write(units ?? UnitSet(files: [:]), to: paths.stored)
    }

    /// Makes the units that systemd-networkd reads `units`, and tells what has changed; nil when nothing has.
    func run(_ units: UnitSet?) throws(SystemError) -> NetworkChange? {
        let before = Self.units(in: paths.running)
        let wanted = units ?? UnitSet(files: [:])
        var hasChanged = try Self.write(wanted, to: paths.running)
        let fallback = "\(paths.running)/\(Self.fallbackName)"
        let others = SystemFile.names(in: paths.running).filter {
            $0.hasSuffix(".network") && $0 != Self.fallbackName
        }
        if others.isEmpty {
            let text = SystemFile.bytes(paths.fallback) ?? []
            if SystemFile.bytes(fallback) != text {
                try SystemFile.replace(fallback, content: text, mode: 0o644)
                hasChanged = true
            }
        } else if unlink(fallback) == 0 {
            hasChanged = true
        }
        guard hasChanged else { return nil }
        let (old, new) = (before.devices, wanted.devices)
        return NetworkChange(
            removed: old.filter { new[$0.key] != $0.value }.map(\.key).sorted(),
            isRemade: new.contains { old[$0.key] != nil && old[$0.key] != $0.value })
    }

    static func units(in directory: String) -> UnitSet {
        var files: [String: String] = [:]
        for name in SystemFile.names(in: directory) where UnitSet.isOurs(name) {
            files[name] = SystemFile.bytes("\(directory)/\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        return UnitSet(files: files)
    }

    /// Whether anything had to be written or taken away.
    private static func write(_ units: UnitSet, to directory: String) throws(SystemError) -> Bool {
        let old = Self.units(in: directory).files
        var hasChanged = false
        for (name, text) in units.files.sorted(by: { $0.key < $1.key }) where old[name] != text {
            if !hasChanged, mkdir(directory, 0o755) != 0, errno != EEXIST {
                throw SystemError("make \(directory)", errno: errno)
            }
            try SystemFile.replace("\(directory)/\(name)", content: Array(text.utf8), mode: 0o644)
            hasChanged = true
        }
        for name in old.keys.sorted() where units.files[name] == nil {
            guard unlink("\(directory)/\(name)") == 0 || errno == ENOENT else {
                throw SystemError("remove \(directory)/\(name)", errno: errno)
            }
            hasChanged = true
        }
        return hasChanged
    }
}

/// What systemd-networkd has to be told.
public struct NetworkChange: Sendable, Hashable {
    /// Devices that are not wanted any more, or not in that form: it never takes one away by itself.
    public var removed: [String]
    /// Whether one of them comes back in another form.
    public var isRemade: Bool

    /// A change.
    public init(removed: [String], isRemade: Bool) {
        self.removed = removed
        self.isRemade = isRemade
    }
}
