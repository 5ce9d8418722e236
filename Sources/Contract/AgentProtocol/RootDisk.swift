import Primitives

/// Chooses the disk that an image is written to.
public enum RootDiskChoice {
    /// The one disk of `disks` that can be written to and that `hint` fits; throws `RootDiskError`, which lists the
    /// disks, when there is none or more than one.
    public static func choose(
        _ hint: RootDiskHint, among disks: [InventoryReport.Disk]
    ) throws(RootDiskError) -> InventoryReport.Disk {
        let usable = disks.filter { !$0.isReadOnly && !$0.isRemovable && $0.size.bytes > 0 }
        let fitting = usable.filter { hint.fits($0) }
        guard let disk = fitting.first else {
            throw usable.isEmpty ? .noUsableDisk(disks: disks) : .noMatch(hint: hint, disks: disks)
        }
        guard fitting.count == 1 else { throw .ambiguous(hint: hint, matches: fitting) }
        return disk
    }
}

extension RootDiskHint {
    /// Whether every fact that the hint names is so of `disk`.
    public func fits(_ disk: InventoryReport.Disk) -> Bool {
        func same(_ wanted: String?, _ found: String?) -> Bool { wanted == nil || wanted == found }
        return same(serial, disk.serial) && same(wwn, disk.wwn) && same(path, disk.idPath) && same(model, disk.model)
            && disk.size >= sizeMin ?? disk.size && disk.size <= sizeMax ?? disk.size
    }
}

extension RootDiskHint: CustomStringConvertible {
    /// The facts it names, for example `serial VB0001, at least 4 GiB`.
    public var description: String {
        var facts: [String] = []
        func add(_ name: String, _ value: String?) {
            if let value { facts.append("\(name) \(value.printable(limit: 80))") }
        }
        add("serial", serial)
        add("wwn", wwn)
        add("path", path)
        add("model", model)
        add("at least", sizeMin?.description)
        add("at most", sizeMax?.description)
        return facts.isEmpty ? "any disk" : facts.joined(separator: ", ")
    }
}

/// Why no root disk was chosen.
public enum RootDiskError: UserFacingError, Hashable {
    /// The machine has no disk that is neither read-only nor removable.
    case noUsableDisk(disks: [InventoryReport.Disk])
    /// No disk fits the hint.
    case noMatch(hint: RootDiskHint, disks: [InventoryReport.Disk])
    /// Several disks fit the hint.
    case ambiguous(hint: RootDiskHint, matches: [InventoryReport.Disk])

    public var publicMessage: String {
        switch self {
        case .noUsableDisk(let disks) where disks.isEmpty:
            "The machine has no disk. Check its cabling and its storage controller's driver."
        case .noUsableDisk(let disks):
            "The machine has no disk to install on: all are read-only or removable. \(Self.list(disks))"
        case .noMatch(let hint, let disks):
            "No disk fits the root disk hint (\(hint)). Change the hint to fit one of these: \(Self.list(disks))"
        case .ambiguous(let hint, let matches):
            "The root disk hint (\(hint)) fits \(matches.count) disks. Name one by its serial, WWN or path: "
                + Self.list(matches)
        }
    }

    private static func list(_ disks: [InventoryReport.Disk]) -> String {
        let shown = disks.prefix(16).map { disk in
            var facts = ["\(disk.size)"]
            if let serial = disk.serial { facts.append("serial \(serial)") }
            if let wwn = disk.wwn { facts.append("wwn \(wwn)") }
            if let path = disk.idPath { facts.append("path \(path)") }
            if let model = disk.model { facts.append("model \(model)") }
            if disk.isReadOnly { facts.append("read-only") }
            if disk.isRemovable { facts.append("removable") }
            return "\(disk.path) (\(facts.joined(separator: ", ")))"
        }
        let rest = disks.count > shown.count ? " and \(disks.count - shown.count) more" : ""
        return shown.joined(separator: "; ") + rest + "."
    }
}
