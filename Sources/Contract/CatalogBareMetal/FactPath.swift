/// A fact of an inventory that a rule can ask for, by the path that stands in the rule.
public enum FactPath: String, Codable, Sendable, Hashable, CaseIterable {
    /// The system's serial number.
    case systemSerial = "system.serial"
    /// The SMBIOS system UUID; letters may be of either case.
    case systemUUID = "system.uuid"
    /// The system's manufacturer.
    case systemVendor = "system.vendor"
    /// The system's product name.
    case systemProduct = "system.product"
    /// The base board's serial number.
    case boardSerial = "board.serial"
    /// The chassis' serial number.
    case chassisSerial = "chassis.serial"
    /// `bios` or `uefi`.
    case firmwareMode = "firmware.mode"
    /// The firmware's vendor.
    case firmwareVendor = "firmware.vendor"
    /// The firmware's version.
    case firmwareVersion = "firmware.version"
    /// `true` or `false`: whether Secure Boot is enforced; not told under BIOS.
    case secureBoot = "firmware.secureBoot"
    /// The version of the trusted platform module, for example `2.0`.
    case tpmVersion = "tpm.version"
    /// `true` or `false`: whether the TPM proved itself and the site vouches for it.
    case tpmAttested = "tpm.attested"
    /// SHA-256 of the TPM's endorsement key, once it proved that it holds it.
    case tpmEndorsementKey = "tpm.endorsementKey"
    /// The instruction set, for example `x86_64`.
    case cpuArchitecture = "cpu.architecture"
    /// The processors' vendor, for example `GenuineIntel`.
    case cpuVendor = "cpu.vendor"
    /// The processors' model name.
    case cpuModel = "cpu.model"
    /// Sockets in use.
    case cpuSockets = "cpu.sockets"
    /// Cores of all sockets.
    case cpuCores = "cpu.cores"
    /// Threads of all cores.
    case cpuThreads = "cpu.threads"
    /// Any flag of the processors, for example `vmx`.
    case cpuFlag = "cpu.flag"
    /// What the kernel can use of the memory.
    case memoryBytes = "memory.bytes"
    /// The number of disks.
    case diskCount = "disk.count"
    /// Any disk's serial number.
    case diskSerial = "disk.serial"
    /// Any disk's size in bytes.
    case diskBytes = "disk.bytes"
    /// Any disk's model.
    case diskModel = "disk.model"
    /// Any disk's bus, for example `nvme`.
    case diskBus = "disk.bus"
    /// Any disk's world wide name.
    case diskWWN = "disk.wwn"
    /// The number of network interfaces.
    case nicCount = "nic.count"
    /// Any network interface's address; letters may be of either case.
    case nicMAC = "nic.mac"
    /// Any network interface's driver.
    case nicDriver = "nic.driver"
    /// Any network interface's speed in megabits a second; told while it has a link.
    case nicSpeed = "nic.speed"
    /// The switch at the other end of any cable, by name, as it says itself (LLDP).
    case nicLLDPSwitch = "nic.lldp.switch"
    /// The switch's port at the other end of any cable, as the switch says itself (LLDP).
    case nicLLDPPort = "nic.lldp.port"
    /// Any PCI device as `vendor:device` in hexadecimal, for example `8086:1521`.
    case pciDevice = "pci.device"
    /// The address of the interface that the machine booted from; letters may be of either case.
    case bootMAC = "boot.mac"
    /// The hypervisor of a virtual machine, for example `kvm`.
    case virtualization = "virtualization"

    /// Whether the fact is a number, which `atLeast` and `atMost` can be asked of.
    public var isNumber: Bool {
        switch self {
        case .cpuSockets, .cpuCores, .cpuThreads, .memoryBytes, .diskCount, .diskBytes, .nicCount, .nicSpeed: true
        case .systemSerial, .systemUUID, .systemVendor, .systemProduct, .boardSerial, .chassisSerial, .firmwareMode,
            .firmwareVendor, .firmwareVersion, .secureBoot, .tpmVersion, .tpmAttested, .tpmEndorsementKey,
            .cpuArchitecture, .cpuVendor, .cpuModel, .cpuFlag, .diskSerial, .diskModel, .diskBus, .diskWWN, .nicMAC,
            .nicDriver, .nicLLDPSwitch, .nicLLDPPort,
            .pciDevice, .bootMAC, .virtualization:
            false
        }
    }

    /// Whether a machine may have several of it; a rule then asks whether any of them fits.
    public var isList: Bool {
        switch self {
        case .cpuFlag, .diskSerial, .diskBytes, .diskModel, .diskBus, .diskWWN, .nicMAC, .nicDriver, .nicSpeed,
            .nicLLDPSwitch, .nicLLDPPort, .pciDevice:
            true
        default:
            false
        }
    }

    /// Whether a value may be given with a unit, for example `8 GiB`.
    public var isSize: Bool { self == .memoryBytes || self == .diskBytes }

    /// Whether letters of either case are the same.
    public var ignoresCase: Bool {
        switch self {
        case .systemUUID, .nicMAC, .bootMAC, .diskWWN, .pciDevice, .tpmEndorsementKey: true
        default: false
        }
    }
}
