import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// Machines whose BMC speaks IPMI.
@Suite struct IPMIMachineTests {
    private static func text(_ more: String = "bmc: ipmi", password: String = "ipmi-password") -> String {
        """
        name: ipmi
        network: { bridge: br0, subnet: 10.66.0.0/24, conductor: 10.66.0.1, conductorIPv6: "fd66::1/64" }
        bmc: { address: 10.66.0.2, port: 8000, user: admin, password: "\(password)" }
        machines:
          - name: oak
            uuid: 3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842
            serial: IP-0007-B
            manufacturer: Oak Works
            product: Sled 9
            memoryMiB: 1024
            \(more)
            nics: [{ mac: "52:54:00:66:0b:01" }]
            disks: [{ serial: OAK-DISK-1, sizeGiB: 4 }]

        """
    }

    static func rack(_ name: String) throws -> Rack {
        var file = try RackFile.parse(text(), file: name)
        file.name = name
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(name)").path
        return try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
    }

    @Test func `the site file has the address and no system`() throws {
        let rack = try Self.rack("ipmi")
        let site = rack.siteFile()
        #expect(site.contains("    address: ipmi://10.66.0.2:6230\n    username: 'admin'"))
        #expect(!site.contains("system: 3f2a"))
        let plan = RackPlan(rack.file, rack.layout, .tcg)
        #expect(plan.domains[0].text.contains("<qemu:arg value='isa-ipmi-kcs,bmc=muster-bmc'/>"))
        #expect(plan.files.contains { $0.path.hasSuffix("/ipmi/oak/lan.conf") && $0.text.contains("admin") })
        #expect(plan.ipmi.map(\.name) == ["ipmi-oak"])
    }

    @Test func `the GUID goes over the wire as SMBIOS has it, and the product record is whole`() throws {
        #expect(IPMIBMC.wireGUID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842") == "c4912a3fd807e14b9c35d1e6f0a7b842")
        let machine = try RackFile.parse(Self.text(), file: "x").machines[0]
        let fru = IPMIBMC.fru(of: machine)
        #expect(fru.prefix(8).reduce(0, &+) == 0 && fru.dropFirst(8).reduce(0, &+) == 0, "the checksums")
        #expect(Int(fru[9]) * 8 == fru.count - 8)
        #expect(String(decoding: fru, as: UTF8.self).contains("IP-0007-B"))
    }

    @Test func `what IPMI does not allow is refused`() {
        for (text, words) in [
            (Self.text("bmc: telnet"), "use redfish, ipmi"),
            (Self.text(password: "a-password-that-is-too-long"), "over 20 bytes"),
        ] {
            let error = #expect(throws: RackError.self) { try RackFile.parse(text, file: "x") }
            #expect(error?.publicMessage.contains(words) == true, "\(error?.publicMessage ?? "")")
        }
    }
}

/// A machine with an IPMI BMC on a rack of its own, from power-on to `active`.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct IPMIRackTests {
    @Test(.timeLimit(.minutes(20))) func `an IPMI machine becomes active, told of by its own BMC`()
        async throws
    {
        let rack = try IPMIMachineTests.rack("ipmi-\(getpid())")
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do { try await walk(bed) } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let bmc = rack.process(named: "ipmi-oak")?.logTail() ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nipmi_sim:\n\(bmc)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
    }

    private func walk(_ bed: PathTests.Bed) async throws {
        try await bed.begin(images: ["network"])
        try await bed.applyWithWrongPasswordFirst(try bed.writeSite(bed.rack.siteFile()))
        // The conductor switches the machine on by itself.
        try await bed.waitForState("enroll", within: .seconds(400))
        let detail = try await bed.json(BMCDetail.self, ["bmc", "show", "oak-bmc"])
        #expect(detail.bmc.status.power == .on && detail.bmc.status.serial == "IP-0007-B")
        #expect(detail.bmc.status.model == "Oak Works Sled 9" && detail.bmc.status.firmwareVersion == "9.08")
        let inventory = try await bed.json(InventoryReport.self, ["node", "inventory", bed.node])
        let own = try #require(inventory.bmc, "the machine does not see its own BMC")
        #expect(own.address?.description == "10.66.0.2")
        #expect(own.mac?.description == "02:42:00:66:0b:01")
        // The simulator tells the system's GUID over the network only.
        #expect(own.firmwareVersion == "9.08")
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await bed.waitForState("active", within: .seconds(900))
        try await bed.must(["node", "power", bed.node, "off"])
        try await waitUntil("the power to be off", within: .seconds(60)) {
            try await bed.json(BMCDetail.self, ["bmc", "show", "oak-bmc"]).bmc.status.power == .off
        }
        // A BMC that is gone is not a machine that is off.
        let bmc = try #require(bed.rack.process(named: "ipmi-oak"))
        bmc.signal(SIGKILL)
        try await bmc.waitForEnd()
        try await waitUntil("the power to be unknown", within: .seconds(240)) {
            try await bed.json(BMCDetail.self, ["bmc", "show", "oak-bmc"]).bmc.status.power == .unknown
        }
        let events = try await bed.must(["node", "events", bed.node])
        #expect(events.contains("PowerUnknown"), "\(events)")
    }
}
