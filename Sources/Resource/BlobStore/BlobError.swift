import Glibc
import Primitives

/// Why a blob was not stored or read.
public enum BlobError: UserFacingError, Hashable {
    /// It is not stored.
    case missing(Digest)
    /// Its bytes have changed on the disk; the file is put aside, and the blob has to be stored anew.
    case corrupt(Digest)
    /// It is not what it was said to be.
    case mismatch(expected: Digest, found: Digest)
    /// It has more bytes than are allowed.
    case tooLarge(Int)
    /// The file ends too early.
    case truncated
    /// A call failed.
    case file(call: String, path: String, code: Int32)

    static func failed(_ call: String, _ path: String) -> BlobError { .file(call: call, path: path, code: errno) }

    public var publicMessage: String {
        switch self {
        case .missing(let digest): "The blob \(digest) is not stored; push what it belongs to again."
        case .corrupt(let digest): "The blob \(digest) was damaged on the disk and put aside; push its image again."
        case .mismatch(let expected, let found): "The bytes have the digest \(found) and not \(expected); send them again."
        case .tooLarge(let limit): "More than \(limit) bytes are not accepted."
        case .truncated: "A stored file is shorter than it was."
        case .file(_, _, let code) where code == ENOSPC: "The conductor's disk is full; free some space and try again."
        case .file: "The conductor cannot use its blob directory; its log says why."
        }
    }

    public var diagnostic: String {
        if case .file(let call, let path, let code) = self {
            "\(call) \(path): \(String(cString: strerror(code)))"
        } else {
            publicMessage
        }
    }
}
