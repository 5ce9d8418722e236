import AgentProtocol
import CLinux
import Glibc
import Primitives

/// Empties one disk and reads back that it is empty.
public struct DiskCleaner: Sendable {
    /// How much of each end of a disk or partition is overwritten in any case: every signature that libblkid knows lies
    /// there (the farthest are those of btrfs, ZFS and of RAID members).
    public static let endSize: UInt64 = 4 << 20
    /// How much is written between two looks at whether the order still stands.
    static let stepSize: UInt64 = 64 << 20

    /// What is recognised on the device at a path; throws when it cannot be read.
    private let probe: @Sendable (String) throws -> InventoryReport.DiskContents

    private let eraser: ATAErase

    /// A cleaner that looks at disks through `probe`.
    public init(probe: @escaping @Sendable (String) throws -> InventoryReport.DiskContents) {
        self.init(probe: probe, eraser: ATAErase())
    }

    init(probe: @escaping @Sendable (String) throws -> InventoryReport.DiskContents, eraser: ATAErase) {
        self.probe = probe
        self.eraser = eraser
    }

    /// Empties the disk at `path` by `method`, and tells `progress` the bytes done and in all.
    ///
    /// Throws `DiskError`: the disk is in use, read-only or broken, cannot do `method`, or still holds something after.
    public func clean(
        _ path: String, serial: String?, method: CleanMethod, isWanted: () -> Bool = { true },
        progress: (_ done: UInt64, _ total: UInt64) -> Void = { _, _ in }
    ) throws -> CleanedDisk {
        let before = try probe(path)
        let device = try BlockDevice(path: path, anySector: true)
        var isDiscarded = false
        var read: UInt64
        switch method {
        case .quick:
            let ends = Self.ends(of: device.size, partitions: before.partitions)
            // Ends first: what a disk gives back for discarded blocks is its own affair.
            isDiscarded = device.discardAll()
            for range in ends { try device.overwrite(range) }
            try device.sync()
            read = try verify(device, ends, isWanted, progress)
        case .overwrite:
            try walk(device, 0..<device.size, isWanted) { range in
                try device.overwrite(range)
                progress(range.upperBound, device.size * 2)
            }
            try device.sync()
            read = try verify(device, [0..<device.size], isWanted) { done, total in progress(total + done, total * 2) }
        case .format:
            try device.formatNVMe()
            read = try verify(device, Self.ends(of: device.size, partitions: before.partitions), isWanted, progress)
        case .erase:
            _ = try eraser.erase(path)
            let ends = Self.ends(of: device.size, partitions: before.partitions)
            device.dropCache(0..<device.size)
            for range in ends { try device.overwrite(range) }
            try device.sync()
            read = try verify(device, ends, isWanted, progress)
        }
        try device.rereadPartitions()
        let left = try probe(path).findings()
        guard left.isEmpty else { throw DiskError.notEmpty(path: path, found: left) }
        return CleanedDisk(
            path: path, serial: serial, found: before.findings(), isDiscarded: isDiscarded,
            readBack: ByteCount(bytes: read))
    }

    /// The first and last `endSize` bytes of the disk and of each partition, in order and without overlaps.
    static func ends(of size: UInt64, partitions: [InventoryReport.Partition]) -> [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        func add(_ start: UInt64, _ end: UInt64) {
            guard start < end, end <= size else { return }
            let length = min(endSize, end - start)
            ranges.append(start..<start + length)
            ranges.append(end - length..<end)
        }
        add(0, size)
        for partition in partitions {
            guard partition.start < size else { continue }
            let length = min(partition.size.bytes, size - partition.start)
            add(partition.start, partition.start + length)
        }
        var merged: [Range<UInt64>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound {
                merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        return merged
    }

    private func walk(
        _ device: BlockDevice, _ range: Range<UInt64>, _ isWanted: () -> Bool, _ body: (Range<UInt64>) throws -> Void
    ) throws {
        var offset = range.lowerBound
        while offset < range.upperBound {
            guard isWanted() else { throw CancellationError() }
            let end = min(offset + Self.stepSize, range.upperBound)
            try body(offset..<end)
            offset = end
        }
    }

    /// Reads `ranges` from the disk itself; throws `DiskError.notZero` at the first byte that is not zero.
    private func verify(
        _ device: BlockDevice, _ ranges: [Range<UInt64>], _ isWanted: () -> Bool,
        _ progress: (UInt64, UInt64) -> Void
    ) throws -> UInt64 {
        let total = ranges.reduce(0) { $0 + UInt64($1.count) }
        var done: UInt64 = 0
        for range in ranges {
            device.dropCache(range)
            try walk(device, range, isWanted) { part in
                if let place = try device.firstNonZero(in: part) {
                    throw DiskError.notZero(path: device.path, offset: place)
                }
                device.dropCache(part)
                done += UInt64(part.count)
                progress(done, total)
            }
        }
        return done
    }
}

extension BlockDevice {
    private static var stepSize: Int { 1 << 20 }

    /// Writes zeros over `range`, whatever is there.
    func overwrite(_ range: Range<UInt64>) throws(DiskError) {
        if zeroesByItself, range.lowerBound % sectorSize == 0, range.upperBound % sectorSize == 0 {
            return try zero(range)
        }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.stepSize, alignment: Self.alignment)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(UInt64(Self.stepSize), range.upperBound - offset))
            try writeDirect(UnsafeRawBufferPointer(rebasing: memory[0..<count]), at: offset)
            offset += UInt64(count)
        }
    }

    /// Where the first byte of `range` that is not zero is; nil: there is none.
    func firstNonZero(in range: Range<UInt64>) throws(DiskError) -> UInt64? {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.stepSize, alignment: Self.alignment)
        defer { memory.deallocate() }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(UInt64(Self.stepSize), range.upperBound - offset))
            let part = UnsafeMutableRawBufferPointer(rebasing: memory[0..<count])
            if try !readDirect(into: part, at: offset) { try read(into: part, at: offset) }
            if part[0] != 0 || memcmp(part.baseAddress!, part.baseAddress! + 1, count - 1) != 0 {
                return offset + UInt64(part.firstIndex { $0 != 0 } ?? 0)
            }
            offset += UInt64(count)
        }
        return nil
    }
}
