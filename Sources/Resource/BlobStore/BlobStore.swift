import CLinux
import Glibc
import Primitives
import Synchronization
import struct Crypto.SHA256

/// Immutable files named by the SHA-256 of their bytes.
///
/// A blob is written to a temporary file, synced and renamed, so that it is whole or not there; whole-blob reads are
/// verified, and a damaged file is put aside so that it can be fetched anew. What nothing names is swept.
public final class BlobStore: Sendable {
    /// Where the files are: `<directory>/<first two digits>/<digest>`.
    public let directory: String
    private let counter = Atomic<UInt64>(0)
    /// Blobs that were put or asked for while a sweep runs; the sweep leaves them.
    private let touched = Mutex<(sweeps: Int, digests: Set<Digest>)>((0, []))

    /// Bytes of one batch.
    public static let batchSizeMax = 64 << 20

    /// A store in `directory`, made if it is not there; half-written files of an earlier run are removed.
    public init(directory: String) throws(BlobError) {
        self.directory = directory
        try Self.makeDirectory(directory)
        try Self.makeDirectory("\(directory)/tmp")
        for prefix in 0..<256 { try Self.makeDirectory("\(directory)/\(Hex.encode([UInt8(prefix)]))") }
        for name in Self.names(in: "\(directory)/tmp") { unlink("\(directory)/tmp/\(name)") }
    }

    // MARK: Writing

    /// Stores `bytes` durably and returns their digest.
    @discardableResult
    public func put(_ bytes: [UInt8]) throws(BlobError) -> Digest { try putBatch([bytes])[0] }

    /// Stores many small blobs durably with one sync of the file system; at most `batchSizeMax` bytes.
    @discardableResult
    public func putBatch(_ blobs: [[UInt8]]) throws(BlobError) -> [Digest] {
        guard blobs.reduce(0, { $0 + $1.count }) <= Self.batchSizeMax else { throw .tooLarge(Self.batchSizeMax) }
        var digests: [Digest] = []
        var fresh: [(temporary: String, digest: Digest)] = []
        do {
            for blob in blobs {
                let digest = Digest(bytes: Array(SHA256.hash(data: blob)))
                digests.append(digest)
                touch(digest)
                guard !isStored(digest), !fresh.contains(where: { $0.digest == digest }) else { continue }
                let temporary = temporaryPath()
                fresh.append((temporary, digest))
                let file = try FileDescriptor(temporary, O_WRONLY | O_CREAT | O_EXCL)
                try file.write(blob)
                if blobs.count == 1 { try file.sync() }
            }
            if fresh.count > 1 { try FileDescriptor(directory, O_RDONLY | O_DIRECTORY).syncFileSystem() }
            for entry in fresh { try publish(entry.temporary, as: entry.digest) }
        } catch {
            for entry in fresh { unlink(entry.temporary) }
            throw error
        }
        for prefix in Set(fresh.map { $0.digest.hex.prefix(2) }) { try syncDirectory("\(directory)/\(prefix)") }
        return digests
    }

    /// Begins a large blob; see `BlobWriter`.
    public func writer(sizeMax: ByteCount) throws(BlobError) -> BlobWriter {
        let path = temporaryPath()
        return BlobWriter(
            store: self, path: path, file: try FileDescriptor(path, O_WRONLY | O_CREAT | O_EXCL), sizeMax: sizeMax)
    }

    func finish(_ path: String, as digest: Digest) throws(BlobError) {
        touch(digest)
        try publish(path, as: digest)
        try syncDirectory("\(directory)/\(digest.hex.prefix(2))")
    }

    private func publish(_ temporary: String, as digest: Digest) throws(BlobError) {
        guard rename(temporary, path(digest)) == 0 else { throw BlobError.failed("rename", temporary) }
    }

    // MARK: Reading

    /// Whether the blob is stored.
    public func contains(_ digest: Digest) -> Bool {
        touch(digest)
        return isStored(digest)
    }

