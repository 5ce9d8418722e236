import Dispatch
import Primitives
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Immutable files named by their SHA-256 digest.
///
/// A blob is written to a temporary file, brought to the disk, renamed, and its directory brought to the disk, before
/// it is acknowledged. Files lie in `blobs/<first byte>/<digest>`, half-written ones in `incoming` (removed on open),
/// damaged ones in `corrupt`. One process at a time uses a directory: the lock of its state directory sees to that.
public final class FileBlobStore: Sendable {
    /// How old a use must be before it is noted anew in the file's time.
    static let useInterval = Duration.seconds(60)
    /// How long damaged files are kept for a look at them.
    static let corruptKept = Duration.seconds(30 * 86_400)
    private static let verifiedCountMax = 200_000

    private struct State {
        /// In place, but their directory entries may not be on the disk yet.
        var unsynced: Set<Digest> = []
        /// The inodes whose content has been read and was right in this process.
        var verified: [Digest: UInt64] = [:]
    }

    private let directory: String
    let clock: any WallClock
    private let queue = DispatchQueue(label: "blobs", attributes: .concurrent)
    private let fileNumber = Atomic<UInt64>(0)
    /// Held over each look at a file followed by a change of it, so that sweeps and puts do not cross.
    private let state = Mutex(State())

    /// Opens or makes the store in `directory`, whose parent must exist; removes what a crash left half-written.
    public init(directory: String, clock: any WallClock = SystemWallClock()) throws(BlobError) {
        self.directory = directory
        self.clock = clock
        try Directory.make(directory)
        for name in ["incoming", "corrupt", "blobs"] { try Directory.make("\(directory)/\(name)") }
        for byte in UInt8.min ... .max { try Directory.make("\(directory)/blobs/\(Hex.encode([byte]))") }
        for path in ["\(directory)/blobs", directory, "\(directory)/.."] { try OpenFile.directory(path).sync() }
        for name in try Directory.names("\(directory)/incoming") {
            try Directory.remove("\(directory)/incoming/\(name)")
        }
    }

    /// Whether a blob is stored; counts as a use, so that `sweep` spares it for its grace time.
    public func contains(_ digest: Digest) -> Bool {
        let path = path(digest)
        return state.withLock { state in
            guard !state.unsynced.contains(digest), let status = FileStatus.of(path) else { return false }
            if clock.now.since(status.modified) > Self.useInterval { try? Directory.touch(path, clock.now) }
            return true
        }
    }

    /// Those of `digests` that are not stored, in their order; counts as a use of the others.
    public func missing(from digests: some Sequence<Digest>) -> [Digest] { digests.filter { !contains($0) } }

    /// Those of `digests` that are not stored, in their order; a look that is no use.
    public func absent(from digests: some Sequence<Digest>) -> [Digest] {
        digests.filter { FileStatus.of(path($0)) == nil }
    }

    /// Stores one blob of at most 64 MiB and returns its digest.
    @discardableResult
    public func put(_ bytes: [UInt8]) throws(BlobError) -> Digest { try putBatch([bytes])[0] }

    /// Stores many small blobs, 64 MiB together at most, with few waits for the disk; digests in the same order.
    public func putBatch(_ blobs: [[UInt8]]) throws(BlobError) -> [Digest] {
        let size = blobs.reduce(0) { $0 + $1.count }
        guard blobs.count <= BlobLimits.batchCountMax, size <= Int(BlobLimits.batchSizeMax.bytes) else {
            throw .limitExceeded(
                "\(blobs.count) blobs of \(ByteCount(bytes: UInt64(size))); a batch has at most "
                    + "\(BlobLimits.batchCountMax) blobs and \(BlobLimits.batchSizeMax)")
        }
        return try store(blobs)
    }

