import AgentProtocol
import Glibc
import LinuxSystem
import Primitives

/// Makes the inventory of the machine it runs on, from udev, libblkid, SMBIOS and the kernel.
public struct HardwareCollector: Sendable {
    private let agentVersion: String
    private let bootInterface: MACAddress?
    private let clockSkew: Duration?
    private let lldp: LLDPListener?

    /// A collector; `bootInterface` and `clockSkew` are facts that only whoever booted the machine knows. `lldp` has
    /// listened for some time.
    public init(
        agentVersion: String, bootInterface: MACAddress? = nil, clockSkew: Duration? = nil, lldp: LLDPListener? = nil
    ) {
        self.lldp = lldp
        self.agentVersion = agentVersion
        self.bootInterface = bootInterface
        self.clockSkew = clockSkew
    }

    /// The inventory at the time `now`; blocks while disks are read. What cannot be read is absent.
    public func collect(now: Timestamp) -> InventoryReport {
        guard let udev = Udev() else { fatalError("out of memory") }
        let cpuinfo = SystemFile.text("/proc/cpuinfo", limit: 4 << 20) ?? ""
        let cpu = ProcessorFacts.parse(cpuinfo, architecture: Machine.architecture)
        return InventoryReport(
            agentVersion: agentVersion, collectedAt: now, clockSkewMilliseconds: clockSkew?.milliseconds,
            bootInterface: bootInterface, kernelVersion: Machine.kernelVersion, system: system(), cpu: cpu,
            memory: memory(), disks: DiskCollector(udev: udev).collect(),
            nics: NICCollector(udev: udev, neighbours: lldp?.neighbours() ?? [:]).collect(),
            pciDevices: pciDevices(udev), tpmVersion: tpmVersion(), bmc: OwnBMCDevice.read(),
            virtualization: cpu.flags.contains("hypervisor") ? hypervisor() : nil)
    }

    private func system() -> InventoryReport.System {
        func dmi(_ name: String) -> String? { SystemFile.text("/sys/class/dmi/id/\(name)", limit: 512) }
        let isUEFI = access("/sys/firmware/efi", F_OK) == 0
        return InventoryReport.System(
            vendor: dmi("sys_vendor"), product: dmi("product_name"), serial: dmi("product_serial"),
            uuid: dmi("product_uuid")?.lowercased(), boardSerial: dmi("board_serial"),
            chassisSerial: dmi("chassis_serial"), biosVendor: dmi("bios_vendor"), biosVersion: dmi("bios_version"),
            biosDate: dmi("bios_date"), firmwareMode: isUEFI ? .uefi : .bios, secureBoot: isUEFI ? secureBoot() : nil)
    }

    /// The UEFI variable SecureBoot: four bytes of attributes, then 1 when it is enforced.
    private func secureBoot() -> Bool {
        let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        guard let bytes = SystemFile.bytes(variable, limit: 16), bytes.count == 5 else { return false }
        return bytes[4] == 1
    }

    private func memory() -> InventoryReport.Memory {
        let table = SystemFile.bytes("/sys/firmware/dmi/tables/DMI", limit: 1 << 20) ?? []
        let pages = UInt64(clamping: sysconf(Int32(_SC_PHYS_PAGES)))
        let pageSize = UInt64(clamping: sysconf(Int32(_SC_PAGESIZE)))
        return InventoryReport.Memory(
            total: ByteCount(bytes: pages * pageSize), modules: MemoryModules.parse(table))
    }

    private func pciDevices(_ udev: Udev) -> [InventoryReport.PCIDevice] {
        func number(_ text: String?) -> UInt32? {
            guard let text, text.hasPrefix("0x") else { return nil }
            return UInt32(text.dropFirst(2), radix: 16)
        }
        return udev.devices(subsystem: "pci", limit: InventoryReport.Limit.pciDevices + 1).compactMap { device in
            guard let classCode = number(device.attribute("class")), let vendor = number(device.attribute("vendor")),
                let model = number(device.attribute("device"))
            else { return nil }
            return InventoryReport.PCIDevice(
                address: device.name, classCode: classCode, vendor: UInt16(truncatingIfNeeded: vendor),
                device: UInt16(truncatingIfNeeded: model), driver: SystemFile.linkName(device.path + "/driver"))
        }
    }

    private func tpmVersion() -> String? {
        guard let name = SystemFile.names(in: "/sys/class/tpm").first else { return nil }
        let major = SystemFile.text("/sys/class/tpm/\(name)/tpm_version_major", limit: 16)
        return major == "1" ? "1.2" : "2.0"
    }

    private func hypervisor() -> String {
        let vendor = (SystemFile.text("/sys/class/dmi/id/sys_vendor", limit: 512) ?? "").lowercased()
        let known = ["qemu": "qemu", "vmware": "vmware", "microsoft": "hyperv", "xen": "xen", "innotek": "virtualbox"]
        return known.first { vendor.contains($0.key) }?.value ?? SystemFile.text("/sys/hypervisor/type") ?? "unknown"
    }
}
