import Glibc
import Primitives

/// Reads and writes files that operators name.
enum TextFile {
    /// Why a file cannot be read.
    struct Unreadable: UserFacingError {
        var path: String
        var why: String
        var publicMessage: String { "\(path.printable(limit: 300)) \(why)" }
    }

    /// The text of a file of at most `sizeMax` bytes; throws `Unreadable` also for what is not UTF-8.
    static func read(_ path: String, sizeMax: Int) throws(Unreadable) -> String {
        guard let text = String(validating: try bytes(path, sizeMax: sizeMax), as: UTF8.self) else {
            throw Unreadable(path: path, why: "is not UTF-8 text")
        }
        return text
    }

    /// The bytes of a file of at most `sizeMax` bytes.
    static func bytes(_ path: String, sizeMax: Int) throws(Unreadable) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure(path) }
        defer { close(file) }
        var info = stat()
        guard fstat(file, &info) == 0 else { throw failure(path) }
        guard info.st_mode & S_IFMT != S_IFDIR else { throw Unreadable(path: path, why: "is a directory") }
        var result: [UInt8] = []
        result.reserveCapacity(min(Int(info.st_size), sizeMax) + 1)
        let partSize = 1 << 20
        while true {
            var count = 0
            let part = [UInt8](unsafeUninitializedCapacity: partSize) { buffer, initialized in
                count = Glibc.read(file, buffer.baseAddress, partSize)
                initialized = max(0, count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(path) }
            if count == 0 { return result }
            result += part
            guard result.count <= sizeMax else {
                throw Unreadable(path: path, why: "has more than \(ByteCount(bytes: UInt64(sizeMax)))")
            }
        }
    }

    /// The size of a regular file or block device; throws when it cannot be opened.
    static func size(_ path: String) throws(Unreadable) -> UInt64 {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw failure(path) }
        defer { close(file) }
        let end = lseek(file, 0, SEEK_END)
        guard end >= 0 else { throw failure(path) }
        return UInt64(end)
    }

    /// Puts `text` in the place of the file at `path`, all of it or nothing; others may read it unless `mode` says so.
    static func replace(_ path: String, with text: String, mode: mode_t = 0o644) throws(Unreadable) {
        let temporary = "\(path).new"
        unlink(temporary)
        let file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard file >= 0 else { throw unwritable(path) }
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            done += count
        }
        let isWritten = done == bytes.count && fsync(file) == 0
        close(file)
        guard isWritten, rename(temporary, path) == 0 else {
            let error = unwritable(path)
            unlink(temporary)
            throw error
        }
    }

    private static func unwritable(_ path: String) -> Unreadable {
        Unreadable(path: path, why: "cannot be written: \(String(cString: strerror(errno)))")
    }

    private static func failure(_ path: String) -> Unreadable {
        Unreadable(path: path, why: "cannot be read: \(String(cString: strerror(errno)))")
    }
}
