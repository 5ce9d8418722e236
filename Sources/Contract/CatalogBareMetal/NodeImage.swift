import AgentProtocol
import Primitives
import ResourceModel

/// An image for nodes' disks: made current only when all its blobs are stored.
public struct NodeImage: Resource {
    public static let kind = "baremetal.image"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// An image.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What it is.
    public struct Spec: Codable, Sendable, Hashable {
        /// The role it is for; it is that role's default image.
        public var role: Role
        /// The manifest's digest; the manifest is a blob.
        public var manifest: Digest
        /// The disk image's size.
        public var size: ByteCount
        /// Bytes of its stored chunks.
        public var storedSize: ByteCount
        /// Its data chunks.
        public var chunkCount: Int

        /// An image.
        public init(role: Role, manifest: Digest, size: ByteCount, storedSize: ByteCount, chunkCount: Int) {
            self.role = role
            self.manifest = manifest
            self.size = size
            self.storedSize = storedSize
            self.chunkCount = chunkCount
        }
    }
}

/// The kernel and ramdisk that machines boot over the network. The one named `discovery` is served.
public struct Ramdisk: Resource {
    public static let kind = "baremetal.ramdisk"
    public static let schemaVersion = 1
    /// The one that is served to machines.
    public static let discovery = "discovery"

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A ramdisk.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What it is.
    public struct Spec: Codable, Sendable, Hashable {
        /// The kernel, a blob.
        public var kernel: Digest
        /// The initial ramdisk, a blob.
        public var initrd: Digest
        /// The same as an image to boot from; nil: none was pushed.
        public var media: Media?

        /// An image that is booted as a CD.
        public struct Media: Codable, Sendable, Hashable {
            /// The image, a blob.
            public var image: Digest
            /// Where in it the place begins that is filled in as it is served; see `BootMedium`.
            public var place: UInt64

            /// An image.
            public init(image: Digest, place: UInt64) {
                self.image = image
                self.place = place
            }
        }

        /// A ramdisk.
        public init(kernel: Digest, initrd: Digest, media: Media? = nil) {
            self.media = media
            self.kernel = kernel
            self.initrd = initrd
        }
    }
}

/// One thing that happened to a node; kept to a bounded number a node.
public struct NodeEvent: Resource {
    public static let kind = "baremetal.event"
    public static let schemaVersion = 1
    /// The most events that are kept of one node.
    public static let countMax = 200

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// An event.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What happened.
    public struct Spec: Codable, Sendable, Hashable {
        /// To whom.
        public var node: NodeID
        /// When.
        public var time: Timestamp
        /// For example `StateChanged`, `Refused` or `BMCFailed`.
        public var type: String
        /// What, for people.
        public var message: String

        /// An event.
        public init(node: NodeID, time: Timestamp, type: String, message: String) {
            self.node = node
            self.time = time
            self.type = type
            self.message = message
        }
    }
}
