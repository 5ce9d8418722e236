import FoundationEssentials
import Glibc
import Primitives
import WireCoding

extension RackFile {
    /// What a whole disk holds before the machine is first switched on.
    public struct DiskContent: Hashable, Sendable {
        /// Of which kind.
        public var kind: Kind
        /// The label of a file system, swap space or LUKS volume; the name of a volume group or of an array.
        public var name: String

        /// Kinds that can be made without a loop device.
        public enum Kind: String, Hashable, Sendable, CaseIterable {
            case ext4, xfs, swap, luks
            /// The one physical volume of a volume group.
            case lvm
            /// The first of two members of a mirror (RAID 1).
            case mdraid

            /// The most characters of a name.
            var nameLimit: Int {
                switch self {
                case .ext4, .swap: 16
                case .xfs: 12
                case .luks, .mdraid: 32
                case .lvm: 64
                }
            }

            /// What blkid calls it.
            var signature: String {
                switch self {
                case .ext4, .xfs, .swap: rawValue
                case .luks: "crypto_LUKS"
                case .lvm: "LVM2_member"
                case .mdraid: "linux_raid_member"
                }
            }

            /// The program that makes it and its Debian package; nil when it is written by this module.
            var program: (name: String, package: String)? {
                switch self {
                case .ext4: ("mkfs.ext4", "e2fsprogs")
                case .xfs: ("mkfs.xfs", "xfsprogs")
                case .swap: ("mkswap", "util-linux")
                case .luks: ("cryptsetup", "cryptsetup-bin")
                case .lvm, .mdraid: nil
                }
            }
        }
    }
}

extension RackFile.DiskContent {
    /// Makes the content on the sparse file `raw` of `size` bytes, and looks at it with blkid.
    ///
    /// The identifiers of volume groups and arrays are made from `seed`. Throws `RackError`.
    func plant(on raw: String, size: Int, seed: UInt64) async throws {
        switch kind {
        case .ext4: try await Commands.run(["mkfs.ext4", "-q", "-F", "-L", name, raw])
        case .xfs: try await Commands.run(["mkfs.xfs", "-q", "-f", "-L", name, raw])
        case .swap: try await Commands.run(["mkswap", "--quiet", "--label", name, raw])
        case .luks:
            let quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
            try await Commands.run(
                ["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--label", name, "--key-file", "-"]
                    + quick + [raw], input: "not a secret")
        case .lvm:
            try Self.write(try VolumeGroupImage(name: name, size: size, seed: seed).bytes(), at: 512, of: raw)
        case .mdraid:
            let superblock = try ArrayMemberImage(name: name, size: size, seed: seed).bytes()
            try Self.write(superblock, at: ArrayMemberImage.superblockOffset, of: raw)
        }
        let found = try await Commands.run(["blkid", "--probe", "--output", "export", raw])
        guard found.split(separator: "\n").contains("TYPE=\(kind.signature)") else {
            throw RackError.failed("\(kind.rawValue) was written on \(raw), and blkid finds: \(found)")
        }
    }

    private static func write(_ bytes: [UInt8], at offset: Int, of path: String) throws(RackError) {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw .failed("\(path) cannot be written: \(String(cString: strerror(errno))).") }
        defer { close(file) }
        guard bytes.withUnsafeBytes({ pwrite(file, $0.baseAddress, $0.count, off_t(offset)) }) == bytes.count else {
            throw .failed("\(path) cannot be written: \(String(cString: strerror(errno))).")
        }
    }
}

/// The first MiB of a physical volume, from its label in the second sector on: LVM2's on-disk format with one metadata
/// area and the text of a volume group without logical volumes (lvm2, `lib/format_text/layout.h`).
struct VolumeGroupImage {
    let name: String
    let size: Int
    let seed: UInt64

    private static let areaStart = 4096
    private static let dataStart = 1 << 20
    private static let extentSize = 4 << 20

