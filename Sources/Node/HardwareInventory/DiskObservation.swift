import AgentProtocol
import CLinux
import Glibc
import LinuxSystem
import Primitives

/// A disk with all that says whether it may be taken: what is on it, and who uses it.
public struct ObservedDisk: Hashable, Sendable {
    /// Facts about it.
    public var disk: InventoryReport.Disk
    /// Every signature on the whole disk; nil: it cannot be read, so nobody knows.
    public var signatures: [DiskSignature]?
    /// Who uses it now.
    public var use: Use?

    /// Who uses a disk.
    public enum Use: Hashable, Sendable {
        /// The running system is on it.
        case system
        /// It, or a part of it, is mounted there, or is swap space.
        case mounted(String)
        /// These devices of the kernel (device mapper, md, bcache) are made of it.
        case held([String])
    }

    /// A disk.
    public init(disk: InventoryReport.Disk, signatures: [DiskSignature]?, use: Use? = nil) {
        self.disk = disk
        self.signatures = signatures
        self.use = use
    }
}

/// One thing that libblkid recognises on a disk.
public struct DiskSignature: Hashable, Sendable {
    /// The format, for example `ext4`, `linux_raid_member`, `LVM2_member`, or a partition table's, as `gpt`.
    public var type: String
    /// `filesystem`, `raid`, `crypto`, `other`, or `partitions`.
    public var usage: String
    /// The label or name.
    public var label: String?
    /// The identifier.
    public var uuid: String?

    /// A signature.
    public init(type: String, usage: String, label: String? = nil, uuid: String? = nil) {
        self.type = type
        self.usage = usage
        self.label = label
        self.uuid = uuid
    }
}

/// Looks at the disks of this machine as whoever is about to take some must.
public enum DiskObservation {
    /// All disks that udev knows, by name; blocks while they are read.
    public static func read() -> [ObservedDisk] {
        guard let udev = Udev() else { fatalError("out of memory") }
        let uses = DiskUses.read()
        return DiskCollector(udev: udev).collect().map { observe($0, uses) }
    }

    /// What is on and who uses the disk that `disk` names by its path.
    public static func read(_ disk: InventoryReport.Disk) -> ObservedDisk { observe(disk, DiskUses.read()) }

    private static func observe(_ disk: InventoryReport.Disk, _ uses: DiskUses) -> ObservedDisk {
        let signatures = disk.size.bytes > 0 ? try? BlockProbe.signatures(disk.path) : nil
        return ObservedDisk(disk: disk, signatures: signatures, use: uses.use(of: disk.name))
    }

    /// Errors of reading and writing that the kernel has counted for the disk `name`; nil for sorts of disks for which
    /// it counts none (only SCSI and ATA disks have the counter).
    public static func errorCount(_ name: String) -> UInt64? {
        guard let text = SystemFile.text("/sys/block/\(name)/device/ioerr_cnt", limit: 32) else { return nil }
        return text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }
}

/// Which disks are in use, and by whom.
struct DiskUses: Hashable, Sendable {
    /// The mount point, by disk.
    var mounts: [String: String] = [:]

    private static let systemMounts: Set<String> = ["/", "/state", "/boot", "/usr", "/var", "/etc"]

    static func read() -> DiskUses {
        var uses = DiskUses()
        for line in (SystemFile.text("/proc/self/mountinfo", limit: 1 << 20) ?? "").split(separator: "\n") {
            // proc_pid_mountinfo(5): ID, parent, major:minor, root, mount point, …
            let words = line.split(separator: " ")
            guard words.count > 4 else { continue }
            for disk in disks(of: String(words[2])) { uses.add(disk, String(words[4])) }
        }
        for line in (SystemFile.text("/proc/swaps") ?? "").split(separator: "\n").dropFirst() {
            guard let path = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).first else { continue }
            var status = stat()
            guard stat(String(path), &status) == 0 else { continue }
            let isDevice = status.st_mode & S_IFMT == S_IFBLK
            let number = isDevice ? status.st_rdev : status.st_dev
            for disk in disks(of: "\(clinux_major(number)):\(clinux_minor(number))") { uses.add(disk, "swap") }
        }
        return uses
    }

    mutating func add(_ disk: String, _ point: String) {
        // The mount that says most about the disk wins: that of the system.
        if let before = mounts[disk], Self.systemMounts.contains(before) { return }
        if mounts[disk] == nil || Self.systemMounts.contains(point) { mounts[disk] = point }
    }

    func use(of name: String) -> ObservedDisk.Use? {
        if let point = mounts[name] { return Self.systemMounts.contains(point) ? .system : .mounted(point) }
        var holders = SystemFile.names(in: "/sys/block/\(name)/holders")
        for part in SystemFile.names(in: "/sys/block/\(name)") where part.hasPrefix(name) {
            holders += SystemFile.names(in: "/sys/block/\(name)/\(part)/holders")
        }
        return holders.isEmpty ? nil : .held(Array(Set(holders)).sorted())
    }

    /// The disks below a block device, through partitions, device mapper and md.
    private static func disks(of number: String, depth: Int = 0) -> [String] {
        guard depth < 8, let name = SystemFile.linkName("/sys/dev/block/\(number)") else { return [] }
        let path = "/sys/class/block/\(name)"
        let slaves = SystemFile.names(in: "\(path)/slaves")
        if !slaves.isEmpty {
            return slaves.flatMap { slave in
                SystemFile.text("/sys/class/block/\(slave)/dev", limit: 32).map { disks(of: $0, depth: depth + 1) }
                    ?? []
            }
        }
        if let whole = SystemFile.text("\(path)/partition", limit: 16).flatMap({ _ in parent(of: path) }) {
            return [whole]
        }
        return [name]
    }

    /// The disk of a partition: the directory above it.
    private static func parent(of path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        let parts = String(cString: resolved).split(separator: "/")
        return parts.count > 1 ? String(parts[parts.count - 2]) : nil
    }
}
