import Primitives
import Synchronization

/// A blob that comes in parts and is written outside of Swift's pool of threads; let go of, it leaves nothing behind.
public final class BlobUpload: Sendable {
    private let blobs: FileBlobStore
    private let writer: Mutex<BlobWriter?>

    /// Begins a blob of `sizeMax` bytes at most.
    public init(to blobs: FileBlobStore, sizeMax: ByteCount) throws(BlobError) {
        self.blobs = blobs
        writer = Mutex(try blobs.writer(sizeMax: sizeMax))
    }

    /// How many bytes have been written.
    public var size: UInt64 { writer.withLock { $0?.size ?? 0 } }

    /// Appends a part, one after the other.
    public func append(_ bytes: [UInt8]) async throws(BlobError) {
        try await blobs.offPool { (_) throws(BlobError) -> Void in
            try self.writer.withLock { (writer) throws(BlobError) -> Void in try writer?.append(bytes) }
        }
    }

    /// Stores the blob; throws `.mismatch`, and stores nothing, when it is not `digest`.
    public func finish(expecting digest: Digest) async throws(BlobError) {
        try await blobs.offPool { (_) throws(BlobError) -> Void in
            guard let writer = self.writer.withLock({ $0.take() }) else { return }
            try writer.finish(expecting: digest)
        }
    }
}
