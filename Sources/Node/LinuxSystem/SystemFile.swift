import Glibc
import Primitives

/// Small files: those the kernel makes up (procfs, sysfs), and those an agent keeps.
public enum SystemFile {
    /// The content of the file at `path`, at most `limit` bytes of it; nil when it cannot be read.
    public static func bytes(_ path: String, limit: Int = 65_536) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: min(limit, 65_536))
        while content.count < limit {
            let count = read(descriptor, &buffer, min(buffer.count, limit - content.count))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { break }
            content += buffer[0..<count]
        }
        return content
    }

    /// The content as text without blanks around it; nil when it cannot be read or is empty.
    public static func text(_ path: String, limit: Int = 65_536) -> String? {
        guard let bytes = bytes(path, limit: limit) else { return nil }
        let isBlank = { (byte: UInt8) in byte <= 0x20 }
        guard let first = bytes.firstIndex(where: { !isBlank($0) }), let last = bytes.lastIndex(where: { !isBlank($0) })
        else { return nil }
        return String(decoding: bytes[first...last], as: UTF8.self)
    }

    /// The content as a decimal number.
    public static func number(_ path: String) -> Int64? { text(path, limit: 64).flatMap { Int64($0) } }

    /// When the content of the file at `path` was last changed; nil when there is no such file.
    public static func modificationTime(_ path: String) -> Timestamp? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Timestamp(
            millisecondsSinceEpoch: Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000)
    }

    /// The last component of what the symbolic link at `path` points to, for example the driver of a device.
    public static func linkName(_ path: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { raw in
            readlink(path, raw.baseAddress!.assumingMemoryBound(to: CChar.self), raw.count)
        }
        guard count > 0 else { return nil }
        return String(decoding: buffer[0..<count], as: UTF8.self).split(separator: "/").last.map(String.init)
    }

    /// The names in the directory at `path`, sorted; empty when it cannot be read.
    public static func names(in path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            // SAFETY: readdir keeps the entry until its next call, and the kernel ends the name with a zero byte.
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Makes the directory at `path` with all above it, mode 0700; true when it is there. Sets `errno` otherwise.
    public static func makeDirectory(_ path: String) -> Bool {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/\(part)"
            if mkdir(made, 0o700) != 0, errno != EEXIST { return false }
        }
        return true
    }

    /// Puts a file with `content` and `mode` in the place of `path` at once: a temporary file beside it, fsync, rename,
    /// fsync of the directory. Throws `SystemError`.
    public static func replace(_ path: String, content: [UInt8], mode: UInt32) throws(SystemError) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw SystemError("write \(path)", errno: errno) }
        var code: Int32 = 0
        var done = 0
        content.withUnsafeBytes { raw in
            while done < raw.count, code == 0 {
                let count = write(descriptor, raw.baseAddress! + done, raw.count - done)
                if count > 0 { done += count } else if errno != EINTR { code = count == 0 ? EIO : errno }
            }
        }
        if code == 0, fchmod(descriptor, mode) != 0 || fsync(descriptor) != 0 { code = errno }
        close(descriptor)
        if code == 0, rename(temporary, path) != 0 { code = errno }
        guard code == 0 else {
            unlink(temporary)
            throw SystemError("write \(path)", errno: code)
        }
        let parent = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = open(parent.isEmpty ? "/" : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SystemError("sync \(parent)", errno: errno) }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw SystemError("sync \(parent)", errno: errno) }
    }
}
