import AgentProtocol
import CatalogBareMetal
import Primitives

/// POST `blobs/missing`: which of these are not stored?
public struct MissingBlobsRequest: Codable, Sendable, Hashable {
    /// At most `FleetLimit.digestCount`.
    public var digests: [Digest]

    /// A question.
    public init(digests: [Digest]) { self.digests = digests }
}

/// Those that are not stored, in the order of the question.
public struct MissingBlobsReply: Codable, Sendable, Hashable {
    /// The missing ones.
    public var missing: [Digest]

    /// An answer.
    public init(missing: [Digest]) { self.missing = missing }
}

/// What became of a batch of blobs, or of one.
public struct StoredBlobsReply: Codable, Sendable, Hashable {
    /// The digests of what is stored now, in the order sent.
    public var stored: [Digest]

    /// An answer.
    public init(stored: [Digest]) { self.stored = stored }
}

/// POST `blobs`: blobs one after the other, each with its length in 4 bytes, big endian, before it.
///
/// The conductor names each by the digest of its bytes, so nothing is stored under a name that it does not have.
public enum BlobBatch {
    /// The content type.
    public static let contentType = "application/x-muster-blobs"

    /// The bytes before a blob of `length` bytes.
    public static func header(length: Int) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) }
    }
}

/// PUT `images/{name}`: makes an image current. Refused with 409 while any of its blobs is missing.
public struct ImageRequest: Codable, Sendable, Hashable {
    /// The role whose image it is.
    public var role: Role
    /// The manifest, a blob.
    public var manifest: Digest

    /// A request.
    public init(role: Role, manifest: Digest) {
        self.role = role
        self.manifest = manifest
    }
}

/// An image.
public struct ImageRecord: Codable, Sendable, Hashable {
    /// Its name.
    public var name: String
    /// What it is.
    public var spec: NodeImage.Spec
    /// When it was first pushed under this name.
    public var created: Timestamp
    /// The nodes whose disk holds it.
    public var nodes: [String]
    /// On how many conductors all of it was when it was made current; nil: not told.
    public var copies: Int?

    /// An image.
    public init(name: String, spec: NodeImage.Spec, created: Timestamp, nodes: [String], copies: Int? = nil) {
        self.copies = copies
        self.name = name
        self.spec = spec
        self.created = created
        self.nodes = nodes
    }
}

/// The images and ramdisks.
public struct ImageList: Codable, Sendable, Hashable {
    /// Images for disks.
    public var images: [ImageRecord]
    /// What machines boot over the network.
    public var ramdisks: [RamdiskRecord]

    /// A list.
    public init(images: [ImageRecord], ramdisks: [RamdiskRecord]) {
        self.images = images
        self.ramdisks = ramdisks
    }
}

/// PUT `ramdisks/{name}`: refused with 409 while the kernel or the initial ramdisk is not stored.
public struct RamdiskRequest: Codable, Sendable, Hashable {
    /// The kernel, a blob.
    public var kernel: Digest
    /// The initial ramdisk, a blob.
    public var initrd: Digest
    /// The same as an image to boot from; nil: none.
    public var media: Ramdisk.Spec.Media?

    /// A request.
    public init(kernel: Digest, initrd: Digest, media: Ramdisk.Spec.Media? = nil) {
        self.media = media
        self.kernel = kernel
        self.initrd = initrd
    }
}

/// A kernel and an initial ramdisk.
public struct RamdiskRecord: Codable, Sendable, Hashable {
    /// Its name.
    public var name: String
    /// What it is.
    public var spec: Ramdisk.Spec
    /// When it was first pushed under this name.
    public var created: Timestamp
    /// On how many conductors it was when it was made current; nil: not told.
    public var copies: Int?

    /// A ramdisk.
    public init(name: String, spec: Ramdisk.Spec, created: Timestamp, copies: Int? = nil) {
        self.copies = copies
        self.name = name
        self.spec = spec
        self.created = created
    }
}
