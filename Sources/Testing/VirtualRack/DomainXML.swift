import Primitives

/// Renders a machine as a libvirt domain (https://libvirt.org/formatdomain.html).
public enum DomainXML {
    /// Where one machine's files are, and what runs it.
    public struct Placement: Sendable {
        /// `kvm` or `tcg`.
        public var accelerator: Accelerator
        /// The interface name of the segment's bridge.
        public var bridge: String
        /// The file that what the first serial port shows is appended to.
        public var console: String
        /// Where one may work at that port, as at a terminal server's: an address and a TCP port.
        public var terminal: (address: IPv4Address, port: Int)
        /// One qcow2 file per disk of the machine, in order.
        public var disks: [String]
        /// The file of UEFI firmware's variables, made from Debian's template when it is not there.
        public var variables: String
        /// More arguments for QEMU.
        public var arguments: [String]

        /// A placement.
        public init(
            accelerator: Accelerator, bridge: String, console: String, disks: [String], variables: String,
            terminal: (address: IPv4Address, port: Int), arguments: [String] = []
        ) {
            self.accelerator = accelerator
            self.bridge = bridge
            self.console = console
            self.terminal = terminal
            self.disks = disks
            self.variables = variables
            self.arguments = arguments
        }
    }

    /// UEFI firmware without Secure Boot, and the template of its variables (package ovmf).
    static let firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
    static let firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd"

    /// The same with Secure Boot and Microsoft's keys enrolled.
    static let secureFirmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.ms.fd"
    static let secureFirmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"

    /// The domain's document: nothing but what the machine needs, firmware and iPXE talking on the serial port, the
    /// first NIC before the first disk in the boot order.
    public static func render(_ machine: RackFile.Machine, _ placement: Placement) -> String {
        let identity = """
              <sysinfo type='smbios'>
                <system>
                  <entry name='manufacturer'>\(escape(machine.manufacturer))</entry>
                  <entry name='product'>\(escape(machine.product))</entry>
                  <entry name='serial'>\(escape(machine.serial))</entry>
                  <entry name='uuid'>\(escape(machine.uuid))</entry>
                </system>
              </sysinfo>
            """
        let processor = placement.accelerator == .kvm ? "\n  <cpu mode='host-passthrough'/>" : ""
        let places = Array(zip(machine.disks, placement.disks))
        let disks = places.enumerated().compactMap { index, place in
            place.0.bus == .nvme
                ? nil : disk(place.0, file: place.1, target: targetName(index, bus: place.0.bus), isFirst: index == 0)
        }
        let controllers = machine.disks.contains { $0.bus == .scsi } ? [scsiController] : []
        let arguments = nvmeArguments(places.filter { $0.0.bus == .nvme }) + placement.arguments
        let nics = machine.nics.enumerated().map { nic($1, bridge: placement.bridge, isFirst: $0 == 0) }
        return """
            <domain type='\(placement.accelerator == .kvm ? "kvm" : "qemu")'\(arguments.isEmpty ? "" : qemuNamespace)>
              <name>\(escape(machine.name))</name>
              <uuid>\(escape(machine.uuid))</uuid>
              <memory unit='MiB'>\(machine.memoryMiB)</memory>
              <vcpu>\(machine.cpus)</vcpu>
            \(identity)\(machine.networkBoot == .http ? "\n" + withoutPXE : "")
              <os>
                <type arch='x86_64' machine='q35'>hvm</type>
            \(firmware(machine, placement))
                <smbios mode='sysinfo'/>
              </os>
              <features><acpi/>\(machine.firmware == .uefiSecure ? "<smm state='on'/>" : "")</features>\(processor)
              <clock offset='utc'/>
              <on_poweroff>destroy</on_poweroff>
              <on_reboot>restart</on_reboot>
              <on_crash>destroy</on_crash>
              <devices>
                <emulator>/usr/bin/qemu-system-x86_64</emulator>
            \((disks + controllers + nics + (machine.tpm == .present ? [tpm] : [])).joined(separator: "\n"))
                <serial type='tcp'>
                  <source mode='bind' host='\(placement.terminal.address)' service='\(placement.terminal.port)'/>
                  <protocol type='raw'/>
                  <log file='\(escape(placement.console))' append='on'/>
                  <target port='0'/>
                </serial>
                <controller type='usb' model='none'/>
                <video><model type='none'/></video>
                <memballoon model='none'/>
                <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
              </devices>\(arguments.isEmpty ? "" : "\n" + commandLine(arguments))
            </domain>

            """
    }

