import Primitives

/// Another conductor that blobs are fetched from and given to.
public struct BlobPeer: Sendable, Hashable {
    /// Its name in the placement.
    public let name: String
    /// Where its API is, for example `https://10.0.0.2:9443`.
    public let url: String

    /// A peer.
    public init(name: String, url: String) {
        self.name = name
        self.url = url
    }
}

/// What a conductor asks of another one: which of these are there, and that it fetch those that it lacks.
public struct WantedBlobs: Codable, Sendable, Hashable {
    /// The most digests of one question.
    public static let countMax = 512

    /// The blobs.
    public var digests: [Digest]
    /// The conductor that has them all; nil: it is only asked which are there.
    public var from: String?
    /// What is about to name them, for the audit event: for example `image compute`; nil: leave none.
    public var subject: String?

    /// A question.
    public init(digests: [Digest], from: String? = nil, subject: String? = nil) {
        self.digests = digests
        self.from = from
        self.subject = subject
    }
}

/// The answer to `WantedBlobs`; what is missing in `held` may be on its way.
public struct HeldBlobs: Codable, Sendable, Hashable {
    /// Those that are there, verified.
    public var held: [Digest]
    /// The bytes that this conductor has fetched since its start: when they rise, something is on its way.
    public var pulledBytes: UInt64

    /// An answer.
    public init(held: [Digest], pulledBytes: UInt64) {
        self.held = held
        self.pulledBytes = pulledBytes
    }
}

/// How peers are reached.
public protocol BlobPeerAccess: Sendable {
    /// Gives `part` the blob's bytes from `offset` on; false: the peer has no such blob.
    ///
    /// Rethrows what `part` throws; throws other errors when the peer cannot be reached or the transfer breaks off.
    func fetch(
        _ digest: Digest, from peer: BlobPeer, offset: UInt64,
        _ part: @escaping @Sendable ([UInt8]) async throws(BlobError) -> Void
    ) async throws -> Bool

    /// Asks a peer.
    func ask(_ peer: BlobPeer, _ question: WantedBlobs) async throws -> HeldBlobs
}
