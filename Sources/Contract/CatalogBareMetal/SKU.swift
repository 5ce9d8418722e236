import AgentProtocol
import Primitives
import ResourceModel

/// A bill of materials: what machines of one kind are made of. A rule names it, and a machine that is not so is not let
/// in before an operator has accepted the difference.
public struct SKU: Resource {
    public static let kind = "baremetal.sku"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A bill of materials.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What a machine has to have; what is nil is not looked at. Texts are patterns; see `GlobPattern`.
    public struct Spec: Codable, Sendable, Hashable {
        /// The system's manufacturer.
        public var vendor: String?
        /// The system's product name.
        public var product: String?
        /// The processors.
        public var cpu: CPU?
        /// The memory.
        public var memory: Memory?
        /// The disks, by groups of alike; removable ones do not count. Nil: they are not looked at.
        public var disks: [DiskGroup]?
        /// The network interfaces, by groups of alike. Nil: they are not looked at.
        public var nics: [NICGroup]?
        /// PCI devices such as accelerators.
        public var pciDevices: [PCIGroup]?
        /// The firmware.
        public var firmware: Firmware?
        /// The version of the trusted platform module, for example `2.0`, or `none`.
        public var tpm: String?
        /// Whether there may be more disks and network interfaces than are listed.
        public var allowsMore: Bool

        /// A bill on which nothing stands.
        public init() { allowsMore = false }
    }

    /// The processors of a bill.
    public struct CPU: Codable, Sendable, Hashable {
        /// The model's name.
        public var model: String?
        /// The instruction set, for example `x86_64`.
        public var architecture: String?
        /// Sockets in use.
        public var sockets: Int?
        /// Cores of all sockets, exactly.
        public var cores: Int?
        /// Cores of all sockets, at least.
        public var coresMin: Int?

        /// Processors.
        public init(
            model: String? = nil, architecture: String? = nil, sockets: Int? = nil, cores: Int? = nil,
            coresMin: Int? = nil
        ) {
            self.model = model
            self.architecture = architecture
            self.sockets = sockets
            self.cores = cores
            self.coresMin = coresMin
        }
    }

    /// The memory of a bill: that of the modules, or what the kernel can use where SMBIOS names no modules.
    public struct Memory: Codable, Sendable, Hashable {
        /// At least this.
        public var min: ByteCount?
        /// Exactly this; without modules up to an eighth less, which firmware and kernel keep to themselves.
        public var exact: ByteCount?

        /// Memory.
        public init(min: ByteCount? = nil, exact: ByteCount? = nil) {
            self.min = min
            self.exact = exact
        }
    }

    /// Disks that are alike.
    public struct DiskGroup: Codable, Sendable, Hashable {
        /// How many.
        public var count: Int
        /// At least this size each.
        public var sizeMin: ByteCount?
        /// At most this size each.
        public var sizeMax: ByteCount?
        /// How they are attached, for example `nvme`.
        public var bus: String?
        /// The model.
        public var model: String?
        /// Whether they turn.
        public var isRotational: Bool?

        /// A group of disks.
        public init(
            count: Int, sizeMin: ByteCount? = nil, sizeMax: ByteCount? = nil, bus: String? = nil,
            model: String? = nil, isRotational: Bool? = nil
        ) {
            self.count = count
            self.sizeMin = sizeMin
            self.sizeMax = sizeMax
            self.bus = bus
            self.model = model
            self.isRotational = isRotational
        }
    }

    /// Network interfaces that are alike.
    public struct NICGroup: Codable, Sendable, Hashable {
        /// How many.
        public var count: Int
        /// The driver.
        public var driver: String?
        /// At least this speed each, in megabits a second; told only while there is a link.
        public var speedMin: Int?

        /// A group of network interfaces.
        public init(count: Int, driver: String? = nil, speedMin: Int? = nil) {
            self.count = count
            self.driver = driver
            self.speedMin = speedMin
        }
    }

    /// PCI devices that are alike.
    public struct PCIGroup: Codable, Sendable, Hashable {
        /// How many, exactly.
        public var count: Int
        /// `vendor:device` in hexadecimal, for example `10de:20b0`; a pattern.
        public var device: String

        /// A group of devices.
        public init(count: Int, device: String) {
            self.count = count
            self.device = device
        }
    }

    /// The firmware of a bill.
    public struct Firmware: Codable, Sendable, Hashable {
        /// BIOS or UEFI.
        public var mode: InventoryReport.FirmwareMode?
        /// The firmware's vendor.
        public var vendor: String?
        /// The firmware's version.
        public var version: String?
        /// Whether Secure Boot is enforced.
        public var secureBoot: Bool?

        /// Firmware.
        public init(
            mode: InventoryReport.FirmwareMode? = nil, vendor: String? = nil, version: String? = nil,
            secureBoot: Bool? = nil
        ) {
            self.mode = mode
            self.vendor = vendor
            self.version = version
            self.secureBoot = secureBoot
        }
    }
}
