import CLinux
import Glibc
import LinuxSystem
import Primitives
import Synchronization

/// A disk, or a file in its place, opened for writing by nobody else.
public final class BlockDevice: Sendable {
    /// Where it was opened.
    public let path: String
    /// Its capacity in bytes.
    public let size: UInt64
    /// Whether it makes ranges zero by itself, without the zeros being sent.
    public let zeroesByItself: Bool
    /// The bytes of a sector as the disk is addressed; 512 for a file.
    public let sectorSize: UInt64

    /// What reads and writes past the kernel's cache begin, end, and lie in memory at multiples of.
    static let alignment = 4096

    // SAFETY: the descriptors are closed once, with this object.
    private let descriptor: Int32
    /// The same disk opened with O_DIRECT; -1 where that is not possible.
    private let direct: Int32
    private let isBlockDevice: Bool
    /// Whether the disk, or its file system, has not refused to be read and written past the kernel's cache.
    private let goesDirect: Atomic<Bool>

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
        // The same disk whatever its path means by now. Only the first descriptor claims it.
        var second: Int32 = -1
        _ = clinux_open_direct(descriptor, &second)
        direct = second
        goesDirect = Atomic(direct >= 0)
        let number = "\(clinux_major(status.st_rdev)):\(clinux_minor(status.st_rdev))"
        zeroesByItself =
            isBlockDevice && (SystemFile.number("/sys/dev/block/\(number)/queue/write_zeroes_max_bytes") ?? 0) > 0
    }

    deinit {
        if direct >= 0 { close(direct) }
        close(descriptor)
    }

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

    /// Writes all of `bytes` at `offset` past the kernel's cache, which costs no copy and leaves the memory alone; through
    /// the cache what is not aligned, and where the disk cannot be written to otherwise. Nothing is safe before `sync`.
    func writeDirect(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(DiskError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let place = offset + UInt64(done)
            let aligned = Self.isAligned(rest.baseAddress, place) ? rest.count & ~(Self.alignment - 1) : 0
            guard aligned > 0, goesDirect.load(ordering: .relaxed) else {
                try write(rest, at: place)
                return startWriteback(place..<place + UInt64(rest.count))
            }
            let count = pwrite(direct, rest.baseAddress, aligned, Int(place))
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == EINVAL {
                goesDirect.store(false, ordering: .relaxed)
                continue
            }
            guard count > 0 else { throw .failed(action: "write to", path: path, errno: count == 0 ? EIO : errno) }
            done += count
        }
    }

    /// Fills `buffer` from `offset` by asking the disk and not the kernel's cache, where the alignment allows that and
    /// the disk does; false when it could not be done so, and nothing is known of the buffer.
    func readDirect(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(DiskError) -> Bool {
        guard goesDirect.load(ordering: .relaxed), Self.isAligned(UnsafeRawPointer(buffer.baseAddress), offset),
            buffer.count % Self.alignment == 0
        else { return false }
        var done = 0
        while done < buffer.count {
            let count = pread(direct, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done)
            if count < 0, errno == EINTR { continue }
            // A short read can end where nothing is aligned any more.
            if count < 0, errno == EINVAL { return false }
            guard count > 0 else { throw .failed(action: "read", path: path, errno: count == 0 ? EIO : errno) }
            done += count
        }
        return true
    }

    private static func isAligned(_ memory: UnsafeRawPointer?, _ offset: UInt64) -> Bool {
        UInt(bitPattern: memory) % UInt(alignment) == 0 && offset % UInt64(alignment) == 0
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

    /// Makes `range` read as zero: by the disk itself where it can (BLKZEROOUT), by a hole in a file, else by reading it
    /// and writing zeros over what is not zero, which costs a new disk no write.
    public func zero(_ range: Range<UInt64>) throws(DiskError) {
        guard !range.isEmpty else { return }
        if zeroesByItself, range.lowerBound % sectorSize == 0, range.upperBound % sectorSize == 0 {
            let code = clinux_block_zero(descriptor, range.lowerBound, range.upperBound - range.lowerBound)
            guard code == 0 else { throw .failed(action: "write zeros to", path: path, errno: code) }
            return
        }
        if !isBlockDevice, punchHole(range) { return }
        try zeroByReading(range)
    }

    private func punchHole(_ range: Range<UInt64>) -> Bool {
        clinux_punch_hole(descriptor, range.lowerBound, range.upperBound - range.lowerBound) == 0
    }

    /// Makes `range` read as zero as a disk does that cannot do so by itself.
    func zeroByReading(_ range: Range<UInt64>) throws(DiskError) {
        let step = min(1 << 20, (range.count + Self.alignment - 1) & ~(Self.alignment - 1))
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: step, alignment: Self.alignment)
        defer { memory.deallocate() }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let count = Int(min(UInt64(step), range.upperBound - offset))
            let part = UnsafeMutableRawBufferPointer(rebasing: memory[0..<count])
            if try !readDirect(into: part, at: offset) { try read(into: part, at: offset) }
            if part[0] != 0 || memcmp(part.baseAddress!, part.baseAddress! + 1, count - 1) != 0 {
                memset(part.baseAddress!, 0, count)
                try writeDirect(UnsafeRawBufferPointer(part), at: offset)
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
    private func startWriteback(_ range: Range<UInt64>) {
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
