import AgentProtocol
import DiskImaging
import Fleet
import Glibc
import HardwareInventory
import Policy
import Primitives

extension FuzzTarget {
    /// A site file: read or refused with a line, and what was read has nothing wrong with it.
    static let siteFile = FuzzTarget("site-file", sizeMax: 16384) { bytes in
        do {
            let site = try SiteFile(yaml: String(decoding: bytes, as: UTF8.self))
            try require(site.document.problems().isEmpty, "a file that is accepted to be right")
        } catch let error as SiteError {
            try require(!error.problems.isEmpty, "a reason")
        }
    }

    /// An override file of policy: refused with a reason, or a table that decides, explains and is read back the same.
    static let policyFile = FuzzTarget("policy-file", sizeMax: 16384) { bytes in
        do {
            let file = try PolicyFile(String(decoding: bytes, as: UTF8.self), path: "policy.yaml")
            let table = try PolicyTable(IdentityPolicy.defaults, file: file)
            let who = PolicyCredentials(userID: "u", domainID: "d", roles: ["reader"])
            for (name, check) in file.checks {
                let read = try PolicyCheck(parsing: check)
                try require((try? PolicyCheck(parsing: read.description)) == read, "'\(read)' to be read back the same")
                let isAllowed = table.isAllowed(name, who, PolicyTarget())
                let told = table.explain(name, who, PolicyTarget())
                try require(told.first?.hasPrefix("allowed") == isAllowed, "'\(name)' to be explained as it is decided")
            }
        } catch let error as PolicyError {
            try require(error.publicMessage.hasPrefix("policy file policy.yaml: "), "the file's name in \(error)")
        }
    }

    /// The start of a disk: the table is read, fitted to the disk, and read again.
    static let gpt = FuzzTarget("gpt", sizeMax: GPT.primaryLength) { bytes in
        guard var table = try? GPT(primary: Self.disk(bytes)) else { return }
        for entry in table.entries {
            _ = (entry.size, table.entry(named: entry.name))
        }
        guard let last = table.entries.last?.name else { return }
        var random = SeededRandom(seed: 1)
        for size: UInt64 in [0, 1 << 19, 1 << 34, 1 << 60] {
            var grown = table
            guard (try? grown.grow(last, toDiskSize: size)) != nil else { continue }
            grown.renew(using: &random)
            let mbr = [UInt8](repeating: 0, count: GPT.sector)
            try require((try? GPT(primary: grown.primary(mbr: mbr)))?.entries == grown.entries, "a table that is kept")
            try require(grown.backup().count == GPT.backupLength, "a whole backup")
            try require(grown.backupOffset < size, "a backup that is on the disk")
        }
        table.renew(using: &random)
    }

    /// The bytes as the start of a disk, its checksums put right so that what is behind them is reached.
    private static func disk(_ bytes: [UInt8]) -> [UInt8] {
        var disk = bytes
        guard disk.count >= GPT.primaryLength else { return disk }
        func set(_ value: UInt32, _ offset: Int) {
            for index in 0..<4 { disk[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(8 * index)) }
        }
        set(crc32(disk[1024..<GPT.primaryLength]), 512 + 88)
        set(0, 512 + 16)
        set(crc32(disk[512..<604]), 512 + 16)
        return disk
    }

    private static func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        ~bytes.reduce(UInt32.max) { sum, byte in
            (0..<8).reduce(sum ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
    }

    /// The bytes as the start of a disk of 1 MiB that libblkid looks at: what comes of it is bounded.
    static let diskContents = FuzzTarget("disk-contents", sizeMax: 1 << 17) { bytes in
        var path = Array("/dev/shm/muster-fuzz-XXXXXX".utf8CString)
        let file = mkstemp(&path)
        guard file >= 0 else { throw FuzzFailure(description: "a file in memory, not errno \(errno)") }
        unlink(path)
        defer { close(file) }
        guard ftruncate(file, 1 << 20) == 0, pwrite(file, bytes, bytes.count, 0) == bytes.count else {
            throw FuzzFailure(description: "a file of 1 MiB, not errno \(errno)")
        }
        let contents = try BlockProbe.contents("/proc/self/fd/\(file)")
        try require(contents.partitions.count <= 128, "at most 128 partitions")
        let signatures = try BlockProbe.signatures("/proc/self/fd/\(file)")
        try require(signatures.count <= 64, "at most 64 signatures")
    }

    /// The table of SMBIOS structures.
    static let memoryModules = FuzzTarget("memory-modules", sizeMax: 8192) { bytes in
        let modules = MemoryModules.parse(bytes)
        try require(modules.count <= 128, "at most 128 modules")
    }
}
