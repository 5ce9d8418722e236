import Primitives

#if canImport(Glibc)
    import Glibc
#endif

/// Why a blob was not stored or read.
public enum BlobError: UserFacingError, Hashable {
    /// There is no such blob; store it again.
    case missing(Digest)
    /// The file does not have its digest any more or cannot be read back from the disk; it has been put aside, so that
    /// the blob can be stored again.
    case corrupt(Digest)
    /// What was written has another digest than was expected; nothing is stored.
    case mismatch(expected: Digest, found: Digest)
    /// A limit of `BlobLimits` is exceeded.
    case limitExceeded(String)
    /// The request cannot be right.
    case invalid(String)
    /// The disk failed.
    case unavailable(String)
    /// The disk that holds this path is full; nothing is stored.
    case diskFull(String)
    /// Conductors that may have the blob, or shall take a copy of it, do not answer as they should.
    case unreachable(Digest, why: String)

    public var publicMessage: String {
        switch self {
        case .missing(let digest): "Blob \(digest) is not stored here; upload it again."
        case .corrupt(let digest): "Blob \(digest) was damaged on disk and has been put aside; upload it again."
        case .mismatch(let expected, let found):
            "The data has the digest \(found) instead of \(expected); it was changed on the way, send it again."
        case .limitExceeded(let what): "Too large: \(what)."
        case .invalid(let what): "Not a valid request to the blob store: \(what)."
        case .unavailable(let why): "The blob store cannot be used: \(why)."
        case .diskFull(let path):
            "The disk that holds \(path) is full and nothing was stored; free some space and try again."
        case .unreachable(let digest, let why):
            "Blob \(digest) cannot be fetched from or copied to the other conductors (\(why)); try again in 10 seconds. One "
                + "that is gone is not waited for any longer by then."
        }
    }

    /// The failure of a system call on `path`, from `errno`.
    static func system(_ action: String, _ path: String) -> BlobError {
        let code = errno
        switch code {
        case ENOSPC, EDQUOT: return .diskFull(path)
        case EROFS: return .unavailable("\(path) is on a file system that is mounted read-only; check the disk")
        case EIO: return .unavailable("the disk failed to \(action) \(path); check it with smartctl and dmesg")
        default: return .unavailable("cannot \(action) \(path): \(String(cString: strerror(code)))")
        }
    }
}

/// How much a blob store takes on.
public enum BlobLimits {
    /// Bytes of one blob.
    public static let blobSizeMax = ByteCount.gibibytes(8)
    /// Bytes of one batch.
    public static let batchSizeMax = ByteCount.mebibytes(64)
    /// Blobs of one batch.
    public static let batchCountMax = 4096
    /// Bytes of a blob that is read into memory as a whole; open larger ones.
    public static let wholeReadSizeMax = ByteCount.mebibytes(64)
}
