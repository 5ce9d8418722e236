import CLinux
import Primitives

#if canImport(Glibc)
    import Glibc
#endif

/// An open file or directory, closed when it goes out of scope.
struct OpenFile: ~Copyable, Sendable {
    let descriptor: Int32
    let path: String

    private init(_ path: String, flags: Int32) throws(BlobError) {
        descriptor = open(path, flags | O_CLOEXEC, 0o600)
        self.path = path
        guard descriptor >= 0 else { throw .system("open", path) }
    }

    deinit { close(descriptor) }

    /// Opens a file for reading; nil when there is none.
    static func reading(_ path: String) throws(BlobError) -> OpenFile? {
        guard access(path, F_OK) == 0 else { return nil }
        do {
            return try OpenFile(path, flags: O_RDONLY)
        } catch {
            guard access(path, F_OK) == 0 else { return nil }
            throw error
        }
    }

    /// Makes a file that must not be there yet.
    static func creating(_ path: String) throws(BlobError) -> OpenFile {
        try OpenFile(path, flags: O_WRONLY | O_CREAT | O_EXCL)
    }

    static func directory(_ path: String) throws(BlobError) -> OpenFile {
        try OpenFile(path, flags: O_RDONLY | O_DIRECTORY)
    }

    func status() throws(BlobError) -> FileStatus {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw .system("look at", path) }
        return FileStatus(info)
    }

    func write(_ bytes: [UInt8]) throws(BlobError) {
        var offset = 0
        while offset < bytes.count {
            let written = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .system("write", path) }
            offset += written
        }
    }

    /// At most `count` bytes from `offset`, fewer only at the end of the file; nil when the disk has lost them (EIO).
    func read(at offset: UInt64, count: Int) throws(BlobError) -> [UInt8]? {
        var isLost = false
        var failure: BlobError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(
                    descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, off_t(offset) + off_t(filled))
                if got < 0, errno == EINTR { continue }
                if got < 0, errno == EIO { isLost = true } else if got < 0 { failure = .system("read", path) }
                guard got > 0 else { return }
                filled += got
            }
        }
        if let failure { throw failure }
        return isLost ? nil : bytes
    }

    /// The digest of the whole file; nil when the disk has lost a part of it (EIO).
    func digest() throws(BlobError) -> Digest? {
        var hasher = BlobHasher()
        var offset: UInt64 = 0
        while true {
            guard let part = try read(at: offset, count: 1 << 18) else { return nil }
            guard !part.isEmpty else { return Digest(bytes: hasher.digestBytes()) }
            part.withUnsafeBytes { hasher.update($0) }
            offset += UInt64(part.count)
        }
    }

    func setTime(_ time: Timestamp) throws(BlobError) {
        let times = [time.timespec, time.timespec]
        guard futimens(descriptor, times) == 0 else { throw .system("set the time of", path) }
    }

    /// Waits until the file, or the directory's entries, are on the disk.
    func sync() throws(BlobError) {
        guard fsync(descriptor) == 0 else { throw .system("sync", path) }
    }

    /// Waits until everything of this file system is on the disk.
    func syncFileSystem() throws(BlobError) {
        guard clinux_sync_file_system(descriptor) == 0 else { throw .system("sync", path) }
    }
}

/// What is known of a file without reading it.
struct FileStatus: Hashable, Sendable {
    let size: UInt64
    let inode: UInt64
    let modified: Timestamp

    init(_ info: stat) {
        size = UInt64(info.st_size)
        inode = UInt64(info.st_ino)
        modified = Timestamp(
            millisecondsSinceEpoch: Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000)
    }

    /// The status of the file at `path`, nil when there is none.
    static func of(_ path: String) -> FileStatus? {
        var info = stat()
        return stat(path, &info) == 0 ? FileStatus(info) : nil
    }
}

extension Timestamp {
    fileprivate var timespec: timespec {
        let (seconds, rest) = millisecondsSinceEpoch.quotientAndRemainder(dividingBy: 1000)
        return Glibc.timespec(tv_sec: Int(seconds), tv_nsec: Int(rest) * 1_000_000)
    }
}

/// Changes to directories.
enum Directory {
    static func make(_ path: String) throws(BlobError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw .system("make", path) }
    }

    static func rename(_ old: String, _ new: String) throws(BlobError) {
        guard Glibc.rename(old, new) == 0 else { throw .system("rename", old) }
    }

    /// Removes a file; nothing happens when there is none.
    static func remove(_ path: String) throws(BlobError) {
        if unlink(path) != 0, errno != ENOENT { throw .system("remove", path) }
    }

    static func touch(_ path: String, _ time: Timestamp) throws(BlobError) {
        let times = [time.timespec, time.timespec]
        guard utimensat(AT_FDCWD, path, times, 0) == 0 else { throw .system("set the time of", path) }
    }

    /// The names in a directory without `.` and `..`.
    static func names(_ path: String) throws(BlobError) -> [String] {
        guard let stream = opendir(path) else { throw .system("list", path) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
