import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// Machines whose cards cannot boot from the network boot the ramdisk from virtual media that their BMC inserts.
@Suite(
    .serialized,
    .enabled(
        if: geteuid() == 0 && ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1",
        "needs root and MUSTER_RACK_TESTS=1"))
struct MediaTests {
    @Test(
        .timeLimit(.minutes(20)),
        arguments: [(RackFile.Firmware.bios, "media"), (.uefi, "media"), (.uefi, "http")])
    func `a machine is discovered by virtual media`(firmware: RackFile.Firmware, way: String) async throws {
        var file = try RackFile.load("\(PathTests.package)/Inventory/example-rack/rack-b.yaml")
        file.name = "m-\(firmware.rawValue)-\(way)-\(getpid())"
        file.machines[0].firmware = firmware
        file.machines[0].nics[0].rom = .off
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await discover(bed, way)
                if firmware == .bios { try await deploy(bed) }
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let sushy = rack.process(named: "sushy")?.logTail(characters: 3000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nsushy:\n\(sushy)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    private func discover(_ bed: PathTests.Bed, _ way: String) async throws {
        let state = bed.rack.stateDirectory
        // sushy-tools keeps media in libvirt's storage pool of this name.
        try FileManager.default.createDirectory(atPath: "\(state)/pool", withIntermediateDirectories: true)
        _ = try await bed.rack.virsh("pool-define-as default dir --target \(state)/pool")
        _ = try await bed.rack.virsh("pool-start default")
        try await bed.rack.run(
            inNamespace: [
                "\(PathTests.package)/Images/discovery/media.sh", "--from", PathTests.images, "--out", state,
            ],
            timeout: .seconds(120))
        try await bed.startConductor()
        try await bed.must(
            [
                "image", "push-ramdisk", "--kernel", "\(PathTests.images)/vmlinuz", "--initrd",
                "\(PathTests.images)/initrd.zst", "--media", "\(state)/boot.iso",
            ], timeout: .seconds(120))
        let text = bed.rack.siteFile().replacing(
            "powersOnForDiscovery: true", with: "powersOnForDiscovery: true\n    boot: \(way)")
        try await bed.applySite(text)
        try await bed.waitForState("enroll", within: .seconds(600))
        let console = try bed.rack.console(machine: bed.node)
        #expect(console.contains("Muster: booting from the medium"), "\(console.suffix(3000))")
        let events = try await bed.must(["node", "events", bed.node])
        #expect(events.contains("RamdiskBooted"), "\(events)")
        let domain = try await bed.rack.virsh("dumpxml --inactive \(bed.node)")
        #expect(domain.contains("device='cdrom'"), "\(domain)")
    }

    /// The medium is taken out before the disk is booted.
    private func deploy(_ bed: PathTests.Bed) async throws {
        try await bed.pushImage(of: "network")
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await bed.waitForState("active", within: .seconds(900))
        let domain = try await bed.rack.virsh("dumpxml --inactive \(bed.node)")
        #expect(!domain.contains("boot.iso"), "\(domain)")
    }
}
