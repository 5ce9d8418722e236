import Primitives

/// An open blob.
public final class BlobFile: Sendable {
    /// Its name.
    public let digest: Digest
    /// Its bytes.
    public let size: UInt64
    private let store: FileBlobStore
    private let inode: UInt64
    private let file: OpenFile

    init(store: FileBlobStore, digest: Digest, status: FileStatus, file: consuming OpenFile) {
        self.store = store
        self.digest = digest
        size = status.size
        inode = status.inode
        self.file = file
    }

    /// At most `count` bytes (64 MiB at most) from `offset`, fewer only at the end; throws `.corrupt` when the disk has
    /// lost them.
    public func read(at offset: UInt64, count: Int) throws(BlobError) -> [UInt8] {
        guard count >= 0, count <= Int(BlobLimits.wholeReadSizeMax.bytes) else {
            throw .limitExceeded("a read of \(count) bytes; read at most \(BlobLimits.wholeReadSizeMax) at once")
        }
        guard offset < size else { return [] }
        guard let bytes = try file.read(at: offset, count: Int(min(UInt64(count), size - offset))) else {
            try store.quarantine(digest, inode: inode)
            throw .corrupt(digest)
        }
        return bytes
    }
}
