import FoundationEssentials
import Primitives

/// What a machine is made of, as its discovery agent saw it.
///
/// A machine that has merely booted is not trusted: whatever way a report comes into being, its texts are printable
/// and at most 128 characters long, and its lists are within `Limit`. `omissions` says what was left out.
public struct InventoryReport: Hashable, Sendable, Codable {
    /// The most that a report holds.
    public enum Limit {
        /// Characters of one text.
        public static let text = 128
        /// Disks.
        public static let disks = 256
        /// Partitions of one disk.
        public static let partitions = 128
        /// Network interfaces.
        public static let nics = 64
        /// Addresses of one network interface.
        public static let addresses = 16
        /// PCI devices.
        public static let pciDevices = 512
        /// Memory modules.
        public static let memoryModules = 128
        /// Processor flags.
        public static let cpuFlags = 64
        /// Sentences on what was left out.
        public static let omissions = 8
    }

    /// The version of this document's form.
    public let schemaVersion: Int
    /// The version of the agent that made it.
    public let agentVersion: String
    /// When it was made, by the machine's clock after it was set.
    public let collectedAt: Timestamp
    /// How far the machine's own clock was ahead of the conductor's when it booted; negative when it was behind.
    public var clockSkewMilliseconds: Int64?
    /// The interface the machine booted from.
    public let bootInterface: MACAddress?
    /// The running kernel's release.
    public let kernelVersion: String
    /// The board, the chassis and the firmware.
    public let system: System
    /// The processors.
    public let cpu: CPU
    /// The memory.
    public let memory: Memory
    /// The disks, by name.
    public let disks: [Disk]
    /// The network interfaces of hardware, by name.
    public let nics: [NIC]
    /// The PCI devices, by address.
    public let pciDevices: [PCIDevice]
    /// The version of the trusted platform module, for example `2.0`; nil when there is none.
    public let tpmVersion: String?
    /// What its own BMC tells in band; nil: it has none that answers.
    public let bmc: BMC?
    /// The hypervisor when the machine is virtual, for example `qemu`.
    public let virtualization: String?
    /// What its TPM proved. Never what the machine says: the conductor puts in what it found, and drops what was there.
    public var attestation: Attestation?
    /// What did not fit into the limits, one sentence each.
    public let omissions: [String]

