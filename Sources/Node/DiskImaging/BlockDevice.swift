import CLinux
import Glibc
import LinuxSystem
import Primitives

/// A disk, or a file in its place, opened for writing by nobody else.
public final class BlockDevice {
    /// Where it was opened.
    public let path: String
    /// Its capacity in bytes.
    public let size: UInt64
    /// Whether it makes ranges zero by itself, without the zeros being sent.
    public let zeroesByItself: Bool
    /// The bytes of a sector as the disk is addressed; 512 for a file.
    public let sectorSize: UInt64

    // SAFETY: the descriptor is closed once, with this object.
    private let descriptor: Int32
    private let isBlockDevice: Bool

    /// Opens `path`. Throws `DiskError` when it is in use (O_EXCL), read-only, or does not have 512-byte sectors, unless
    /// `anySector` says that others will do.
    public init(path: String, anySector: Bool = false) throws(DiskError) {
        self.path = path
        var status = stat()
        guard stat(path, &status) == 0 else { throw .failed(action: "open", path: path, errno: errno) }
        let type = status.st_mode & S_IFMT
        guard type == S_IFBLK || type == S_IFREG else { throw .notADisk(path: path) }
        isBlockDevice = type == S_IFBLK
        descriptor = open(path, O_RDWR | O_CLOEXEC | (isBlockDevice ? O_EXCL : 0))
        guard descriptor >= 0 else {
            switch errno {
            case EBUSY: throw .inUse(path: path)
            case EROFS, EACCES, EPERM: throw .readOnly(path: path)
            default: throw .failed(action: "open", path: path, errno: errno)
            }
        }
        do throws(DiskError) {
            (size, sectorSize) =
                try isBlockDevice ? Self.checkedSize(descriptor, path, anySector) : (UInt64(status.st_size), 512)
        } catch {
            close(descriptor)
            throw error
        }
        let number = "\(clinux_major(status.st_rdev)):\(clinux_minor(status.st_rdev))"
        zeroesByItself =
            isBlockDevice && (SystemFile.number("/sys/dev/block/\(number)/queue/write_zeroes_max_bytes") ?? 0) > 0
    }

    deinit { close(descriptor) }

    private static func checkedSize(
        _ descriptor: Int32, _ path: String, _ anySector: Bool
    ) throws(DiskError) -> (size: UInt64, sector: UInt64) {
        var bytes: UInt64 = 0
        var sector: UInt32 = 0
        var isReadOnly: Int32 = 0
        for code in [
            clinux_block_size(descriptor, &bytes), clinux_logical_block_size(descriptor, &sector),
            clinux_block_read_only(descriptor, &isReadOnly),
        ] where code != 0 {
            throw .failed(action: "measure", path: path, errno: code)
        }
        guard isReadOnly == 0 else { throw .readOnly(path: path) }
        guard sector == 512 || anySector else { throw .sectorSize(path: path, found: Int(sector)) }
        return (bytes, UInt64(max(sector, 512)))
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, Int(offset) + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .failed(action: "write to", path: path, errno: count == 0 ? EIO : errno) }
            done += count
        }
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: [UInt8], at offset: UInt64) throws(DiskError) {
        try bytes.withUnsafeBytes { raw in Result { () throws(DiskError) in try write(raw, at: offset) } }.get()
    }

    /// Fills `buffer` from `offset`.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DiskError) {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .failed(action: "read", path: path, errno: count == 0 ? EIO : errno) }
            done += count
        }
    }

    /// Makes `range` read as zero: by the disk itself where it can (BLKZEROOUT), else by reading it and writing zeros
    /// over what is not zero, which costs a new disk no write.
    public func zero(_ range: Range<UInt64>) throws(DiskError) {
        guard !range.isEmpty else { return }
        if zeroesByItself, range.lowerBound % sectorSize == 0, range.upperBound % sectorSize == 0 {
            let code = clinux_block_zero(descriptor, range.lowerBound, range.upperBound - range.lowerBound)
            guard code == 0 else { throw .failed(action: "write zeros to", path: path, errno: code) }
            return
        }
        let step = 1 << 20
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: step, alignment: 4096)
        defer { memory.deallocate() }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(UInt64(step), range.upperBound - offset))
            let part = UnsafeMutableRawBufferPointer(rebasing: memory[0..<count])
            try read(into: part, at: offset)
            if part[0] != 0 || memcmp(part.baseAddress!, part.baseAddress! + 1, count - 1) != 0 {
                memset(part.baseAddress!, 0, count)
                try write(UnsafeRawBufferPointer(part), at: offset)
            }
            offset += UInt64(count)
        }
    }

    /// Tells the disk that nothing on it is needed any more (BLKDISCARD); false when it cannot be told.
    public func discardAll() -> Bool { isBlockDevice && clinux_block_discard(descriptor, 0, size) == 0 }

    /// Has an NVMe controller erase the user data of this namespace; throws `DiskError` when this is no NVMe disk or it
    /// refuses.
    public func formatNVMe() throws(DiskError) {
        guard isBlockDevice else { throw .cannotFormat(path: path, errno: ENOTTY) }
        let code = clinux_nvme_format(descriptor)
        guard code == 0 else { throw .cannotFormat(path: path, errno: code) }
    }

    /// Starts to move what was written in `range` from memory to the disk, so that the last sync is short.
    public func startWriteback(_ range: Range<UInt64>) {
        _ = clinux_start_writeback(descriptor, range.lowerBound, range.upperBound - range.lowerBound)
    }

    /// Waits until everything is on the disk.
    public func sync() throws(DiskError) {
        guard fsync(descriptor) == 0 else { throw .failed(action: "sync", path: path, errno: errno) }
    }

    /// Forgets what memory has of `range`, whole pages, so that the next read asks the disk; what was not synced stays.
    public func dropCache(_ range: Range<UInt64>) {
        _ = posix_fadvise(
            descriptor, Int(range.lowerBound), Int(range.upperBound - range.lowerBound), POSIX_FADV_DONTNEED)
    }

    /// Makes the kernel read the partition table; nothing for a file. Tries again for 3 s while a prober of the system
    /// has a partition open.
    public func rereadPartitions() throws(DiskError) {
        guard isBlockDevice else { return }
        var code = clinux_reread_partitions(descriptor)
        var left = 30
        while code == EBUSY, left > 0 {
            usleep(100_000)
            left -= 1
            code = clinux_reread_partitions(descriptor)
        }
        guard code == 0 else { throw .failed(action: "read the partition table of", path: path, errno: code) }
    }

    /// The path of partition `number` of the disk at `disk`: `/dev/vda5`, `/dev/nvme0n1p5`.
    public static func partitionPath(disk: String, number: Int) -> String {
        let isDigit = disk.utf8.last.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
        return isDigit ? "\(disk)p\(number)" : "\(disk)\(number)"
    }
}

/// Keeps udev from probing a disk and reading its partition table anew while it is worked on: udev honours a lock on
/// the whole disk (flock(2)).
public final class DiskLock {
    // SAFETY: the descriptor is closed once, with this object, which ends the lock.
    private let descriptor: Int32

    /// Waits for the lock on the disk at `path`; nil when it cannot be had.
    public init?(path: String) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        guard flock(descriptor, LOCK_EX) == 0 else {
            close(descriptor)
            return nil
        }
    }

    deinit { close(descriptor) }
}
