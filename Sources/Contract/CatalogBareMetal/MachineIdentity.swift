import AgentProtocol
import Primitives
import ResourceModel

/// All that one machine is known by; fused over time, so that a swapped NIC or board keeps its history.
public struct MachineIdentity: Codable, Sendable, Hashable {
    /// The SMBIOS system UUID (DSP0134 section 7.2.1), lowercase; nil when the firmware gives none or a placeholder.
    public var smbiosUUID: String?
    /// The system's serial number; nil when none or a placeholder.
    public var serial: String?
    /// The base board's serial number; nil when none or a placeholder.
    public var boardSerial: String?
    /// The permanent addresses of its NICs.
    public var macs: Set<MACAddress>
    /// The BMC, by name.
    public var bmc: String?
    /// SHA-256 of the TPM's endorsement key, which it proved to hold; nil: no TPM did.
    public var endorsementKey: Digest?

    /// An identity.
    public init(
        smbiosUUID: String? = nil, serial: String? = nil, boardSerial: String? = nil, macs: Set<MACAddress> = [],
        bmc: String? = nil, endorsementKey: Digest? = nil
    ) {
        self.endorsementKey = endorsementKey
        self.smbiosUUID = smbiosUUID
        self.serial = serial
        self.boardSerial = boardSerial
        self.macs = macs
        self.bmc = bmc
    }
}

/// What lists show of an inventory; the whole is a blob.
public struct InventorySummary: Codable, Sendable, Hashable {
    /// Vendor and product.
    public var model: String
    /// Logical processors.
    public var processors: Int
    /// Memory.
    public var memory: ByteCount
    /// Disks: serial and size.
    public var disks: [Disk]
    /// `bios` or `uefi`.
    public var firmware: String
    /// Where its own BMC is, as the machine says; nobody vouches for it.
    public var bmcAddress: IPv4Address?

    /// A disk in a summary.
    public struct Disk: Codable, Sendable, Hashable {
        /// Its serial number, or its bus path when it has none.
        public var serial: String
        /// Its size.
        public var size: ByteCount

        /// A disk.
        public init(serial: String, size: ByteCount) {
            self.serial = serial
            self.size = size
        }
    }

    /// A summary.
    public init(
        model: String, processors: Int, memory: ByteCount, disks: [Disk], firmware: String,
        bmcAddress: IPv4Address? = nil
    ) {
        self.model = model
        self.processors = processors
        self.memory = memory
        self.disks = disks
        self.firmware = firmware
        self.bmcAddress = bmcAddress
    }
}

/// Two or more nodes, or a contradiction, behind one machine's claim. Never merged silently.
public struct IdentityConflict: Resource {
    public static let kind = "baremetal.conflict"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: Status

    /// A conflict.
    public init(metadata: Metadata, spec: Spec, status: Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// The claim and whom it touches.
    public struct Spec: Codable, Sendable, Hashable {
        /// What the machine says it is.
        public var claim: MachineIdentity
        /// The nodes that share something with it.
        public var nodes: [NodeID]
        /// What agrees and what does not, for people.
        public var reason: String

        /// A claim.
        public init(claim: MachineIdentity, nodes: [NodeID], reason: String) {
            self.claim = claim
            self.nodes = nodes
            self.reason = reason
        }
    }

    /// How often it came.
    public struct Status: Codable, Sendable, Hashable {
        /// The last time the machine claimed it.
        public var lastSeen: Timestamp
        /// How often it has.
        public var count: Int

        /// A status.
        public init(lastSeen: Timestamp, count: Int) {
            self.lastSeen = lastSeen
            self.count = count
        }
    }
}

/// Says which node a mark (SMBIOS UUID, MAC address) was registered for, so that a machine registering twice at the
/// same moment becomes one node.
public struct MachineMark: Resource {
    public static let kind = "baremetal.mark"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A mark.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// Whose it is.
    public struct Spec: Codable, Sendable, Hashable {
        /// The node.
        public var node: NodeID

        /// A mark of `node`.
        public init(node: NodeID) { self.node = node }
    }
}