    func bytes() throws(WireError) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        let volume = Self.identifier(using: &random)
        let text = Array(metadata(volume: volume, group: Self.identifier(using: &random)).utf8) + [0]
        var image = try label(volume)
        image += [UInt8](repeating: 0, count: Self.areaStart - 512 - image.count)
        image += try areaHeader(text)
        return image + text
    }

    private func label(_ volume: [UInt8]) throws(WireError) -> [UInt8] {
        var body = ByteWriter(limit: 492)
        try body.writeUInt32(32, .little)
        try body.write(text: "LVM2 001")
        try body.write(volume)
        try body.writeUInt64(UInt64(size), .little)
        // Where data is, to the end; where metadata is; each list ends with a pair of zeros.
        for pair in [(Self.dataStart, 0), (0, 0), (Self.areaStart, Self.dataStart - Self.areaStart), (0, 0)] {
            try body.writeUInt64(UInt64(pair.0), .little)
            try body.writeUInt64(UInt64(pair.1), .little)
        }
        // The extension: version 2, in use by a volume group, no boot loader area.
        try body.writeUInt32(2, .little)
        try body.writeUInt32(1, .little)
        try body.writeZeros(492 - body.count)
        var label = ByteWriter(limit: 512)
        try label.write(text: "LABELONE")
        try label.writeUInt64(1, .little)
        try label.writeUInt32(Self.checksum(body.bytes), .little)
        try label.write(body.bytes)
        return label.bytes
    }

    private func areaHeader(_ text: [UInt8]) throws(WireError) -> [UInt8] {
        var body = ByteWriter(limit: 508)
        try body.write(text: " LVM2 x[5A%r0N*>")
        try body.writeUInt32(1, .little)
        try body.writeUInt64(UInt64(Self.areaStart), .little)
        try body.writeUInt64(UInt64(Self.dataStart - Self.areaStart), .little)
        try body.writeUInt64(512, .little)
        try body.writeUInt64(UInt64(text.count), .little)
        try body.writeUInt32(Self.checksum(text), .little)
        try body.writeZeros(508 - body.count)
        var header = ByteWriter(limit: 512)
        try header.writeUInt32(Self.checksum(body.bytes), .little)
        try header.write(body.bytes)
        return header.bytes
    }

    private func metadata(volume: [UInt8], group: [UInt8]) -> String {
        """
        \(name) {
        id = "\(Self.dashed(group))"
        seqno = 1
        format = "lvm2"
        status = ["RESIZEABLE", "READ", "WRITE"]
        flags = []
        extent_size = \(Self.extentSize / 512)
        max_lv = 0
        max_pv = 0
        metadata_copies = 0
        physical_volumes {
        pv0 {
        id = "\(Self.dashed(volume))"
        device = "/dev/unknown"
        status = ["ALLOCATABLE"]
        flags = []
        dev_size = \(size / 512)
        pe_start = \(Self.dataStart / 512)
        pe_count = \((size - Self.dataStart) / Self.extentSize)
        }
        }
        }
        contents = "Text Format Volume Group"
        version = 1
        description = ""
        creation_host = "rack"
        creation_time = 1700000000

        """
    }

    /// 32 letters and digits.
    private static func identifier(using random: inout SeededRandom) -> [UInt8] {
        let letters = Array("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        return (0..<32).map { _ in letters[Int(random.next() % UInt64(letters.count))] }
    }

    private static func dashed(_ identifier: [UInt8]) -> String {
        var text = ""
        for (index, byte) in identifier.enumerated() {
            if [6, 10, 14, 18, 22, 26].contains(index) { text.append("-") }
            text.unicodeScalars.append(UnicodeScalar(byte))
        }
        return text
    }

    /// LVM's CRC-32: the usual polynomial, a start value of its own, not inverted at the end.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.reduce(0xF597_A6CF) { crc, byte in
            (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
    }
}

/// The version 1.2 superblock of the first of two members of a clean mirror (Linux, `include/uapi/linux/raid/md_p.h`).
struct ArrayMemberImage {
    let name: String
    let size: Int
    let seed: UInt64

    static let superblockOffset = 4096
    private static let dataOffset = 1 << 20

    func bytes() throws(WireError) -> [UInt8] {
        let roles: [UInt16] = [0, 1]
        var image = try header(memberCount: roles.count)
        for role in roles { image += [UInt8(role & 0xFF), UInt8(role >> 8)] }
        // The sum of all words, with the checksum's own taken as zero, folded to 32 bits.
        let sum = stride(from: 0, to: image.count, by: 4).reduce(UInt64(0)) { sum, start in
            sum + image[start..<start + 4].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        let folded = UInt32(truncatingIfNeeded: (sum & 0xFFFF_FFFF) + (sum >> 32))
        image.replaceSubrange(216..<220, with: (0..<4).map { UInt8(truncatingIfNeeded: folded >> (8 * $0)) })
        return image
    }

    private func header(memberCount: Int) throws(WireError) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        func identifier() -> [UInt8] { (0..<16).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        let sectors = UInt64((size - Self.dataOffset) / 512)
        var header = ByteWriter(limit: 256)
        for word: UInt32 in [0xA92B_4EFC, 1, 0, 0] { try header.writeUInt32(word, .little) }
        try header.write(identifier())
        try header.write(text: name)
        try header.writeZeros(64 - header.count)
        try header.writeUInt64(1_700_000_000, .little)
        for word: UInt32 in [1, 0] { try header.writeUInt32(word, .little) }
        try header.writeUInt64(sectors, .little)
        for word: UInt32 in [0, UInt32(memberCount), 0] { try header.writeUInt32(word, .little) }
        try header.writeZeros(128 - header.count)
        // Where the data is and how much; where this superblock is; recovered up to the end.
        let places = [UInt64(Self.dataOffset / 512), sectors, UInt64(Self.superblockOffset / 512), 0]
        for place in places { try header.writeUInt64(place, .little) }
        for word: UInt32 in [0, 0] { try header.writeUInt32(word, .little) }
        try header.write(identifier())
        try header.writeZeros(192 - header.count)
        for number: UInt64 in [1_700_000_000, 1, .max] { try header.writeUInt64(number, .little) }
        for word in [0, UInt32(memberCount)] { try header.writeUInt32(word, .little) }
        try header.writeZeros(256 - header.count)
        return header.bytes
    }
}
