import Glibc
import ImageChunks
import Primitives

/// Why a disk could not be written.
public enum DiskError: UserFacingError, Hashable {
    /// The path is neither a block device nor a file.
    case notADisk(path: String)
    /// Something else holds the disk: a mounted file system, a RAID or LVM member.
    case inUse(path: String)
    /// The disk refuses writes.
    case readOnly(path: String)
    /// The image does not fit on the disk.
    case tooSmall(path: String, needed: ByteCount, found: ByteCount)
    /// Images are made for sectors of 512 bytes.
    case sectorSize(path: String, found: Int)
    /// A system call failed.
    case failed(action: String, path: String, errno: Int32)
    /// The chunk read back from the disk is not what was written to it.
    case notKept(path: String, chunk: Int)
    /// A byte read back after cleaning is not zero.
    case notZero(path: String, offset: UInt64)
    /// Something is still recognised after cleaning.
    case notEmpty(path: String, found: [String])
    /// The disk does not format itself.
    case cannotFormat(path: String, errno: Int32)
    /// The ATA disk does not erase itself; why, and what to do.
    case cannotErase(path: String, why: String)
    /// A chunk was refused before it was written.
    case chunk(ChunkError)
    /// The image's partition table was refused.
    case partitionTable(GPTError)
    /// The image has no partition of that name to write to.
    case noPartition(name: String)
    /// A file's path leads out of the partition.
    case filePath(String)

    /// Whether fetching the chunks again may help.
    public var isRetryable: Bool {
        switch self {
        case .chunk(let error):
            switch error {
            case .corrupted, .unexpectedFrame, .frameLength, .manifestMismatch: true
            case .malformedManifest, .unknownVersion, .limit, .unreadable: false
            }
        default: false
        }
    }

    public var publicMessage: String {
        switch self {
        case .notADisk(let path):
            "\(path) is not a disk."
        case .inUse(let path):
            "\(path) is in use by a file system, a RAID or a volume group of this machine. Stop it, or choose another disk."
        case .readOnly(let path):
            "\(path) is read-only. Remove its write protection, or choose another disk."
        case .tooSmall(let path, let needed, let found):
            "\(path) has \(found), the image needs \(needed). Choose a larger disk by a root disk hint."
        case .sectorSize(let path, let found):
            "\(path) has sectors of \(found) bytes; images need 512. Choose another disk, or format it to 512 bytes."
        case .failed(let action, let path, let errno):
            "To \(action) \(path) failed: \(String(cString: strerror(errno))). If this stays, replace the disk."
        case .notKept(let path, let chunk):
            "\(path) does not give back what was written to it (chunk \(chunk)). Replace the disk."
        case .notZero(let path, let offset):
            "\(path) was overwritten with zeros and gives back something else at byte \(offset). Replace the disk."
        case .notEmpty(let path, let found):
            "\(path) still holds \(found.joined(separator: ", ")) after cleaning. Clean it with the method 'overwrite'."
        case .cannotFormat(let path, let errno):
            "\(path) cannot erase itself (\(String(cString: strerror(errno)))): it is no NVMe disk, or it refuses. "
                + "Choose the method 'overwrite'."
        case .cannotErase(let path, let why): "\(path) cannot erase itself: \(why)."
        case .chunk(let error): error.publicMessage
        case .partitionTable(let error): error.publicMessage
        case .noPartition(let name):
            "The image has no partition named '\(name)'. Build it with the layout of a node image."
        case .filePath(let path):
            "'\(path.printable(limit: 200))' is not a path below the state partition."
        }
    }
}
