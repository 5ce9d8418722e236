import Primitives

/// A virtual rack as its file describes it: one network segment, one Redfish service, and machines.
public struct RackFile: Hashable, Sendable {
    /// 1 to 32 of `a-z`, `0-9` and `-`; names the namespace `muster-<name>` and everything else that is the rack's.
    public var name: String
    /// The machines' network.
    public var network: Segment
    /// The Redfish service of all machines.
    public var bmc: BMC
    /// 1 to 64 machines.
    public var machines: [Machine]

    /// The name under which `ip netns` lists the rack's network namespace.
    public var namespace: String { "muster-\(name)" }

    /// The TCP port of a machine's serial port at the BMCs' address: the first machine's, and one more each.
    func terminalPort(of machine: Machine) -> Int { 7001 + (machines.firstIndex { $0.name == machine.name } ?? 0) }

    /// The provisioning segment: a bridge with an IPv4 and an IPv6 network.
    public struct Segment: Hashable, Sendable {
        /// The bridge's interface name, at most 15 characters.
        public var bridge: String
        /// The IPv4 network.
        public var subnet: IPv4Network
        /// The conductor's address: on the bridge in `subnet`, or behind the relay in its `uplink`.
        public var conductor: IPv4Address
        /// The conductor's IPv6 address with its prefix length, for example `fd77::1/64`.
        public var conductorIPv6: String
        /// What stands between the segment and the conductor; nil when the conductor is on the bridge.
        public var relay: Relay?

        /// The network that the conductor and the BMCs are in.
        public var conductorNetwork: IPv4Network { relay?.uplink ?? subnet }
    }

    /// A router with a DHCP relay, in a namespace of its own.
    public struct Relay: Hashable, Sendable {
        /// Its address in the segment's subnet: the machines' router, and what it puts into requests.
        public var address: IPv4Address
        /// The network on its other side.
        public var uplink: IPv4Network
        /// Its address there.
        public var uplinkAddress: IPv4Address
    }

    /// Where and for whom the Redfish service answers.
    public struct BMC: Hashable, Sendable {
        /// An address in the conductor's network; the conductor's own is allowed.
        public var address: IPv4Address
        /// The TCP port.
        public var port: UInt16
        /// The only account's name.
        public var user: String
        /// The only account's password, at most 72 bytes (the limit of bcrypt).
        public var password: String

        /// The root of the service, without a path.
        public var url: String { "http://\(address):\(port)" }
    }

    /// One machine.
    public struct Machine: Hashable, Sendable {
        /// 1 to 63 of `a-z`, `0-9` and `-`.
        public var name: String
        /// The SMBIOS UUID in lower case, also the identifier of the Redfish system.
        public var uuid: String
        /// The SMBIOS system serial number.
        public var serial: String
        /// The SMBIOS manufacturer.
        public var manufacturer: String
        /// The SMBIOS product name.
        public var product: String
        /// Memory in MiB.
        public var memoryMiB: Int
        /// Virtual processors.
        public var cpus: Int
        /// What starts the machine.
        public var firmware: Firmware
        /// How the firmware's own network stack boots; iPXE in a NIC's ROM ignores it.
        public var networkBoot: NetworkBoot
        /// Whether it has a TPM 2.0.
        public var tpm: TPM
        /// What its BMC speaks.
        public var bmc: BMCProtocol
        /// The first is the one that boots from the network.
        public var nics: [NIC]
        /// The first is tried after the network.
        public var disks: [Disk]
    }

    /// A machine's firmware.
    public enum Firmware: String, Hashable, Sendable, CaseIterable {
        /// SeaBIOS with the NIC's iPXE.
        case bios
        /// OVMF without Secure Boot, with the NIC's iPXE or, where the NIC has no ROM, its own network stack.
        case uefi
        /// OVMF that enforces Secure Boot with Microsoft's keys; iPXE, which is not signed, does not start.
        case uefiSecure = "uefi-secure"
    }

    /// Whether a machine has a TPM 2.0 of software, with the certificate of a maker that the rack has for itself.
    public enum TPM: String, Hashable, Sendable, CaseIterable {
        case absent = "false"
        case present = "true"
    }

    /// What a machine's BMC speaks.
    public enum BMCProtocol: String, Hashable, Sendable, CaseIterable {
        /// The rack's Redfish service, one system a machine.
        case redfish
        /// IPMI 2.0 on a UDP port of its own; the machine sees its BMC from within too.
        case ipmi
    }

    /// What UEFI firmware does of itself on the network.
    public enum NetworkBoot: String, Hashable, Sendable, CaseIterable {
        /// PXE first: DHCP and TFTP.
        case pxe
        /// HTTP boot only.
        case http
    }

    /// A network card on the segment.
    public struct NIC: Hashable, Sendable {
        /// Its address, unicast.
        public var mac: MACAddress
        /// What the guest sees.
        public var model: Model
        /// Whether the first card has iPXE in a ROM; `off` leaves the firmware its own network stack.
        public var rom: ROM

        /// A card's boot ROM.
        public enum ROM: String, Hashable, Sendable, CaseIterable {
            case on, off
        }

        /// Cards that QEMU has an iPXE ROM for.
        public enum Model: String, Hashable, Sendable, CaseIterable {
            case virtio, e1000, e1000e
        }
    }

    /// A disk.
    public struct Disk: Hashable, Sendable {
        /// The serial number, at most 20 characters (the limit of virtio-blk and of ATA).
        public var serial: String
        /// Its size in GiB.
        public var sizeGiB: Int
        /// How it is attached.
        public var bus: Bus
        /// The World Wide Name, 16 hexadecimal digits in lower case; only on the SCSI bus.
        public var wwn: String?
        /// What the whole disk holds from the start, nil for an empty disk.
        public var content: DiskContent?

        /// The disk's bus.
        public enum Bus: String, Hashable, Sendable, CaseIterable {
            case virtio, sata
            /// A virtio SCSI controller.
            case scsi
            /// A controller with one namespace; never the first disk, which machines boot from.
            case nvme
        }
    }

    /// The machine called `name`; throws `RackError.unknownMachine`.
    public func machine(named name: String) throws(RackError) -> Machine {
        guard let machine = machines.first(where: { $0.name == name }) else {
            throw .unknownMachine(name, known: machines.map(\.name))
        }
        return machine
    }
}
