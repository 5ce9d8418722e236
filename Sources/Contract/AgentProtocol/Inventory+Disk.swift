import FoundationEssentials
import Primitives

extension InventoryReport {
    /// A whole disk and what is on it.
    public struct Disk: Hashable, Sendable, Codable {
        /// The kernel's name, which may change from boot to boot, for example `vda`.
        public var name: String
        /// The device's path, for example `/dev/vda`.
        public var path: String
        /// The unit's serial number.
        public var serial: String?
        /// The world wide name, for example `0x5000c50015ea71aa`.
        public var wwn: String?
        /// The model's name.
        public var model: String?
        /// The capacity.
        public var size: ByteCount
        /// Whether it turns; nil when the kernel does not say.
        public var isRotational: Bool?
        /// How it is attached, for example `virtio`, `ata`, `scsi`, `nvme`, `usb`.
        public var bus: String?
        /// udev's path to it, which stays while it stays in its slot, for example `pci-0000:00:03.0`.
        public var idPath: String?
        /// Bytes of the smallest unit that it addresses.
        public var logicalBlockSize: Int
        /// Bytes of the smallest unit that it writes without reading.
        public var physicalBlockSize: Int
        /// Whether it refuses writes.
        public var isReadOnly: Bool
        /// Whether its medium can be taken out.
        public var isRemovable: Bool
        /// What is on it.
        public var contents: DiskContents

        /// Facts about a disk.
        public init(
            name: String, path: String, serial: String? = nil, wwn: String? = nil, model: String? = nil,
            size: ByteCount, isRotational: Bool? = nil, bus: String? = nil, idPath: String? = nil,
            logicalBlockSize: Int = 512, physicalBlockSize: Int = 512, isReadOnly: Bool = false,
            isRemovable: Bool = false, contents: DiskContents = DiskContents()
        ) {
            self.name = name
            self.path = path
            self.serial = serial
            self.wwn = wwn
            self.model = model
            self.size = size
            self.isRotational = isRotational
            self.bus = bus
            self.idPath = idPath
            self.logicalBlockSize = logicalBlockSize
            self.physicalBlockSize = physicalBlockSize
            self.isReadOnly = isReadOnly
            self.isRemovable = isRemovable
            self.contents = contents
        }
    }

    /// What is on a disk: a partition table, or a signature of its own, or nothing.
    public struct DiskContents: Hashable, Sendable, Codable {
        /// The partition table's type, for example `gpt` or `dos`.
        public var partitionTable: String?
        /// The partition table's identifier.
        public var partitionTableUUID: String?
        /// The partitions, by number.
        public var partitions: [Partition]
        /// The file system, RAID, LVM or encryption signature of the whole disk.
        public var signature: Signature?
        /// Whether signatures contradict each other, so that none is believed.
        public var isAmbiguous: Bool

        /// Contents of a disk; empty by default.
        public init(
            partitionTable: String? = nil, partitionTableUUID: String? = nil, partitions: [Partition] = [],
            signature: Signature? = nil, isAmbiguous: Bool = false
        ) {
            self.partitionTable = partitionTable
            self.partitionTableUUID = partitionTableUUID
            self.partitions = partitions
            self.signature = signature
            self.isAmbiguous = isAmbiguous
        }

        /// Whether nothing was recognised.
        public var isEmpty: Bool {
            partitionTable == nil && partitions.isEmpty && signature == nil && !isAmbiguous
        }
    }

    /// One partition of a disk.
    public struct Partition: Hashable, Sendable, Codable {
        /// Counts from 1.
        public var number: Int
        /// The name in the table (GPT only).
        public var name: String?
        /// The partition's own identifier.
        public var uuid: String?
        /// The identifier of what it is for.
        public var type: String?
        /// Bytes from the start of the disk.
        public var start: UInt64
        /// Its length.
        public var size: ByteCount
        /// What is in it.
        public var signature: Signature?

        /// Facts about a partition.
        public init(
            number: Int, name: String? = nil, uuid: String? = nil, type: String? = nil, start: UInt64,
            size: ByteCount, signature: Signature? = nil
        ) {
            self.number = number
            self.name = name
            self.uuid = uuid
            self.type = type
            self.start = start
            self.size = size
            self.signature = signature
        }
    }