    /// Begins a blob that comes in parts, of `sizeMax` bytes at most.
    public func writer(sizeMax: ByteCount = BlobLimits.blobSizeMax) throws(BlobError) -> BlobWriter {
        BlobWriter(
            store: self, file: try OpenFile.creating(temporaryPath()), sizeMax: min(sizeMax, BlobLimits.blobSizeMax))
    }

    /// The whole blob, read and checked; throws `.missing`, `.corrupt`, or `.limitExceeded` over 64 MiB.
    public func get(_ digest: Digest) throws(BlobError) -> [UInt8] {
        guard let file = try OpenFile.reading(path(digest)) else { throw .missing(digest) }
        let status = try file.status()
        guard status.size <= BlobLimits.wholeReadSizeMax.bytes else {
            throw .limitExceeded("blob \(digest) has \(ByteCount(bytes: status.size)); read it in parts")
        }
        guard let bytes = try file.read(at: 0, count: Int(status.size)),
            Digest(bytes: BlobHasher.digestBytes(of: bytes)) == digest
        else {
            try quarantine(digest, inode: status.inode)
            throw .corrupt(digest)
        }
        return bytes
    }

    /// The blob's size, nil when it is not stored.
    public func size(of digest: Digest) throws(BlobError) -> UInt64? { FileStatus.of(path(digest))?.size }

    /// A part of a blob, fewer bytes than `count` only at its end; as `open`, which serves many parts better.
    public func read(_ digest: Digest, at offset: UInt64, count: Int) throws(BlobError) -> [UInt8] {
        try open(digest).read(at: offset, count: count)
    }

    /// Opens a blob for reading in parts; throws `.missing` or `.corrupt`.
    ///
    /// The first time in this process the whole file is read and checked here, which blocks the caller for about a
    /// second per GiB: call `verify` by `offPool` first where that is too long. Later damage is found by `get` and by a restart.
    public func open(_ digest: Digest) throws(BlobError) -> BlobFile {
        guard let file = try OpenFile.reading(path(digest)) else { throw .missing(digest) }
        let status = try file.status()
        if state.withLock({ $0.verified[digest] }) != status.inode { try check(file, is: digest) }
        return BlobFile(store: self, digest: digest, status: status, file: file)
    }

    /// Reads a blob and checks it; throws `.missing` or `.corrupt`, also when the disk fails to read it.
    public func verify(_ digest: Digest) throws(BlobError) {
        guard let file = try OpenFile.reading(path(digest)) else { throw .missing(digest) }
        try check(file, is: digest)
    }

    /// Deletes the blobs that are not in `keeping` and were not used for `grace`; returns how many.
    ///
    /// Safe beside puts: `put`, `contains` and `missing` make a blob young again, so what a manifest is about to name
    /// stays when `grace` is longer than it takes to write the manifest after that.
    @discardableResult
    public func sweep(keeping: Set<Digest>, olderThan grace: Duration, now: Timestamp) throws(BlobError) -> Int {
        var count = 0
        for byte in UInt8.min ... .max {
            for name in try Directory.names("\(directory)/blobs/\(Hex.encode([byte]))") {
                guard let digest = try? Digest(hex: name), !keeping.contains(digest) else { continue }
                if try removeUnused(digest, since: now.advanced(by: .zero - grace)) { count += 1 }
            }
        }
        for name in try Directory.names("\(directory)/corrupt") {
            let path = "\(directory)/corrupt/\(name)"
            guard let status = FileStatus.of(path), now.since(status.modified) > Self.corruptKept else { continue }
            try Directory.remove(path)
        }
        return count
    }

    /// Runs work that waits for the disk, such as a put of many blobs or a sweep, outside of Swift's pool of threads.
    public func offPool<Result: Sendable>(
        _ work: @escaping @Sendable (FileBlobStore) throws(BlobError) -> Result
    ) async throws(BlobError) -> Result {
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Swift.Result<Result, BlobError>, Never>) in
            queue.async {
                do throws(BlobError) {
                    done.resume(returning: .success(try work(self)))
                } catch {
                    done.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }
}

extension FileBlobStore {
    private func path(_ digest: Digest) -> String { "\(directory(of: digest))/\(digest.hex)" }
    private func directory(of digest: Digest) -> String { "\(directory)/blobs/\(digest.hex.prefix(2))" }