    /// A report with texts and lists brought within their limits.
    public init(
        agentVersion: String, collectedAt: Timestamp, clockSkewMilliseconds: Int64? = nil,
        bootInterface: MACAddress? = nil, kernelVersion: String, system: System, cpu: CPU, memory: Memory,
        disks: [Disk], nics: [NIC], pciDevices: [PCIDevice] = [], tpmVersion: String? = nil,
        bmc: BMC? = nil, virtualization: String? = nil, omissions: [String] = [], schemaVersion: Int = 1
    ) {
        var left: [String] = []
        self.schemaVersion = schemaVersion
        self.agentVersion = agentVersion.bounded
        self.collectedAt = collectedAt
        self.clockSkewMilliseconds = clockSkewMilliseconds
        self.bootInterface = bootInterface
        self.kernelVersion = kernelVersion.bounded
        self.system = system.bounded
        self.cpu = cpu.bounded
        self.memory = memory.bounded
        self.disks = Self.cut(disks, to: Limit.disks, named: "disks", &left).map(\.bounded)
        self.nics = Self.cut(nics, to: Limit.nics, named: "network interfaces", &left).map(\.bounded)
        self.pciDevices = Self.cut(pciDevices, to: Limit.pciDevices, named: "PCI devices", &left).map(\.bounded)
        self.tpmVersion = tpmVersion?.bounded
        self.bmc = bmc?.bounded
        self.virtualization = virtualization?.bounded
        self.omissions = (left + omissions).prefix(Limit.omissions).map(\.bounded)
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            agentVersion: try fields.decode(String.self, forKey: .agentVersion),
            collectedAt: try fields.decode(Timestamp.self, forKey: .collectedAt),
            clockSkewMilliseconds: try fields.decodeIfPresent(Int64.self, forKey: .clockSkewMilliseconds),
            bootInterface: try fields.decodeIfPresent(MACAddress.self, forKey: .bootInterface),
            kernelVersion: try fields.decode(String.self, forKey: .kernelVersion),
            system: try fields.decode(System.self, forKey: .system),
            cpu: try fields.decode(CPU.self, forKey: .cpu),
            memory: try fields.decode(Memory.self, forKey: .memory),
            disks: try fields.decode([Disk].self, forKey: .disks),
            nics: try fields.decode([NIC].self, forKey: .nics),
            pciDevices: try fields.decodeIfPresent([PCIDevice].self, forKey: .pciDevices) ?? [],
            tpmVersion: try fields.decodeIfPresent(String.self, forKey: .tpmVersion),
            bmc: try fields.decodeIfPresent(BMC.self, forKey: .bmc),
            virtualization: try fields.decodeIfPresent(String.self, forKey: .virtualization),
            omissions: try fields.decodeIfPresent([String].self, forKey: .omissions) ?? [],
            schemaVersion: try fields.decode(Int.self, forKey: .schemaVersion))
        attestation = try fields.decodeIfPresent(Attestation.self, forKey: .attestation)
    }

    private static func cut<Item>(_ list: [Item], to limit: Int, named name: String, _ left: inout [String]) -> [Item] {
        if list.count > limit { left.append("\(list.count) \(name) found, the first \(limit) kept") }
        return Array(list.prefix(limit))
    }
}

extension InventoryReport {
    /// How a machine's firmware starts.
    public enum FirmwareMode: String, Hashable, Sendable, Codable {
        case bios
        case uefi
    }

    /// The board, the chassis and the firmware, from SMBIOS (DSP0134).
    public struct System: Hashable, Sendable, Codable {
        /// The system's manufacturer.
        public var vendor: String?
        /// The system's product name.
        public var product: String?
        /// The system's serial number.
        public var serial: String?
        /// The system's UUID as SMBIOS writes it, lowercase.
        public var uuid: String?
        /// The base board's serial number.
        public var boardSerial: String?
        /// The chassis' serial number.
        public var chassisSerial: String?
        /// The firmware's vendor.
        public var biosVendor: String?
        /// The firmware's version.
        public var biosVersion: String?
        /// The firmware's date as the vendor writes it.
        public var biosDate: String?
        /// Whether the running kernel was started by BIOS or UEFI.
        public var firmwareMode: FirmwareMode
        /// Whether Secure Boot is enforced; nil under BIOS.
        public var secureBoot: Bool?

        /// Facts about a system.
        public init(
            vendor: String? = nil, product: String? = nil, serial: String? = nil, uuid: String? = nil,
            boardSerial: String? = nil, chassisSerial: String? = nil, biosVendor: String? = nil,
            biosVersion: String? = nil, biosDate: String? = nil, firmwareMode: FirmwareMode, secureBoot: Bool? = nil
        ) {
            self.vendor = vendor
            self.product = product
            self.serial = serial
            self.uuid = uuid
            self.boardSerial = boardSerial
            self.chassisSerial = chassisSerial
            self.biosVendor = biosVendor
            self.biosVersion = biosVersion
            self.biosDate = biosDate
            self.firmwareMode = firmwareMode
            self.secureBoot = secureBoot
        }
    }

    /// The processors of a machine.
    public struct CPU: Hashable, Sendable, Codable {
        /// The model's name.
        public var model: String?
        /// The vendor's identification, for example `GenuineIntel`.
        public var vendor: String?
        /// The instruction set, for example `x86_64`.
        public var architecture: String
        /// Sockets in use.
        public var sockets: Int
        /// Cores of all sockets.
        public var cores: Int
        /// Threads of all cores.
        public var threads: Int
        /// Flags that placement and virtualization ask for, sorted.
        public var flags: [String]

