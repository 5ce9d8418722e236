import Primitives

/// A machine's BMC that speaks IPMI: OpenIPMI's `ipmi_sim` with a script that has libvirt switch the same machine.
struct IPMIBMC: Hashable, Sendable {
    /// The longest password (IPMI v2.0 section 22.30).
    static let passwordLengthMax = 20
    /// The UDP port of the first machine; the one at index n of the rack file has n more.
    static let firstPort = 6230
    /// The TCP port for QEMU of the first machine.
    static let firstSerialPort = 6330

    /// The machine.
    let machine: RackFile.Machine
    /// Its place in the rack file.
    let index: Int
    /// Who may use it, and where.
    let service: RackFile.BMC
    /// The directory with its files.
    let directory: String

    /// The UDP port on the BMCs' address.
    var port: Int { Self.firstPort + index }
    /// Where QEMU reaches the BMC for the machine's own side of it.
    var serialPort: Int { Self.firstSerialPort + index }
    /// As the site file has it.
    var url: String { "ipmi://\(service.address):\(port)" }
    /// The BMC's own card, made of the machine's first.
    var mac: MACAddress { MACAddress(bytes: [0x02, 0x42] + macTail) }

    private var macTail: [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: machine.nics[0].mac.value >> (8 * (3 - $0))) }
    }

    var files: [RackPlan.File] {
        [
            RackPlan.File(path: "\(directory)/lan.conf", text: lan),
            RackPlan.File(path: "\(directory)/machine.emu", text: Self.emulation(of: machine)),
            RackPlan.File(path: "\(directory)/tell.sh", text: tell),
            RackPlan.File(path: "\(directory)/control.py", text: control),
        ]
    }

    /// The program, for the rack's namespaces.
    var command: [String] {
        ["ipmi_sim", "-c", "\(directory)/lan.conf", "-f", "\(directory)/machine.emu", "-n", "-s", "\(directory)/state"]
    }

    /// The name it is started under.
    var processName: String { "ipmi-\(machine.name)" }

    /// QEMU's arguments for the machine's side: the BMC behind a KCS interface on the ISA bus.
    var machineArguments: [String] {
        [
            "-chardev", "socket,id=muster-ipmi,host=127.0.0.1,port=\(serialPort),reconnect=1",
            "-device", "ipmi-bmc-extern,chardev=muster-ipmi,id=muster-bmc",
            "-device", "isa-ipmi-kcs,bmc=muster-bmc",
        ]
    }

    private var lan: String {
        let tell = "/bin/sh \(directory)/tell.sh"
        return """
            name "\(machine.name)"
            set_working_mc 0x20
              startlan 1
                addr \(service.address) \(port)
                priv_limit admin
                allowed_auths_user none md5
                allowed_auths_operator none md5
                allowed_auths_admin none md5
                guid \(Self.wireGUID(machine.uuid))
                lan_config_program "\(tell) lan"
              endlan
              chassis_control "\(tell) chassis"
              serial 15 127.0.0.1 \(serialPort) codec VM
              startnow false
              user 2 true "\(service.user)" "\(service.password)" admin 10 none md5

            """
    }

    /// The SMBIOS form of a UUID as it goes over the wire: its first three fields from their last byte to their first.
    static func wireGUID(_ uuid: String) -> String {
        let bytes = Hex.decode(uuid.filter { $0 != "-" }) ?? []
        guard bytes.count == 16 else { return uuid.filter { $0 != "-" } }
        return Hex.encode(bytes[0..<4].reversed() + bytes[4..<6].reversed() + bytes[6..<8].reversed() + bytes[8...])
    }

    /// A BMC with the machine's product record (Platform Management FRU Information Storage Definition, section 12).
    private static func emulation(of machine: RackFile.Machine) -> String {
        let fru = fru(of: machine).map { "0x" + Hex.encode([$0]) }
        return """
            mc_setbmc 0x20
            mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
            sel_enable 0x20 1000 0x0a
            mc_add_fru_data 0x20 0 512 data \(fru.joined(separator: " "))
            mc_enable 0x20

            """
    }

    static func fru(of machine: RackFile.Machine) -> [UInt8] {
        func withChecksum(_ bytes: [UInt8]) -> [UInt8] { bytes + [0 &- bytes.reduce(0, &+)] }
        var product: [UInt8] = [1, 0, 0x19]
        for text in [machine.manufacturer, machine.product, "", "", machine.serial, "", ""] {
            // A length of one byte of text means the end of the list.
            let bytes = Array((text.utf8.count == 1 ? text + " " : text).utf8.prefix(63))
            product += [0xC0 | UInt8(bytes.count)] + bytes
        }
        product.append(0xC1)
        while product.count % 8 != 7 { product.append(0) }
        product[1] = UInt8((product.count + 1) / 8)
        return withChecksum([1, 0, 0, 0, 1, 0, 0]) + withChecksum(product)
    }

    /// What `ipmi_sim` calls: `chassis get|set …` and `lan DEVICE get …`. It waits for the answer and serves nobody
    /// meanwhile, the machine's own side neither, so what is asked often is told by a shell.
    private var tell: String {
        """
        here=\(directory)
        kind=$1
        shift
        [ "$kind $1" != 'chassis set' ] || exec /usr/bin/python3 $here/control.py "$@"
        for word in "$@"; do
            case $kind:$word in
            chassis:power)
                pid=$(cat '/run/libvirt/qemu/\(machine.name).pid' 2>/dev/null)
                if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then echo power:1; else echo power:0; fi
                ;;
            chassis:boot) echo "boot:$(cat $here/boot 2>/dev/null || echo none)" ;;
            lan:ip_addr) echo 'ip_addr:\(service.address)' ;;
            lan:ip_addr_src) echo ip_addr_src:static ;;
            lan:mac_addr) echo 'mac_addr:\(mac)' ;;
            lan:subnet_mask) echo subnet_mask:255.255.255.0 ;;
            lan:*_mac_addr) echo "$word:00:00:00:00:00:00" ;;
            lan:*_addr) echo "$word:0.0.0.0" ;;
            esac
        done

        """
    }

    /// Carries out `set …`; each order may come twice.
    private var control: String {
        """
        import fcntl, os, subprocess, sys, time
        import xml.etree.ElementTree as tree

        MACHINE = '\(machine.name)'
        HERE = os.path.dirname(os.path.abspath(__file__))


        def virsh(*words, **options):
            command = ['virsh', '--quiet', '--connect', '\(RackPlan.libvirtURI)'] + list(words)
            return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, **options).stdout


        def is_on():
            return virsh('domstate', MACHINE).strip() != 'shut off'


        def kept(name, text=None):
            path = os.path.join(HERE, name)
            if text is not None:
                with open(path, 'w') as file:
                    file.write(text)
            try:
                with open(path) as file:
                    return file.read().strip()
            except FileNotFoundError:
                return ''


        def start():
            virsh('start', MACHINE)
            kept('started', str(time.monotonic()))


        def power(value):
            if value == '0' and is_on():
                virsh('destroy', MACHINE)
            if value == '1' and not is_on():
                start()


        def reset():
            if time.monotonic() - float(kept('started') or '-1e9') < 5:
                return
            if is_on():
                virsh('destroy', MACHINE)
            start()


        def boot(device):
            kept('boot', device)
            domain = tree.fromstring(virsh('dumpxml', '--inactive', MACHINE))
            devices = domain.find('devices')
            order = [devices.find('interface'), devices.find('disk')]
            for device_element in order:
                if device_element is not None:
                    for old in device_element.findall('boot'):
                        device_element.remove(old)
            if device == 'default':
                order.reverse()
            for number, device_element in enumerate(one for one in order if one is not None):
                device_element.append(tree.Element('boot', order=str(number + 1)))
            tree.register_namespace('qemu', 'http://libvirt.org/schemas/domain/qemu/1.0')
            virsh('define', '/dev/stdin', input=tree.tostring(domain, encoding='unicode'))


        with open(os.path.join(HERE, 'lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for word, value in zip(sys.argv[2::2], sys.argv[3::2]):
                {'power': power, 'reset': lambda _: reset(), 'boot': boot}.get(word, lambda _: None)(value)

        """
    }
}

extension Rack {
    /// The BMCs that speak IPMI.
    var ipmiBMCs: [IPMIBMC] { RackPlan.ipmiBMCs(file, layout) }

    /// Where a machine's BMC is, as the site file has it: Redfish for all machines, IPMI where the rack file says so.
    public func bmcAddress(of machine: RackFile.Machine) -> String {
        ipmiBMCs.first { $0.machine.name == machine.name }?.url ?? file.bmc.url
    }
}

extension RackPlan {
    static func ipmiBMCs(_ rack: RackFile, _ layout: RackLayout) -> [IPMIBMC] {
        rack.machines.enumerated().filter { $0.element.bmc == .ipmi }.map { index, machine in
            IPMIBMC(machine: machine, index: index, service: rack.bmc, directory: layout.ipmi(machine.name))
        }
    }
}
