import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Testing

@testable import VirtualRack

/// A machine that enforces Secure Boot with Microsoft's keys boots the ramdisk over the network and its node's disk: shim, signed
/// GRUB, signed kernel.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct SecureBootTests {
    private static let rackFile = """
        name: NAME
        network: { bridge: br0, subnet: 10.68.0.0/24, conductor: 10.68.0.1, conductorIPv6: "fd68::1/64" }
        bmc: { address: 10.68.0.2, port: 8000, user: admin, password: "secure-password" }
        machines:
          - name: yew
            uuid: 8c3d5e26-1f70-4a94-b5e8-0d72a6c9f183
            serial: SEC-0042-A
            manufacturer: Locked Works
            product: Sled 6
            memoryMiB: 1536
            firmware: uefi-secure
            nics: [{ mac: "52:54:00:68:0a:01", rom: off }]
            disks: [{ serial: YEW-DISK-1, sizeGiB: 4, bus: sata }]

        """

    @Test(.timeLimit(.minutes(40)))
    func `a machine with Secure Boot is discovered, its kernel locked down, and becomes a node`()
        async throws
    {
        let name = "secure-\(getpid())"
        let file = try RackFile.parse(Self.rackFile.replacing("NAME", with: name), file: name)
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await discover(bed)
                try await deploy(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(4000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    /// What is written boots under Secure Boot as well: the disk's shim, signed GRUB and signed kernel.
    private func deploy(_ bed: PathTests.Bed) async throws {
        try await bed.pushImage(of: "network")
        let before = try bed.rack.console(machine: bed.node).count
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await bed.waitForState("active", within: .seconds(900))
        let console = try bed.rack.console(machine: bed.node).dropFirst(before)
        let slot = try #require(console.range(of: "muster: slot a"), "GRUB of the disk has not started")
        #expect(console[slot.upperBound...].contains("Secure Boot is enabled"))
    }

    private func discover(_ bed: PathTests.Bed) async throws {
        try await bed.begin()
        try await bed.applySite(bed.rack.siteFile())
        try await bed.waitForState("enroll", within: .seconds(900))
        let inventory = try await bed.json(InventoryReport.self, ["node", "inventory", bed.node])
        #expect(inventory.system.secureBoot == true)
        #expect(inventory.system.firmwareMode == .uefi)
        #expect(inventory.disks.map(\.serial) == ["YEW-DISK-1"])
        let console = try bed.rack.console(machine: bed.node)
        for text in ["PXE over IPv4", "Muster: loading the discovery system", "Secure boot enabled", "locked down"] {
            #expect(console.contains(text), "'\(text)' is not on the console")
        }
        #expect(!console.contains("iPXE 1."), "iPXE has started, which nobody has signed")
        let process = try #require(bed.rack.process(named: "conductor"))
        let log = try String(contentsOfFile: process.logFile, encoding: .utf8)
        for file in ["shimx64.efi", "grubx64.efi", "boot/discovery/vmlinuz", "boot/discovery/initrd.zst"] {
            #expect(log.contains(file), "\(file) was not sent by TFTP")
        }
    }
}