    /// Those of `digests` that are not stored.
    public func missing(from digests: some Sequence<Digest>) -> [Digest] { digests.filter { !contains($0) } }

    /// The whole blob, verified; throws `.missing`, or `.corrupt` after putting a damaged file aside.
    public func get(_ digest: Digest) throws(BlobError) -> [UInt8] {
        let file = try openFile(digest)
        let bytes = try file.read(at: 0, count: Int(try file.size))
        guard Digest(bytes: Array(SHA256.hash(data: bytes))) == digest else {
            try putAside(digest)
            throw .corrupt(digest)
        }
        return bytes
    }

    /// The blob's size; nil when it is not stored.
    public func size(of digest: Digest) throws(BlobError) -> UInt64? {
        var info = stat()
        guard stat(path(digest), &info) == 0 else { return nil }
        return UInt64(info.st_size)
    }

    /// A part of a large blob. It is not verified: whoever puts the parts together checks the digest.
    public func read(_ digest: Digest, at offset: UInt64, count: Int) throws(BlobError) -> [UInt8] {
        try openFile(digest).read(at: offset, count: count)
    }

    private func openFile(_ digest: Digest) throws(BlobError) -> FileDescriptor {
        guard isStored(digest) else { throw .missing(digest) }
        return try FileDescriptor(path(digest), O_RDONLY)
    }

    /// Moves a damaged file to `<directory>/<digest>.damaged` for whoever looks into it.
    private func putAside(_ digest: Digest) throws(BlobError) {
        guard rename(path(digest), "\(directory)/\(digest.hex).damaged") == 0 || errno == ENOENT else {
            throw BlobError.failed("rename", path(digest))
        }
    }

    // MARK: Sweeping

    /// Deletes every blob that is not in `kept` and is older than `age`, and says how many.
    ///
    /// A blob that is put or asked for while the sweep runs is left: somebody may be about to name it.
    public func sweep(keeping kept: Set<Digest>, olderThan age: Duration, now: Timestamp) throws(BlobError) -> Int {
        touched.withLock { $0.sweeps += 1 }
        defer {
            touched.withLock { touched in
                touched.sweeps -= 1
                if touched.sweeps == 0 { touched.digests = [] }
            }
        }
        let limit = now.advanced(by: .zero - age)
        var count = 0
        for prefix in 0..<256 {
            let folder = "\(directory)/\(Hex.encode([UInt8(prefix)]))"
            for name in Self.names(in: folder) {
                guard let digest = try? Digest(hex: name), !kept.contains(digest) else { continue }
                var info = stat()
                guard stat("\(folder)/\(name)", &info) == 0,
                    Int64(info.st_mtim.tv_sec) * 1000 <= limit.millisecondsSinceEpoch
                else { continue }
                let isDeleted = touched.withLock { touched in
                    !touched.digests.contains(digest) && unlink("\(folder)/\(name)") == 0
                }
                if isDeleted { count += 1 }
            }
        }
        return count
    }

    private func touch(_ digest: Digest) {
        touched.withLock { touched in
            if touched.sweeps > 0 { touched.digests.insert(digest) }
        }
    }

    // MARK: Paths

    private func isStored(_ digest: Digest) -> Bool { access(path(digest), F_OK) == 0 }

    private func path(_ digest: Digest) -> String { "\(directory)/\(digest.hex.prefix(2))/\(digest.hex)" }

    private func temporaryPath() -> String {
        "\(directory)/tmp/\(getpid())-\(counter.wrappingAdd(1, ordering: .relaxed).newValue)"
    }

    private func syncDirectory(_ path: String) throws(BlobError) {
        try FileDescriptor(path, O_RDONLY | O_DIRECTORY).sync()
    }

    private static func makeDirectory(_ path: String) throws(BlobError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw BlobError.failed("mkdir", path) }
    }

    private static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

extension FileDescriptor {
    func syncFileSystem() throws(BlobError) {
        let code = clinux_sync_file_system(number)
        guard code == 0 else { throw .file(call: "syncfs", path: "descriptor", code: code) }
    }
}