    /// What libblkid recognises in a device.
    public struct Signature: Hashable, Sendable, Codable {
        /// `filesystem`, `raid`, `crypto` or `other`.
        public var usage: String?
        /// The format, for example `ext4`, `linux_raid_member`, `LVM2_member`.
        public var type: String
        /// The label.
        public var label: String?
        /// The identifier.
        public var uuid: String?

        /// A recognised signature.
        public init(usage: String? = nil, type: String, label: String? = nil, uuid: String? = nil) {
            self.usage = usage
            self.type = type
            self.label = label
            self.uuid = uuid
        }
    }

    /// A network interface of hardware.
    public struct NIC: Hashable, Sendable, Codable {
        /// The kernel's name, for example `enp1s0`.
        public var name: String
        /// The address in use.
        public var mac: MACAddress
        /// The address burnt in; nil when the driver does not tell.
        public var permanentMAC: MACAddress?
        /// The driver's name.
        public var driver: String?
        /// Megabits a second; nil without a link or when unknown.
        public var speed: Int?
        /// Whether a carrier is present.
        public var hasLink: Bool
        /// Its PCI address, for example `0000:01:00.0`.
        public var pciAddress: String?
        /// udev's path to it.
        public var idPath: String?
        /// The largest packet in bytes.
        public var mtu: Int
        /// Addresses with prefix lengths, for example `10.77.0.20/24`.
        public var addresses: [String]
        /// What is at the other end of the cable, as it says of itself by LLDP; nil when nothing was heard.
        public var lldp: Neighbour?

        /// Facts about a network interface.
        public init(
            name: String, mac: MACAddress, permanentMAC: MACAddress? = nil, driver: String? = nil, speed: Int? = nil,
            hasLink: Bool, pciAddress: String? = nil, idPath: String? = nil, mtu: Int, addresses: [String] = [],
            lldp: Neighbour? = nil
        ) {
            self.name = name
            self.mac = mac
            self.permanentMAC = permanentMAC
            self.driver = driver
            self.speed = speed
            self.hasLink = hasLink
            self.pciAddress = pciAddress
            self.idPath = idPath
            self.mtu = mtu
            self.addresses = addresses
            self.lldp = lldp
        }
    }

    /// A switch and its port at the other end of a cable; nobody vouches for what they say.
    public struct Neighbour: Hashable, Sendable, Codable {
        /// The switch's name, else its chassis identifier.
        public var switchName: String
        /// The port's identifier.
        public var port: String

        /// A neighbour.
        public init(switchName: String, port: String) {
            self.switchName = switchName
            self.port = port
        }

        var bounded: Self { Self(switchName: switchName.bounded, port: port.bounded) }
    }
}

extension InventoryReport.Disk {
    var bounded: Self {
        Self(
            name: name.bounded, path: path.bounded, serial: serial?.bounded, wwn: wwn?.bounded, model: model?.bounded,
            size: size, isRotational: isRotational, bus: bus?.bounded, idPath: idPath?.bounded,
            logicalBlockSize: logicalBlockSize, physicalBlockSize: physicalBlockSize, isReadOnly: isReadOnly,
            isRemovable: isRemovable, contents: contents.bounded)
    }
}

extension InventoryReport.DiskContents {
    var bounded: Self {
        Self(
            partitionTable: partitionTable?.bounded, partitionTableUUID: partitionTableUUID?.bounded,
            partitions: partitions.prefix(InventoryReport.Limit.partitions).map(\.bounded),
            signature: signature?.bounded, isAmbiguous: isAmbiguous)
    }
}

extension InventoryReport.Partition {
    var bounded: Self {
        Self(
            number: number, name: name?.bounded, uuid: uuid?.bounded, type: type?.bounded, start: start, size: size,
            signature: signature?.bounded)
    }
}

extension InventoryReport.Signature {
    var bounded: Self {
        Self(usage: usage?.bounded, type: type.bounded, label: label?.bounded, uuid: uuid?.bounded)
    }
}

extension InventoryReport.NIC {
    var bounded: Self {
        Self(
            name: name.bounded, mac: mac, permanentMAC: permanentMAC, driver: driver?.bounded, speed: speed,
            hasLink: hasLink, pciAddress: pciAddress?.bounded, idPath: idPath?.bounded, mtu: mtu,
            addresses: addresses.prefix(InventoryReport.Limit.addresses).map(\.bounded), lldp: lldp?.bounded)
    }
}
