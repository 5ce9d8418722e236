import Primitives
import Testing

@testable import VirtualRack

@Suite struct DomainXMLTests {
    @Test func rendersAMachineUnderTCG() throws {
        let machine = try RackFile.parse(RackFileTests.text, file: "t.yaml").machines[0]
        let placement = DomainXML.Placement(
            accelerator: .tcg, bridge: "br0", console: "/s/console/one.log", disks: ["/s/disks/one-0.qcow2"],
            variables: "/s/disks/one-vars.fd", terminal: (try IPv4Address("10.0.0.2"), 7001))
        #expect(DomainXML.render(machine, placement) == Self.golden)
    }

    @Test func rendersKVMAndFurtherDevices() throws {
        var machine = try RackFile.parse(RackFileTests.text, file: "t.yaml").machines[1]
        machine.nics.append(machine.nics[0])
        machine.disks.append(machine.disks[0])
        machine.product = "R&D <2>"
        let placement = DomainXML.Placement(
            accelerator: .kvm, bridge: "br0", console: "/s/it's.log", disks: ["/s/0.qcow2", "/s/1.qcow2"],
            variables: "/s/vars.fd", terminal: (try IPv4Address("10.0.0.2"), 7002))
        let xml = DomainXML.render(machine, placement)
        #expect(xml.hasPrefix("<domain type='kvm'>\n"))
        #expect(xml.contains("<cpu mode='host-passthrough'/>"))
        #expect(xml.contains("<entry name='product'>R&amp;D &lt;2&gt;</entry>"))
        #expect(xml.contains("<log file='/s/it&apos;s.log' append='on'/>"))
        #expect(xml.contains("<target dev='sdb' bus='sata'/>"))
        #expect(xml.split(separator: "<boot order='1'/>").count == 2, "one NIC boots")
        #expect(xml.split(separator: "<boot order='2'/>").count == 2, "one disk boots")
        #expect(xml.split(separator: "<rom enabled='no'/>").count == 2, "the other NIC has no ROM")
    }

    @Test func rendersUEFIWithItsOwnNetworkStackAndOtherBuses() throws {
        let machine = try RackFile.parse(RackFileTests.text, file: "t.yaml").machines[2]
        let placement = DomainXML.Placement(
            accelerator: .tcg, bridge: "br0", console: "/s/three.log", disks: ["/s/0.qcow2", "/s/a,b'.qcow2"],
            variables: "/s/three-vars.fd", terminal: (try IPv4Address("10.0.0.2"), 7003))
        let xml = DomainXML.render(machine, placement)
        #expect(xml.hasPrefix("<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"))
        for part in [
            "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>",
            "<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/s/three-vars.fd</nvram>",
            "<entry name='opt/org.tianocore/IPv4PXESupport'>n</entry>",
            "<controller type='scsi' index='0' model='virtio-scsi'/>",
            "<target dev='sda' bus='scsi'/>\n      <serial>D-3</serial>\n      <wwn>5000c50015ea71bb</wwn>\n"
                + "      <boot order='2'/>",
            "<boot order='1'/>\n      <rom enabled='no'/>",
            "file=/s/a,,b&apos;.qcow2,format=qcow2",
            "<qemu:arg value='nvme,drive=muster-nvme0,serial=D-4,bus=pcie.0,addr=0xa'/>",
        ] { #expect(xml.contains(part), "\(part) is not in \(xml)") }
        #expect(!xml.contains("useserial") && !xml.contains("bus='nvme'"))
        var quick = machine
        quick.networkBoot = .pxe
        #expect(!DomainXML.render(quick, placement).contains("fwcfg"))
    }

    @Test func plansTheNetworkAndDependsOnlyOnTheFile() throws {
        var rack = try RackFile.parse(RackFileTests.text, file: "t.yaml")
        let layout = RackLayout(root: "/s")
        let plan = RackPlan(rack, layout, .tcg)
        #expect(
            plan.network.map { $0.joined(separator: " ") } == [
                "ip link set lo up",
                "ip link add br0 address 02:4d:8c:99:98:e0 mtu 1500 type bridge stp_state 0 forward_delay 0 "
                    + "mcast_snooping 0",
                "ip address add 10.9.0.1/24 dev br0",
                "ip address add fd09::1/64 dev br0 nodad",
                "ip address add 10.9.0.2/24 dev br0",
                "ip link set br0 up",
            ])
        #expect(plan.images.map(\.path) == ["one-0", "two-0", "three-0", "three-1"].map { "/s/disks/\($0).qcow2" })
        #expect(plan.fingerprint == RackPlan(rack, layout, .tcg).fingerprint)
        #expect(plan.fingerprint != RackPlan(rack, layout, .kvm).fingerprint)
        rack.bmc.password = "other"
        #expect(plan.fingerprint != RackPlan(rack, layout, .tcg).fingerprint)
        rack.bmc.address = rack.network.conductor
        #expect(RackPlan(rack, layout, .tcg).network.count == 5)
    }

    @Test func readsPowerStates() {
        let stats = """
            Domain: 'one'
              state.state=1
              state.reason=1

            Domain: 'two'
              state.state=5
              state.reason=0

            Domain: 'three'
              state.state=3
            """
        #expect(
            ["one", "two", "three", "four"].map { Rack.power(of: $0, in: stats) } == ["on", "off", "paused", "off"])
    }

    static let golden = """
        <domain type='qemu'>
          <name>one</name>
          <uuid>3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842</uuid>
          <memory unit='MiB'>256</memory>
          <vcpu>1</vcpu>
          <sysinfo type='smbios'>
            <system>
              <entry name='manufacturer'>M</entry>
              <entry name='product'>P (x)</entry>
              <entry name='serial'>S-1</entry>
              <entry name='uuid'>3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842</entry>
            </system>
          </sysinfo>
          <os>
            <type arch='x86_64' machine='q35'>hvm</type>
            <bios useserial='yes'/>
            <smbios mode='sysinfo'/>
          </os>
          <features><acpi/></features>
          <clock offset='utc'/>
          <on_poweroff>destroy</on_poweroff>
          <on_reboot>restart</on_reboot>
          <on_crash>destroy</on_crash>
          <devices>
            <emulator>/usr/bin/qemu-system-x86_64</emulator>
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2' cache='unsafe' discard='unmap'/>
              <source file='/s/disks/one-0.qcow2'/>
              <target dev='vda' bus='virtio'/>
              <serial>D-1</serial>
              <boot order='2'/>
            </disk>
            <interface type='bridge'>
              <mac address='52:54:00:00:00:01'/>
              <source bridge='br0'/>
              <model type='virtio'/>
              <boot order='1'/>
            </interface>
            <serial type='tcp'>
              <source mode='bind' host='10.0.0.2' service='7001'/>
              <protocol type='raw'/>
              <log file='/s/console/one.log' append='on'/>
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