        /// Facts about processors.
        public init(
            model: String? = nil, vendor: String? = nil, architecture: String, sockets: Int, cores: Int, threads: Int,
            flags: [String] = []
        ) {
            self.model = model
            self.vendor = vendor
            self.architecture = architecture
            self.sockets = sockets
            self.cores = cores
            self.threads = threads
            self.flags = flags
        }
    }

    /// The memory of a machine.
    public struct Memory: Hashable, Sendable, Codable {
        /// What the kernel can use.
        public var total: ByteCount
        /// The modules that SMBIOS names; empty when it names none.
        public var modules: [Module]

        /// One memory module (SMBIOS type 17).
        public struct Module: Hashable, Sendable, Codable {
            /// Where it is plugged, for example `DIMM 0`.
            public var slot: String
            /// Its size.
            public var size: ByteCount
            /// Its speed in mega-transfers a second.
            public var speed: Int?
            /// Its serial number.
            public var serial: String?

            /// Facts about a module.
            public init(slot: String, size: ByteCount, speed: Int? = nil, serial: String? = nil) {
                self.slot = slot
                self.size = size
                self.speed = speed
                self.serial = serial
            }
        }

        /// Facts about memory.
        public init(total: ByteCount, modules: [Module] = []) {
            self.total = total
            self.modules = modules
        }
    }

    /// A PCI device, by the numbers of its configuration space.
    public struct PCIDevice: Hashable, Sendable, Codable {
        /// Its address, for example `0000:00:03.0`.
        public var address: String
        /// Class, subclass and programming interface, 24 bits.
        public var classCode: UInt32
        /// The vendor's number.
        public var vendor: UInt16
        /// The device's number.
        public var device: UInt16
        /// The driver bound to it.
        public var driver: String?

        /// Facts about a PCI device.
        public init(address: String, classCode: UInt32, vendor: UInt16, device: UInt16, driver: String? = nil) {
            self.address = address
            self.classCode = classCode
            self.vendor = vendor
            self.device = device
            self.driver = driver
        }
    }
}

extension String {
    /// This text made printable and cut to a report's limit.
    var bounded: String {
        if utf8.count <= InventoryReport.Limit.text, hasOnlyPrintableScalars { return self }
        var result = ""
        for scalar in unicodeScalars.prefix(InventoryReport.Limit.text) {
            result.unicodeScalars.append(String(scalar).hasOnlyPrintableScalars ? scalar : "?")
        }
        return result
    }
}

extension InventoryReport.System {
    var bounded: Self {
        Self(
            vendor: vendor?.bounded, product: product?.bounded, serial: serial?.bounded, uuid: uuid?.bounded,
            boardSerial: boardSerial?.bounded, chassisSerial: chassisSerial?.bounded, biosVendor: biosVendor?.bounded,
            biosVersion: biosVersion?.bounded, biosDate: biosDate?.bounded, firmwareMode: firmwareMode,
            secureBoot: secureBoot)
    }
}

extension InventoryReport.CPU {
    var bounded: Self {
        Self(
            model: model?.bounded, vendor: vendor?.bounded, architecture: architecture.bounded, sockets: sockets,
            cores: cores, threads: threads, flags: flags.prefix(InventoryReport.Limit.cpuFlags).map(\.bounded))
    }
}

extension InventoryReport.Memory {
    var bounded: Self {
        let kept = modules.prefix(InventoryReport.Limit.memoryModules).map { module in
            Module(
                slot: module.slot.bounded, size: module.size, speed: module.speed, serial: module.serial?.bounded)
        }
        return Self(total: total, modules: kept)
    }
}

extension InventoryReport.PCIDevice {
    var bounded: Self {
        Self(address: address.bounded, classCode: classCode, vendor: vendor, device: device, driver: driver?.bounded)
    }
}
