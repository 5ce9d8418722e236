import Primitives

/// How images are cut, and the most that any part of the format accepts.
public enum ChunkLimit {
    /// Cuts lie on multiples of this many bytes.
    public static let page = 4096
    /// No cut by content before this many bytes.
    public static let minimumLength = 16 * 1024
    /// A cut at the latest after this many bytes.
    public static let maximumLength = 512 * 1024
    /// The most bytes a compressed chunk takes (`ZSTD_compressBound` of the longest chunk).
    public static let maximumStoredLength = 526_336
    /// The most chunks of one image; its manifest then has 64 MB, which a blob store still reads as a whole.
    public static let chunkCount = 800_000
    /// The largest image: 1 TiB.
    public static let imageSize: UInt64 = 1 << 40
}

/// A run of an image that holds data; what lies between chunks is zero.
public struct ImageChunk: Hashable, Sendable {
    /// Where it begins in the image, a multiple of `ChunkLimit.page`.
    public let offset: UInt64
    /// Its length, 1 to `ChunkLimit.maximumLength`.
    public let length: Int
    /// The SHA-256 of its bytes on the disk.
    public let raw: ChunkDigest
    /// The SHA-256 of its stored form, one zstd frame (RFC 8878): the blob's name.
    public let stored: ChunkDigest
    /// The length of the stored form, 1 to `ChunkLimit.maximumStoredLength`.
    public let storedLength: Int

    /// A chunk.
    public init(offset: UInt64, length: Int, raw: ChunkDigest, stored: ChunkDigest, storedLength: Int) {
        self.offset = offset
        self.length = length
        self.raw = raw
        self.stored = stored
        self.storedLength = storedLength
    }

    /// The name of the blob that holds the stored form.
    public var blob: Digest { stored.digest }
    /// The first byte after the chunk.
    public var end: UInt64 { offset + UInt64(length) }
}

/// Why an image, a manifest or a chunk is refused.
public enum ChunkError: UserFacingError, Hashable {
    /// The manifest's bytes are not of the form; `reason` says which rule is broken.
    case malformedManifest(reason: String)
    /// The manifest is of a version that this program does not know.
    case unknownVersion(UInt16)
    /// The manifest's bytes do not have the digest they were asked for by.
    case manifestMismatch(expected: Digest, found: Digest)
    /// Something is larger than the format allows.
    case limit(what: String, found: UInt64, limit: UInt64)
    /// A chunk's bytes are not those that the manifest names.
    case corrupted(chunk: Int, reason: String)
    /// The stream sent another chunk than the one that is next.
    case unexpectedFrame(expected: Int, found: UInt32)
    /// A frame's length is not the manifest's.
    case frameLength(chunk: Int, expected: Int, found: UInt32)
    /// Reading the image failed with this errno.
    case unreadable(path: String, errno: Int32)

    public var publicMessage: String {
        switch self {
        case .malformedManifest(let reason):
            "The image manifest is damaged: \(reason). Import the image again."
        case .unknownVersion(let version):
            "The image manifest has version \(version), which is newer than this program. Upgrade it."
        case .manifestMismatch(let expected, let found):
            "The image manifest \(expected) arrived with the digest \(found). It was altered on the way; fetch it again."
        case .limit(let what, let found, let limit):
            "The \(what) is \(found); at most \(limit) is possible."
        case .corrupted(let chunk, let reason):
            "Chunk \(chunk) is corrupted: \(reason). It is fetched again; if this stays, import the image again."
        case .unexpectedFrame(let expected, let found):
            "The chunk stream sent chunk \(found) where chunk \(expected) was due. It is started again."
        case .frameLength(let chunk, let expected, let found):
            "The chunk stream announced \(found) bytes for chunk \(chunk), which has \(expected). It is started again."
        case .unreadable(let path, let errno):
            "\(path.printable(limit: 200)) cannot be read: \(systemMessage(errno))."
        }
    }
}
