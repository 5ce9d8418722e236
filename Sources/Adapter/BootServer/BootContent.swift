import ImageChunks
import NetworkBoot
import NIOCore
import Primitives

/// A machine's iPXE asks what to do.
public struct BootRequest: Hashable, Sendable {
    /// The interface it booted from.
    public let mac: MACAddress
    /// The SMBIOS UUID it claims, 36 lowercase characters.
    public let uuid: String?
    /// The serial number it claims, printable, at most 64 characters.
    public let serial: String?
    /// The address it asks from, as text.
    public let remoteAddress: String?

    /// A request.
    public init(mac: MACAddress, uuid: String? = nil, serial: String? = nil, remoteAddress: String? = nil) {
        self.mac = mac
        self.uuid = uuid
        self.serial = serial
        self.remoteAddress = remoteAddress
    }
}

/// What a machine is told; asked anew for every request.
public typealias BootDecision = @Sendable (BootRequest) async -> BootScript

/// The files of a boot image.
public enum BootFileName: String, Hashable, Sendable, CaseIterable {
    /// The kernel.
    case kernel = "vmlinuz"
    /// The ramdisk.
    case initrd = "initrd.zst"
}

/// Reads stored blobs.
public protocol BlobSource: Sendable {
    /// The size of a blob in bytes; nil when it is not stored.
    func size(of blob: Digest) async throws -> UInt64?
    /// Exactly `count` bytes from `offset` on; throws when they cannot be read or the blob is damaged.
    func read(_ blob: Digest, at offset: UInt64, count: Int) async throws -> ByteBuffer
}

/// What the boot port serves. It has no authentication: whatever is found by these is public on the segment.
public struct BootContent: Sendable {
    /// What a machine is told.
    public var decide: BootDecision
    /// The blob of a file of the boot image with a name; nil: there is none.
    public var file: @Sendable (_ image: String, _ name: BootFileName) async throws -> Digest?
    /// Whether a blob may be fetched by its digest: kernels, ramdisks and boot programs, never inventories or logs.
    public var isPublic: @Sendable (Digest) async throws -> Bool
    /// The site's CA certificate in PEM.
    public var authorityPEM: @Sendable () async throws -> String
    /// The manifest of a role image; nil: there is none, or it is not public.
    public var manifest: @Sendable (Digest) async throws -> ChunkManifest?
    /// The programs that firmware loads before iPXE.
    public var programs: BootPrograms
    /// The medium with a token that BMCs were told; nil: there is none.
    public var medium: @Sendable (_ token: String) async -> Medium?
    /// Where blobs are read.
    public var blobs: any BlobSource

    /// An image that BMCs or firmware boot, with a place in it that is filled in as it is served.
    public struct Medium: Sendable, Hashable {
        /// The image, a blob.
        public var image: Digest
        /// Where the place begins.
        public var place: UInt64
        /// What stands there.
        public var bytes: [UInt8]

        /// A medium.
        public init(image: Digest, place: UInt64, bytes: [UInt8]) {
            self.image = image
            self.place = place
            self.bytes = bytes
        }
    }

    /// Content.
    public init(
        decide: @escaping BootDecision,
        file: @escaping @Sendable (_ image: String, _ name: BootFileName) async throws -> Digest?,
        isPublic: @escaping @Sendable (Digest) async throws -> Bool,
        authorityPEM: @escaping @Sendable () async throws -> String,
        manifest: @escaping @Sendable (Digest) async throws -> ChunkManifest?,
        medium: @escaping @Sendable (String) async -> Medium? = { _ in nil },
        programs: BootPrograms = BootPrograms([:]), blobs: any BlobSource
    ) {
        self.medium = medium
        self.decide = decide
        self.file = file
        self.isPublic = isPublic
        self.authorityPEM = authorityPEM
        self.manifest = manifest
        self.programs = programs
        self.blobs = blobs
    }
}