    private static func firmware(_ machine: RackFile.Machine, _ placement: Placement) -> String {
        switch machine.firmware {
        case .bios: "    <bios useserial='yes'/>"
        case .uefi:
            """
                <loader readonly='yes' type='pflash'>\(firmwareCode)</loader>
                <nvram template='\(firmwareVariables)'>\(escape(placement.variables))</nvram>
            """
        case .uefiSecure:
            """
                <loader readonly='yes' secure='yes' type='pflash'>\(secureFirmwareCode)</loader>
                <nvram template='\(secureFirmwareVariables)'>\(escape(placement.variables))</nvram>
            """
        }
    }

    /// OVMF's switches that leave HTTP boot as the only thing to try on the network.
    private static let withoutPXE = """
          <sysinfo type='fwcfg'>
            <entry name='opt/org.tianocore/IPv4PXESupport'>n</entry>
            <entry name='opt/org.tianocore/IPv6PXESupport'>n</entry>
          </sysinfo>
        """

    private static let tpm = """
            <tpm model='tpm-crb'>
              <backend type='emulator' version='2.0'/>
            </tpm>
        """

    private static let scsiController = "    <controller type='scsi' index='0' model='virtio-scsi'/>"

    private static let qemuNamespace = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"

    /// Emulated NVMe disks, which libvirt 9 has no element for.
    private static func nvmeArguments(_ disks: [(RackFile.Disk, String)]) -> [String] {
        disks.enumerated().flatMap { index, place in
            // A comma ends a value in QEMU's options unless it is doubled.
            let file = place.1.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
            return [
                "-drive", "if=none,id=muster-nvme\(index),file=\(file),format=qcow2,cache=unsafe,discard=unmap",
                // Slots that libvirt, which fills the bus from 1 on, does not get to.
                "-device",
                "nvme,drive=muster-nvme\(index),serial=\(place.0.serial),bus=pcie.0,addr=0x\(String(10 + index, radix: 16))",
            ]
        }
    }

    /// What libvirt has no element for.
    private static func commandLine(_ arguments: [String]) -> String {
        let lines = arguments.map { "    <qemu:arg value='\(escape($0))'/>" }
        return (["  <qemu:commandline>"] + lines + ["  </qemu:commandline>"]).joined(separator: "\n")
    }

    private static func disk(_ disk: RackFile.Disk, file: String, target: String, isFirst: Bool) -> String {
        """
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2' cache='unsafe' discard='unmap'/>
              <source file='\(escape(file))'/>
              <target dev='\(target)' bus='\(disk.bus.rawValue)'/>
              <serial>\(escape(disk.serial))</serial>\(disk.wwn.map { "\n      <wwn>\($0)</wwn>" } ?? "")\(isFirst ? "\n      <boot order='2'/>" : "")
            </disk>
        """
    }

    private static func nic(_ nic: RackFile.NIC, bridge: String, isFirst: Bool) -> String {
        """
            <interface type='bridge'>
              <mac address='\(nic.mac)'/>
              <source bridge='\(escape(bridge))'/>
              <model type='\(nic.model.rawValue)'/>
              \(isFirst ? "<boot order='1'/>\(nic.rom == .off ? noROM : "")" : "<rom enabled='no'/>")
            </interface>
        """
    }

    private static let noROM = "\n      <rom enabled='no'/>"

    private static func targetName(_ index: Int, bus: RackFile.Disk.Bus) -> String {
        let letter = Character(UnicodeScalar(UInt8(ascii: "a") + UInt8(index)))
        return bus == .virtio ? "vd\(letter)" : "sd\(letter)"
    }

    private static func escape(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "'": result += "&apos;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
        return result
    }
}
