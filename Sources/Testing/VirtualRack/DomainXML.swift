import Primitives

/// Renders a machine as a libvirt domain (https://libvirt.org/formatdomain.html).
public enum DomainXML {
    /// Where one machine's files are, and what runs it.
    public struct Placement: Hashable, Sendable {
        /// `kvm` or `tcg`.
        public var accelerator: Accelerator
        /// The interface name of the segment's bridge.
        public var bridge: String
        /// The file that the first serial port is appended to.
        public var console: String
        /// One qcow2 file per disk of the machine, in order.
        public var disks: [String]

        /// A placement.
        public init(accelerator: Accelerator, bridge: String, console: String, disks: [String]) {
            self.accelerator = accelerator
            self.bridge = bridge
            self.console = console
            self.disks = disks
        }
    }

    /// The domain's document: nothing but what the machine needs, SeaBIOS and iPXE talking on the serial port, the
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
        let disks = zip(machine.disks, placement.disks).enumerated().map { index, pair in
            disk(pair.0, file: pair.1, target: targetName(index, bus: pair.0.bus), isFirst: index == 0)
        }
        let nics = machine.nics.enumerated().map { nic($1, bridge: placement.bridge, isFirst: $0 == 0) }
        return """
            <domain type='\(placement.accelerator == .kvm ? "kvm" : "qemu")'>
              <name>\(escape(machine.name))</name>
              <uuid>\(escape(machine.uuid))</uuid>
              <memory unit='MiB'>\(machine.memoryMiB)</memory>
              <vcpu>\(machine.cpus)</vcpu>
            \(identity)
              <os>
                <type arch='x86_64' machine='q35'>hvm</type>
                <bios useserial='yes'/>
                <smbios mode='sysinfo'/>
              </os>
              <features><acpi/></features>\(processor)
              <clock offset='utc'/>
              <on_poweroff>destroy</on_poweroff>
              <on_reboot>restart</on_reboot>
              <on_crash>destroy</on_crash>
              <devices>
                <emulator>/usr/bin/qemu-system-x86_64</emulator>
            \((disks + nics).joined(separator: "\n"))
                <serial type='file'>
                  <source path='\(escape(placement.console))' append='on'/>
                  <target port='0'/>
                </serial>
                <controller type='usb' model='none'/>
                <video><model type='none'/></video>
                <memballoon model='none'/>
                <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
              </devices>
            </domain>

            """
    }

    private static func disk(_ disk: RackFile.Disk, file: String, target: String, isFirst: Bool) -> String {
        """
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2' cache='unsafe' discard='unmap'/>
              <source file='\(escape(file))'/>
              <target dev='\(target)' bus='\(disk.bus.rawValue)'/>
              <serial>\(escape(disk.serial))</serial>\(isFirst ? "\n      <boot order='2'/>" : "")
            </disk>
        """
    }

    private static func nic(_ nic: RackFile.NIC, bridge: String, isFirst: Bool) -> String {
        """
            <interface type='bridge'>
              <mac address='\(nic.mac)'/>
              <source bridge='\(escape(bridge))'/>
              <model type='\(nic.model.rawValue)'/>
              \(isFirst ? "<boot order='1'/>" : "<rom enabled='no'/>")
            </interface>
        """
    }

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