    private func temporaryPath() -> String {
        "\(directory)/incoming/\(fileNumber.wrappingAdd(1, ordering: .relaxed).newValue)"
    }

    private func store(_ blobs: [[UInt8]]) throws(BlobError) -> [Digest] {
        let digests = blobs.map { Digest(bytes: BlobHasher.digestBytes(of: $0)) }
        var written: [Digest: String] = [:]
        defer { for path in written.values { unlink(path) } }
        var isSynced = true
        for (digest, bytes) in zip(digests, blobs) where written[digest] == nil {
            if try isIntact(digest) { continue }
            let file = try OpenFile.creating(temporaryPath())
            written[digest] = file.path
            try file.write(bytes)
            try file.setTime(clock.now)
            if blobs.count <= 8 { try file.sync() } else { isSynced = false }
        }
        if !isSynced { try OpenFile.directory(directory).syncFileSystem() }
        try place(written)
        written = [:]
        return digests
    }

    /// Renames files that are on the disk to their digests, and returns when the names are on the disk too.
    func place(_ files: [Digest: String]) throws(BlobError) {
        guard !files.isEmpty else { return }
        for (digest, temporary) in files {
            try state.withLock { (state) throws(BlobError) in
                // Where somebody else's file of the same bytes is durable, its replacement is no less there.
                if FileStatus.of(path(digest)) == nil { state.unsynced.insert(digest) }
                state.verified[digest] = nil
                try Directory.rename(temporary, path(digest))
            }
        }
        let directories = Set(files.keys.map { directory(of: $0) })
        if directories.count <= 8 {
            for directory in directories { try OpenFile.directory(directory).sync() }
        } else {
            try OpenFile.directory(directory).syncFileSystem()
        }
        state.withLock { $0.unsynced.subtract(files.keys) }
    }

    /// Whether the blob is stored, durable and undamaged; makes it young. What is damaged is put aside.
    func isIntact(_ digest: Digest) throws(BlobError) -> Bool {
        guard contains(digest), let file = try OpenFile.reading(path(digest)) else { return false }
        do {
            if try state.withLock({ $0.verified[digest] }) != file.status().inode { try check(file, is: digest) }
            return contains(digest)
        } catch .corrupt {
            return false
        }
    }

    private func check(_ file: borrowing OpenFile, is digest: Digest) throws(BlobError) {
        let inode = try file.status().inode
        guard try file.digest() == digest else {
            try quarantine(digest, inode: inode)
            throw .corrupt(digest)
        }
        state.withLock { state in
            if state.verified.count >= Self.verifiedCountMax { state.verified = [:] }
            state.verified[digest] = inode
        }
    }

    /// Puts a damaged file aside, unless a good one has taken its place since.
    func quarantine(_ digest: Digest, inode: UInt64) throws(BlobError) {
        let number = fileNumber.wrappingAdd(1, ordering: .relaxed).newValue
        let aside = "\(directory)/corrupt/\(digest.hex).\(clock.now.millisecondsSinceEpoch).\(number)"
        try state.withLock { (state) throws(BlobError) in
            guard FileStatus.of(path(digest))?.inode == inode else { return }
            state.verified[digest] = nil
            try Directory.rename(path(digest), aside)
            try? Directory.touch(aside, clock.now)
        }
    }

    private func removeUnused(_ digest: Digest, since limit: Timestamp) throws(BlobError) -> Bool {
        let path = path(digest)
        return try state.withLock { (state) throws(BlobError) in
            guard let status = FileStatus.of(path), status.modified <= limit else { return false }
            try Directory.remove(path)
            state.verified[digest] = nil
            return true
        }
    }
}
