import Glibc
import Primitives

/// Files that only this program's user may read (mode 0600): keys and tokens.
///
/// They are written to a temporary file, synced and renamed or linked into place, so that a power cut leaves the
/// old file or the new one.
public enum PrivateFile {
    /// The largest file that is read.
    public static let sizeMax = 64 * 1024

    /// The file's bytes; nil when there is none.
    ///
    /// Throws `PrivateFileError` when it is a link or no regular file, when another user owns it, or when group or
    /// others have any right to it.
    public static func read(_ path: String) throws(PrivateFileError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        if descriptor < 0 {
            switch errno {
            case ENOENT: return nil
            case ELOOP: throw .notRegular(path)
            case let code: throw .failed(path, operation: "open", code: code)
            }
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .failed(path, operation: "stat", code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular(path) }
        guard status.st_uid == geteuid() else { throw .wrongOwner(path, owner: status.st_uid, expected: geteuid()) }
        guard status.st_mode & 0o077 == 0 else { throw .notPrivate(path, mode: status.st_mode & 0o7777) }
        guard status.st_size <= Self.sizeMax else { throw .tooLarge(path) }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var length = 0
        while length < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress! + length, $0.count - length)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw .failed(path, operation: "read", code: errno) }
            if count == 0 { break }
            length += count
        }
        return Array(bytes.prefix(length))
    }

    /// Makes a new file; throws `PrivateFileError.exists` when there is one.
    public static func create(_ path: String, _ bytes: [UInt8]) throws(PrivateFileError) {
        let temporary = try writeTemporary(path, bytes)
        defer { unlink(temporary) }
        guard link(temporary, path) == 0 else {
            if errno == EEXIST { throw .exists(path) }
            throw .failed(path, operation: "create", code: errno)
        }
        try syncDirectory(of: path)
    }

    /// Puts a file in the place of another one, or of none.
    public static func replace(_ path: String, _ bytes: [UInt8]) throws(PrivateFileError) {
        let temporary = try writeTemporary(path, bytes)
        guard rename(temporary, path) == 0 else {
            let code = errno
            unlink(temporary)
            throw .failed(path, operation: "rename", code: code)
        }
        try syncDirectory(of: path)
    }

    /// Takes a file away if it is there; it is gone from the disk when this returns.
    public static func remove(_ path: String) throws(PrivateFileError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw .failed(path, operation: "remove", code: errno) }
        try syncDirectory(of: path)
    }

    private static func writeTemporary(_ path: String, _ bytes: [UInt8]) throws(PrivateFileError) -> String {
        let temporary = "\(path).\(getpid())-\(Hex.encode(RandomBytes.system(4))).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .failed(temporary, operation: "create", code: errno) }
        defer { close(descriptor) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + written, $0.count - written) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let code = errno
                unlink(temporary)
                throw .failed(path, operation: "write", code: code)
            }
            written += count
        }
        guard fchmod(descriptor, 0o600) == 0, fsync(descriptor) == 0 else {
            let code = errno
            unlink(temporary)
            throw .failed(path, operation: "sync", code: code)
        }
        return temporary
    }

    private static func syncDirectory(of path: String) throws(PrivateFileError) {
        let directory = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .failed(directory, operation: "open", code: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .failed(directory, operation: "sync", code: errno) }
    }
}

/// Why a private file is not used.
public enum PrivateFileError: UserFacingError, Hashable {
    /// There is one already.
    case exists(String)
    /// It is a link, a directory or a device.
    case notRegular(String)
    /// Group or others may read or write it.
    case notPrivate(String, mode: UInt32)
    /// It belongs to another user.
    case wrongOwner(String, owner: UInt32, expected: UInt32)
    /// It is larger than `PrivateFile.sizeMax`.
    case tooLarge(String)
    /// It does not hold what it must.
    case malformed(String, expected: String)
    /// A system call failed.
    case failed(String, operation: String, code: Int32)

    public var publicMessage: String {
        switch self {
        case .exists(let path):
            "\(path) exists already; it is not overwritten."
        case .notRegular(let path):
            "\(path) must be a regular file and not a link; put the file itself there."
        case .notPrivate(let path, let mode):
            """
            \(path) has mode \(String(mode, radix: 8)), so others may read it. \
            If nobody else has, run 'chmod 600 \(path)'; else make a new one.
            """
        case .wrongOwner(let path, let owner, let expected):
            "\(path) belongs to user \(owner) and this program runs as user \(expected); run 'chown \(expected) \(path)'."
        case .tooLarge(let path):
            "\(path) is larger than \(PrivateFile.sizeMax) bytes and cannot be the right file."
        case .malformed(let path, let expected):
            "\(path) is damaged: expected \(expected). Put it back from a backup."
        case .failed(let path, let operation, let code):
            "Cannot \(operation) \(path): \(String(cString: strerror(code)))."
        }
    }
}
