import NIOCore
import Primitives

/// Where the API keeps images and inventories.
public struct FleetBlobs: Sendable {
    /// Whether a blob is stored.
    public var contains: @Sendable (Digest) async throws -> Bool
    /// The bytes of a blob, verified; throws when it is not stored.
    public var read: @Sendable (Digest) async throws -> [UInt8]
    /// Stores bytes durably and returns their digest.
    public var write: @Sendable ([UInt8]) async throws -> Digest
    /// Stores a stream durably if its digest is the given one; throws and stores nothing otherwise.
    public var stream: @Sendable (Digest, _ limit: ByteCount, _ body: BlobBody) async throws -> Void

    /// The parts of a large blob in order.
    public typealias BlobBody = any AsyncSequence<ByteBuffer, any Error> & Sendable

    /// A place for blobs.
    public init(
        contains: @escaping @Sendable (Digest) async throws -> Bool,
        read: @escaping @Sendable (Digest) async throws -> [UInt8],
        write: @escaping @Sendable ([UInt8]) async throws -> Digest,
        stream: @escaping @Sendable (Digest, ByteCount, BlobBody) async throws -> Void
    ) {
        self.contains = contains
        self.read = read
        self.write = write
        self.stream = stream
    }
}
