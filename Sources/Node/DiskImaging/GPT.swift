import Primitives

/// A GUID partition table (UEFI 2.10 section 5.3) of a disk with 512-byte sectors.
public struct GPT: Hashable, Sendable {
    /// One used entry of the table.
    public struct Entry: Hashable, Sendable {
        /// Its place in the table, counted from 1.
        public let number: Int
        /// The partition's name.
        public let name: String
        /// The first sector.
        public let firstSector: UInt64
        /// The last sector.
        public let lastSector: UInt64
        /// The length in bytes.
        public var size: ByteCount { ByteCount(bytes: (lastSector - firstSector + 1) * UInt64(GPT.sector)) }
    }

    /// Bytes of a sector; images are made for no other size.
    public static let sector = 512
    /// Bytes at the start of a disk that hold the protective MBR, the header and the entries.
    public static let primaryLength = (2 + entrySectors) * sector
    /// Bytes at the end of a disk that hold the second copy of the entries and the header.
    public static let backupLength = (1 + entrySectors) * sector

    static let entrySectors = 32
    private static let entryLength = 128
    private static let entryCount = 128
    private static let alignment: UInt64 = 2048

    private var header: [UInt8]
    private var table: [UInt8]
    /// Sectors of the disk.
    private var sectors: UInt64

    /// The used entries, by number.
    public private(set) var entries: [Entry]

    /// Reads the primary table from the first `primaryLength` bytes of a disk; throws `GPTError` unless both checksums
    /// fit and the table has the usual 128 entries of 128 bytes behind the header.
    public init(primary bytes: [UInt8]) throws(GPTError) {
        guard bytes.count >= Self.primaryLength else { throw .malformed("it is cut off") }
        header = Array(bytes[512..<604])
        table = Array(bytes[1024..<Self.primaryLength])
        entries = []
        sectors = 0
        guard Array(header[0..<8]) == Array("EFI PART".utf8) else { throw .malformed("the disk has no GPT") }
        guard header.little(UInt32.self, 12) == 92 else { throw .malformed("the header's length is not 92") }
        guard header.little(UInt64.self, 24) == 1, header.little(UInt64.self, 72) == 2 else {
            throw .malformed("the header is not in its place")
        }
        guard header.little(UInt32.self, 80) == UInt32(Self.entryCount),
            header.little(UInt32.self, 84) == UInt32(Self.entryLength)
        else { throw .malformed("the table does not have 128 entries of 128 bytes") }
        guard header.little(UInt32.self, 16) == Self.headerChecksum(header) else {
            throw .malformed("the header's checksum is wrong")
        }
        guard header.little(UInt32.self, 88) == CRC32.of(table) else {
            throw .malformed("the entries' checksum is wrong")
        }
        sectors = header.little(UInt64.self, 32) &+ 1
        entries = try Self.readEntries(table, firstUsable: header.little(UInt64.self, 40))
    }

    private static func readEntries(_ table: [UInt8], firstUsable: UInt64) throws(GPTError) -> [Entry] {
        var entries: [Entry] = []
        for index in 0..<entryCount {
            let at = index * entryLength
            guard table[at..<(at + 16)].contains(where: { $0 != 0 }) else { continue }
            let first = table.little(UInt64.self, at + 32)
            let last = table.little(UInt64.self, at + 40)
            guard first >= firstUsable, last >= first, last < UInt64(1) << 53 else {
                throw .malformed("partition \(index + 1) has impossible bounds")
            }
            let units = stride(from: at + 56, to: at + 128, by: 2).map { table.little(UInt16.self, $0) }
            let name = String(decoding: units.prefix { $0 != 0 }, as: UTF16.self).printable(limit: 36)
            entries.append(Entry(number: index + 1, name: name, firstSector: first, lastSector: last))
        }
        return entries
    }

    /// The entry with that name, nil unless there is exactly one.
    public func entry(named name: String) -> Entry? {
        let found = entries.filter { $0.name == name }
        return found.count == 1 ? found[0] : nil
    }

