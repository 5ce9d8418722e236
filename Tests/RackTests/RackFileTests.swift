import Primitives
import Testing

@testable import VirtualRack

@Suite struct RackFileTests {
    static let package = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }

    static let text = """
        name: small
        network: { bridge: br0, subnet: 10.9.0.0/24, conductor: 10.9.0.1, conductorIPv6: "fd09::1/64" }
        bmc: { address: 10.9.0.2, port: 8000, user: admin, password: "p:w#1" }
        machines:
          - name: one
            uuid: 3F2A91C4-07D8-4BE1-9C35-D1E6F0A7B842
            serial: S-1
            manufacturer: M
            product: P (x)
            memoryMiB: 256
            nics: [{ mac: "52:54:00:00:00:01" }]
            disks: [{ serial: D-1, sizeGiB: 1 }]
          - name: two
            uuid: b71c04e9-52a6-41df-8e03-6a9d27f5c318
            serial: S-2
            manufacturer: M
            product: P
            memoryMiB: 128
            cpus: 2
            firmware: bios
            nics: [{ mac: "52:54:00:00:00:02", model: e1000 }]
            disks: [{ serial: D-2, sizeGiB: 2, bus: sata, content: { kind: ext4, name: data } }]
          - name: three
            uuid: 0d2c7f31-9b5e-4c60-a1d8-7e42f9b06c15
            serial: S-3
            manufacturer: M
            product: P
            memoryMiB: 256
            firmware: uefi
            networkBoot: http
            nics: [{ mac: "52:54:00:00:00:03", rom: off }, { mac: "52:54:00:00:00:04", model: e1000e }]
            disks:
              - { serial: D-3, sizeGiB: 1, bus: scsi, wwn: 5000c50015ea71bb }
              - { serial: D-4, sizeGiB: 1, bus: nvme, content: { kind: lvm, name: vg-old } }

        """

    @Test func readsEveryKey() throws {
        let rack = try RackFile.parse(Self.text, file: "t.yaml")
        #expect(rack.namespace == "muster-small")
        #expect(rack.network.subnet.prefixLength == 24)
        #expect(rack.bmc.url == "http://10.9.0.2:8000")
        #expect(rack.bmc.password == "p:w#1")
        #expect(rack.machines.map(\.name) == ["one", "two", "three"])
        #expect(rack.machines[0].uuid == "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")
        #expect(rack.machines[0].cpus == 1)
        #expect(rack.machines[0].disks[0].content == nil)
        #expect(rack.machines[0].firmware == .bios && rack.machines[0].nics[0].rom == .on)
        #expect(rack.machines[1].nics[0].model == .e1000)
        #expect(rack.machines[1].disks[0].content == RackFile.DiskContent(kind: .ext4, name: "data"))
        let third = rack.machines[2]
        #expect(third.firmware == .uefi && third.networkBoot == .http)
        #expect(third.nics.map(\.rom) == [.off, .on])
        #expect(third.disks.map(\.bus) == [.scsi, .nvme])
        #expect(third.disks.map(\.wwn) == ["5000c50015ea71bb", nil])
        #expect(third.disks[1].content == RackFile.DiskContent(kind: .lvm, name: "vg-old"))
        #expect(try rack.machine(named: "two").serial == "S-2")
        #expect(throws: RackError.unknownMachine("four", known: rack.machines.map(\.name))) {
            try rack.machine(named: "four")
        }
    }

    @Test(arguments: ["rack.yaml", "rack-b.yaml", "rack-bond.yaml", "rack-relay.yaml"])
    func examplesAreValid(_ name: String) throws {
        let rack = try RackFile.load("\(Self.package)/Inventory/example-rack/\(name)")
        #expect(!rack.machines.isEmpty)
    }

    /// The network's line with a relay in it.
    private static let relayed =
        "relay: { address: 10.9.0.254, uplink: 10.8.0.0/29, uplinkAddress: 10.8.0.2 }, conductor: 10.8.0.1,"

    @Test func `a relay stands between the machines and a conductor in another network`() throws {
        let text = Self.text.replacing("conductor: 10.9.0.1,", with: Self.relayed)
            .replacing("address: 10.9.0.2,", with: "address: 10.8.0.1,")
        let file = try RackFile.parse(text, file: "t.yaml")
        let rack = try Rack(file: file, stateDirectory: "/tmp/x", options: Rack.Options(package: "/tmp"))
        let site = rack.siteFile()
        #expect(site.contains("    relays: [10.9.0.254]\n    router: 10.9.0.254\n    network: 10.9.0.0/24\n"))
        #expect(site.contains("    server: 10.8.0.1\n    pool: { start: 10.9.0.1, end: 10.9.0.200 }"))
        #expect(!site.contains("interface:"))
        let plan = RackPlan(file, rack.layout, .tcg)
        #expect(plan.network.contains(["ip", "address", "add", "10.8.0.1/29", "dev", "uplink0"]))
        #expect(plan.network.contains(["ip", "route", "add", "10.9.0.0/24", "via", "10.8.0.2"]))
        #expect(!plan.network.contains { $0.starts(with: ["ip", "address"]) && $0.contains("br0") })
        #expect(plan.relay == ["/bin/sh", "/tmp/x/relay.sh"])
        #expect(
            plan.files.contains { $0.text.contains("dhcrelay -4 -d -a -pf /run/relay.pid -id down0 -iu up0 10.8.0.1") })
        for (part, by, words) in [
            ("10.9.0.254", "10.8.0.3", "10.8.0.3 is not the address of a host in 10.9.0.0/24"),
            ("uplink: 10.8.0.0/29", "uplink: 10.9.0.0/29", "lie outside 10.9.0.0/24"),
            (
                "uplinkAddress: 10.8.0.2", "uplinkAddress: 10.8.0.9",
                "10.8.0.9 is not the address of a host in 10.8.0.0/29"
            ),
            ("uplinkAddress: 10.8.0.2", "uplinkAddress: 10.8.0.1", "conductor"),
            ("br0", "relay0", "cannot be the name"),
        ] {
            let error = #expect(throws: RackError.self) {
                try RackFile.parse(text.replacing(part, with: by), file: "t.yaml")
            }
            #expect(error?.publicMessage.contains(words) == true, "\(error?.publicMessage ?? "")")
        }
    }

    struct Mistake: CustomTestStringConvertible, Sendable {
        var replaced: String
        var by: String
        var path: String
        var problem: String
        var testDescription: String { "\(path): \(problem)" }
    }

    static let mistakes: [Mistake] = [
        Mistake(replaced: "name: small", by: "name: Small", path: "name", problem: "must be 1 to 32 of a-z"),
        Mistake(replaced: "name: small", by: "nam: small", path: "name", problem: "is missing"),
        Mistake(replaced: "name: small", by: "name: small\ncolour: red", path: "colour", problem: "unknown key"),
        Mistake(replaced: "bridge: br0", by: "bridge: bridge-too-long-0", path: "network.bridge", problem: "1 to 15"),
        Mistake(replaced: "bridge: br0", by: "bridge: vnet0", path: "network.bridge", problem: "cannot be the name"),
        Mistake(replaced: "10.9.0.0/24", by: "10.9.0.5/24", path: "network.subnet", problem: "no host bits"),
        Mistake(replaced: "10.9.0.0/24", by: "10.9.0.0/31", path: "network.subnet", problem: "from 8 to 29"),
        Mistake(
            replaced: "10.9.0.1,", by: "10.8.0.1,", path: "network.conductor", problem: "not the address of a host"),
        Mistake(replaced: "10.9.0.1,", by: "10.9.0.255,", path: "network.conductor", problem: "not the address"),
        Mistake(
            replaced: "fd09::1/64", by: "fd09::1", path: "network.conductorIPv6", problem: "IPv6 address and prefix"),
        Mistake(replaced: "10.9.0.2,", by: "10.9.1.2,", path: "bmc.address", problem: "not the address of a host"),
        Mistake(replaced: "port: 8000", by: "port: 65536", path: "bmc.port", problem: "1 to 65535"),
        Mistake(replaced: "p:w#1", by: "p w", path: "bmc.password", problem: "printable ASCII without spaces"),
        Mistake(replaced: "user: admin", by: "user: \"a:b\"", path: "bmc.user", problem: "must be 1 to 32"),
        Mistake(
            replaced: "name: two", by: "name: one", path: "machines[1].name", problem: "also that of machines[0].name"),
        Mistake(replaced: "name: two", by: "name: \"two'\"", path: "machines[1].name", problem: "must be 1 to 63"),
        Mistake(replaced: "name: two", by: "name: \"a\\nb\"", path: "machines[1].name", problem: "a\\u{a}b"),
        Mistake(replaced: "name: two", by: "name: -two", path: "machines[1].name", problem: "begin or end"),
        Mistake(replaced: "S-2", by: "S-1", path: "machines[1].serial", problem: "also that of machines[0].serial"),
        Mistake(
            replaced: "b71c04e9-52a6-41df-8e03-6a9d27f5c318", by: "3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842",
            path: "machines[1].uuid", problem: "also that of machines[0].uuid"),
        Mistake(replaced: "b71c04e9-", by: "b71c04e-9", path: "machines[1].uuid", problem: "must be like"),
        Mistake(replaced: "P (x)", by: "\"P' onload=\"", path: "machines[0].product", problem: "without quotes"),
        Mistake(
            replaced: "memoryMiB: 128", by: "memoryMiB: lots", path: "machines[1].memoryMiB", problem: "not a number"),
        Mistake(
            replaced: "firmware: bios", by: "firmware: coreboot", path: "machines[1].firmware",
            problem: "use bios, uefi"),
        Mistake(
            replaced: "firmware: uefi", by: "firmware: bios", path: "machines[2].nics[0].rom", problem: "use uefi"),
        Mistake(
            replaced: "rom: off", by: "rom: on", path: "machines[2].networkBoot",
            problem: "needs 'firmware: uefi' and 'rom: off'"),
        Mistake(
            replaced: "networkBoot: http", by: "networkBoot: tftp", path: "machines[2].networkBoot",
            problem: "use pxe, http"),
        Mistake(replaced: "rom: off", by: "rom: none", path: "machines[2].nics[0].rom", problem: "use on, off"),
        Mistake(
            replaced: "model: e1000e", by: "model: e1000e, rom: off", path: "machines[2].nics[1].rom",
            problem: "for virtio only"),
        Mistake(replaced: "bus: sata", by: "bus: ide", path: "machines[1].disks[0].bus", problem: "use virtio, sata"),
        Mistake(replaced: "bus: sata", by: "bus: nvme", path: "machines[1].disks[0].bus", problem: "cannot be nvme"),
        Mistake(
            replaced: "5000c50015ea71bb", by: "5000C50015EA71BB", path: "machines[2].disks[0].wwn",
            problem: "16 hexadecimal digits"),
        Mistake(
            replaced: "bus: nvme,", by: "bus: nvme, wwn: 5000c50015ea71bc,", path: "machines[2].disks[1].wwn",
            problem: "only a disk with 'bus: scsi'"),
        Mistake(
            replaced: "bus: nvme,", by: "bus: scsi, wwn: 5000c50015ea71bb,", path: "machines[2].disks[1].wwn",
            problem: "also that of machines[2].disks[0].wwn"),
        Mistake(
            replaced: "kind: lvm", by: "kind: lvm2", path: "machines[2].disks[1].content.kind",
            problem: "use ext4, xfs, swap, luks, lvm, mdraid"),
        Mistake(
            replaced: "name: vg-old", by: "name: -old", path: "machines[2].disks[1].content.name",
            problem: "cannot be the name of a volume group"),
        Mistake(
            replaced: "kind: ext4, name: data", by: "kind: xfs, name: thirteen-long",
            path: "machines[1].disks[0].content.name", problem: "1 to 12"),
        Mistake(
            replaced: "kind: ext4, name: data", by: "name: data", path: "machines[1].disks[0].content.kind",
            problem: "is missing"),
        Mistake(replaced: "00:00:02", by: "00:00:01", path: "machines[1].nics[0].mac", problem: "also that of"),
        Mistake(
            replaced: "52:54:00:00:00:02", by: "53:54:00:00:00:02", path: "machines[1].nics[0].mac",
            problem: "single card"),
        Mistake(replaced: "52:54:00:00:00:02", by: "52:54:00", path: "machines[1].nics[0].mac", problem: "six pairs"),
        Mistake(replaced: "e1000", by: "rtl8139", path: "machines[1].nics[0].model", problem: "use virtio, e1000"),
        Mistake(replaced: "D-2", by: "D-1", path: "machines[1].disks[0].serial", problem: "also that of"),
        Mistake(replaced: "D-2", by: "ABCDEFGHIJKLMNOPQRSTU", path: "machines[1].disks[0].serial", problem: "1 to 20"),
        Mistake(replaced: "sizeGiB: 2", by: "sizeGiB: 0", path: "machines[1].disks[0].sizeGiB", problem: "1 to 2048"),
        Mistake(
            replaced: "name: data", by: "nam: data", path: "machines[1].disks[0].content.name", problem: "is missing"),
        Mistake(
            replaced: "name: data }", by: "name: data, size: 3 }", path: "machines[1].disks[0].content.size",
            problem: "unknown key; the keys here are kind, name"),
        Mistake(replaced: "memoryMiB: 128", by: "memoryMiB: 128\n    memoryMiB: 64", path: "", problem: "is not YAML"),
        Mistake(replaced: text, by: "name: [", path: "", problem: "is not YAML"),
        Mistake(replaced: text, by: "", path: "", problem: "is empty"),
        Mistake(replaced: text, by: "- 1", path: "", problem: "must be a mapping"),
    ]

    @Test(arguments: mistakes)
    func refusesWithThePathOfTheKey(_ mistake: Mistake) throws {
        let parts = Self.text.split(separator: mistake.replaced, maxSplits: 1, omittingEmptySubsequences: false)
        try #require(parts.count == 2, "the text to replace is there")
        let text = parts[0] + mistake.by + parts[1]
        let error = #expect(throws: RackError.self) { try RackFile.parse(String(text), file: "t.yaml") }
        guard case .invalidFile(let file, let path, let problem) = error else {
            Issue.record("another error: \(String(describing: error))")
            return
        }
        #expect(file == "t.yaml")
        #expect(path == mistake.path)
        #expect(problem.contains(mistake.problem), "\(problem)")
        #expect(error?.publicMessage.hasOnlyPrintableScalars == true)
    }

    @Test func refusesAFileThatIsNotThere() {
        let error = #expect(throws: RackError.self) { try RackFile.load("/nonexistent/rack.yaml") }
        #expect(error?.publicMessage.contains("/nonexistent/rack.yaml: cannot be read") == true)
    }

    @Test(arguments: ["/", "/run/rack", "/var/lib/libvirt/x", "/tmp/a'b", "/tmp/a\nb"])
    func refusesAStateDirectoryThatCannotServe(_ path: String) throws {
        let rack = try RackFile.parse(Self.text, file: "t.yaml")
        #expect(throws: RackError.self) {
            try Rack(file: rack, stateDirectory: path, options: Rack.Options(package: "/tmp"))
        }
    }
}
