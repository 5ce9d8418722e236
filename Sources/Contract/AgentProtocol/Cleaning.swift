import Primitives

/// How a disk is emptied.
public enum CleanMethod: String, Codable, Sendable, Hashable, CaseIterable {
    /// Both ends of the disk and of its partitions are overwritten with zeros and the rest is discarded where the disk
    /// can; takes seconds. Old data may still be readable with special means.
    case quick
    /// Every byte is overwritten with zero and read back.
    case overwrite
    /// The controller erases all user data (NVM Express base specification, Format NVM with Secure Erase Settings 1).
    case format
    /// An ATA disk erases all user data, spare blocks included where it can (ACS-4, SECURITY ERASE UNIT); both ends are
    /// overwritten with zeros afterwards, as it may leave a pattern. Not proved on hardware.
    case erase
}

/// Which disks the ramdisk empties, and how. Sent only to an approved machine.
public struct CleanOrder: Codable, Sendable, Hashable {
    /// The disks, each by facts that one disk fits, 1 to `diskCountMax`. No other disk is touched.
    public var disks: [RootDiskHint]
    /// How.
    public var method: CleanMethod

    /// The most disks of one order.
    public static let diskCountMax = 48

    /// An order.
    public init(disks: [RootDiskHint], method: CleanMethod) {
        self.disks = disks
        self.method = method
    }
}

/// What came of one disk.
public struct CleanedDisk: Codable, Sendable, Hashable {
    /// The device's path in the ramdisk.
    public var path: String
    /// Its serial number.
    public var serial: String?
    /// What was recognised on it before, for example `ext4 'data'`; at most 16.
    public var found: [String]
    /// Whether it has discarded what was not overwritten.
    public var isDiscarded: Bool
    /// How much was read back and found to be zero.
    public var readBack: ByteCount

    /// A result.
    public init(path: String, serial: String?, found: [String], isDiscarded: Bool, readBack: ByteCount) {
        self.path = path
        self.serial = serial
        self.found = found
        self.isDiscarded = isDiscarded
        self.readBack = readBack
    }
}

extension CleanedDisk: CustomStringConvertible {
    /// For people, for example `/dev/vdb (serial X): held ext4 'data'; discarded, 8 MiB read back as zero`.
    public var description: String {
        let name = serial.map { "\(path) (serial \($0.printable(limit: 40)))" } ?? path
        let held = found.isEmpty ? "was blank" : "held \(found.joined(separator: ", ").printable(limit: 160))"
        return
            "\(name.printable(limit: 120)): \(held); \(isDiscarded ? "discarded, " : "")\(readBack) read back as zero"
    }
}

extension InventoryReport.DiskContents {
    /// What is on the disk in words, for example `a gpt partition table`, `ext4 'data'`; at most `limit`.
    public func findings(limit: Int = 16) -> [String] {
        var all: [String] = []
        if isAmbiguous { all.append("signatures that contradict each other") }
        if let signature { all.append(signature.words) }
        if let partitionTable { all.append("a \(partitionTable.printable(limit: 20)) partition table") }
        all += partitions.compactMap { part in part.signature.map { "\($0.words) in partition \(part.number)" } }
        return Array(all.prefix(limit))
    }
}

extension InventoryReport.Signature {
    fileprivate var words: String {
        let name = label.map { " '\($0.printable(limit: 40))'" } ?? ""
        return type.printable(limit: 40) + name
    }
}