    /// Fits the table to a disk of `diskSize` bytes and lets the partition `name` end with the disk, on a whole MiB.
    ///
    /// Throws `GPTError` when the partitions do not fit on the disk, or when `name` is not the last partition.
    public mutating func grow(_ name: String, toDiskSize diskSize: UInt64) throws(GPTError) {
        guard let last = entries.max(by: { $0.firstSector < $1.firstSector }), last.name == name else {
            throw .malformed("its last partition is not '\(name)'")
        }
        let sectors = diskSize / UInt64(Self.sector)
        let reserved = UInt64(Self.entrySectors + 1)
        let needed = (last.lastSector + 1 + reserved) * UInt64(Self.sector)
        guard sectors > reserved, last.lastSector < sectors - reserved else {
            throw .diskTooSmall(needed: ByteCount(bytes: needed), found: ByteCount(bytes: diskSize))
        }
        let lastUsable = sectors - reserved - 1
        let aligned = (lastUsable + 1) / Self.alignment * Self.alignment
        let end = aligned > last.lastSector ? aligned - 1 : last.lastSector
        self.sectors = sectors
        header.setLittle(lastUsable, 48)
        table.setLittle(end, (last.number - 1) * Self.entryLength + 40)
        header.setLittle(CRC32.of(table), 88)
        entries = entries.map { entry in
            guard entry.number == last.number else { return entry }
            return Entry(number: entry.number, name: entry.name, firstSector: entry.firstSector, lastSector: end)
        }
    }

    /// Gives the disk and each partition a random identifier (RFC 9562, version 4) in place of the image's, which are
    /// on every disk that the image was written to.
    public mutating func renew(using random: inout some RandomNumberGenerator) {
        header.replaceSubrange(56..<72, with: Self.identifier(using: &random))
        for entry in entries {
            let at = (entry.number - 1) * Self.entryLength + 16
            table.replaceSubrange(at..<(at + 16), with: Self.identifier(using: &random))
        }
        header.setLittle(CRC32.of(table), 88)
    }

    /// Sixteen bytes as they are on the disk, where the first three fields of a UUID are little-endian.
    private static func identifier(using random: inout some RandomNumberGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<16 { bytes.append(UInt8.random(in: 0...255, using: &random)) }
        bytes[7] = bytes[7] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes
    }

    /// The first `primaryLength` bytes of the disk: MBR, header, entries. `mbr` is the image's first sector; a protective
    /// record in it is fitted to the disk, the boot loader's code stays.
    public func primary(mbr: [UInt8]) -> [UInt8] {
        precondition(mbr.count == Self.sector, "an MBR is one sector")
        var fitted = mbr
        if fitted[450] == 0xEE { fitted.setLittle(UInt32(clamping: sectors - 1), 458) }
        return fitted + headerSector(own: 1, other: sectors - 1, table: 2) + table
    }

    /// The last `backupLength` bytes of the disk: entries, header.
    public func backup() -> [UInt8] {
        table + headerSector(own: sectors - 1, other: 1, table: sectors - 1 - UInt64(Self.entrySectors))
    }

    /// Where the backup begins, in bytes.
    public var backupOffset: UInt64 { sectors * UInt64(Self.sector) - UInt64(Self.backupLength) }

    private func headerSector(own: UInt64, other: UInt64, table: UInt64) -> [UInt8] {
        var copy = header
        copy.setLittle(own, 24)
        copy.setLittle(other, 32)
        copy.setLittle(table, 72)
        copy.setLittle(Self.headerChecksum(copy), 16)
        return copy + [UInt8](repeating: 0, count: Self.sector - copy.count)
    }

    private static func headerChecksum(_ header: [UInt8]) -> UInt32 {
        var copy = header
        copy.setLittle(UInt32(0), 16)
        return CRC32.of(copy)
    }
}

/// Why a partition table is refused.
public enum GPTError: UserFacingError, Hashable {
    /// It is not of the form; the text says which rule is broken.
    case malformed(String)
    /// The partitions do not fit on the disk.
    case diskTooSmall(needed: ByteCount, found: ByteCount)

    public var publicMessage: String {
        switch self {
        case .malformed(let reason):
            "The image's partition table cannot be used: \(reason). Build the image again."
        case .diskTooSmall(let needed, let found):
            "The disk has \(found), the image needs \(needed). Choose another disk by a root disk hint."
        }
    }
}

/// The checksum of IEEE 802.3 that GPT uses.
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    static func of(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(UInt32.max) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
    }
}

extension [UInt8] {
    fileprivate func little<Value: FixedWidthInteger>(_ type: Value.Type, _ offset: Int) -> Value {
        withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }

    fileprivate mutating func setLittle<Value: FixedWidthInteger>(_ value: Value, _ offset: Int) {
        withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self) }
    }
}
