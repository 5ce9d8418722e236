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
    /// The instruction set, for example `x86_64`.
    case cpuArchitecture = "cpu.architecture"
    /// The processors' model name.
    case cpuModel = "cpu.model"
    /// Threads of all cores.
    case cpuThreads = "cpu.threads"
    /// What the kernel can use of the memory.
    case memoryBytes = "memory.bytes"
    /// The number of disks.
    case diskCount = "disk.count"
    /// Any disk's serial number.
    case diskSerial = "disk.serial"
    /// Any disk's size in bytes.
    case diskBytes = "disk.bytes"
    /// The number of network interfaces.
    case nicCount = "nic.count"
    /// Any network interface's address; letters may be of either case.
    case nicMAC = "nic.mac"
    /// The hypervisor of a virtual machine, for example `kvm`.
    case virtualization = "virtualization"

    /// Whether the fact is a number, which `atLeast` and `atMost` can be asked of.
    public var isNumber: Bool {
        switch self {
        case .cpuThreads, .memoryBytes, .diskCount, .diskBytes, .nicCount: true
        case .systemSerial, .systemUUID, .systemVendor, .systemProduct, .boardSerial, .chassisSerial, .firmwareMode,
            .cpuArchitecture, .cpuModel, .diskSerial, .nicMAC, .virtualization:
            false
        }
    }

    /// Whether a value may be given with a unit, for example `8 GiB`.
    public var isSize: Bool { self == .memoryBytes || self == .diskBytes }
}
