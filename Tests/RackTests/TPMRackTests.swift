import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// A machine with a TPM enrols attested, is trusted by itself when it comes back, and is not when it was measured otherwise.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct TPMRackTests {
    private static let rackFile = """
        name: NAME
        network: { bridge: br0, subnet: 10.67.0.0/24, conductor: 10.67.0.1, conductorIPv6: "fd67::1/64" }
        bmc: { address: 10.67.0.2, port: 8000, user: admin, password: "measured-password" }
        machines:
          - name: elm
            uuid: 2b8e4f17-5c09-4d36-a1f4-7e60c3d8b925
            serial: TPM-0042-A
            manufacturer: Measured Works
            product: Sled 5
            memoryMiB: 1024
            tpm: true
            nics: [{ mac: "52:54:00:67:0a:01" }]
            disks: [{ serial: ELM-DISK-1, sizeGiB: 4 }]

        """

    /// Only machines that the site vouches for are let in by this rule.
    private static let rule = """
          - name: attested
            order: 20
            match: { tpm.attested: true }
            gives: { role: network }
            approves: true

        """

    @Test(.timeLimit(.minutes(20))) func `a machine with a TPM is attested in every boot, until it boots otherwise`()
        async throws
    {
        let name = "tpm-\(getpid())"
        let file = try RackFile.parse(Self.rackFile.replacing("NAME", with: name), file: name)
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await enrol(bed)
                try await comeBack(bed)
                try await bootOtherwise(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(4000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
        #expect(!FileManager.default.fileExists(atPath: "/var/log/swtpm"))
    }

    private func enrol(_ bed: PathTests.Bed) async throws {
        try await bed.begin()
        try await bed.applySite(bed.rack.siteFile() + Self.rule)
        // The rule lets it in; no image is here, so its deployment ends at once, and nothing is written.
        try await waitUntil("the machine to be let in by its TPM", within: .seconds(400)) {
            try await bed.nodes().first { $0.name == bed.node }?.state == "deploy failed"
        }
        let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        #expect(detail.node.trust == .attested)
        #expect(detail.spec.approval?.by == "rule attested")
        #expect(detail.session?.isTrusted == true)
        #expect(detail.attestation?.voucher == "CN=swtpm-localca")
        #expect(detail.identity.endorsementKey != nil)
        // The firmware has measured: an unused PCR is all zeros.
        let unused = Digest(bytes: [UInt8](repeating: 0, count: 32))
        #expect(detail.attestation?.pcrs.count == 8 && detail.attestation?.pcrs.contains(unused) == false)
        #expect(try await bed.must(["node", "list"]).contains("attested"))
    }

    private func comeBack(_ bed: PathTests.Bed) async throws {
        let before = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        try await bed.must(["node", "power", bed.node, "reset"])
        let after = try await nextBoot(bed, after: before)
        #expect(after.session?.isTrusted == true)
        #expect(after.spec.approval == before.spec.approval)
        #expect(after.attestation?.pcrs == before.attestation?.pcrs)
    }

    /// Another ROM on the network card, as a tampered card would have: it is measured into PCR 2.
    private func bootOtherwise(_ bed: PathTests.Bed) async throws {
        let rack = bed.rack
        let before = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        let first = try #require(before.attestation)
        try await rack.power(.off, machine: bed.node)
        var rom = [UInt8](try Data(contentsOf: URL(filePath: "/usr/lib/ipxe/qemu/pxe-virtio.rom")))
        let place = try #require(rom.firstRange(of: Array("http://ipxe.org".utf8)))
        // Two letters change places, so that the ROM's checksum stays right.
        rom.swapAt(place.lowerBound, place.lowerBound + 3)
        let changed = "\(rack.stateDirectory)/changed.rom"
        try Data(rom).write(to: URL(filePath: changed))
        let document = rack.layout.domain(bed.node)
        let order = "<boot order='1'/>"
        let machine = try String(contentsOfFile: document, encoding: .utf8)
            .replacing(order, with: "\(order)<rom file='\(changed)'/>")
        try machine.write(toFile: document, atomically: true, encoding: .utf8)
        try await rack.runInside(["virsh", "--quiet", "--connect", RackPlan.libvirtURI, "define", document])
        try await rack.power(.on, machine: bed.node)
        let after = try await nextBoot(bed, after: before)
        #expect(after.session?.isTrusted == false)
        #expect(after.attestation?.pcrs == before.attestation?.pcrs)
        let wait = try #require(after.node.wait)
        #expect(wait.cause.contains("PCR 2 (code of plugged-in cards)"), "\(wait.cause)")
        let events = try await bed.must(["node", "events", bed.node])
        #expect(events.contains("MeasurementsChanged"))
        // An approval needs an image of the role; nothing is written, as no deployment is asked for.
        let image = "\(rack.stateDirectory)/any.raw"
        try Data(repeating: 1, count: 1 << 20).write(to: URL(filePath: image))
        try await bed.must(["image", "push", "any", "--role", "network", "--file", image])
        let refusal = try await bed.muster(["node", "approve", bed.node])
        #expect(refusal.status == 4 && refusal.errorOutput.contains("PCR 2"), "\(refusal)")
        try await bed.must(["node", "approve", bed.node, "--accept-difference"])
        try await waitUntil("the boot to be accepted", within: .seconds(20)) {
            let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
            return detail.session?.isTrusted == true && detail.attestation?.changedPCRs(since: first) == [2]
        }
    }

    /// The node once its machine has booted the ramdisk anew.
    private func nextBoot(_ bed: PathTests.Bed, after before: NodeDetail) async throws -> NodeDetail {
        let opened = try #require(before.session?.opened)
        try await waitUntil("another boot", within: .seconds(300), every: .seconds(1)) {
            let session = try await bed.json(NodeDetail.self, ["node", "show", bed.node]).session
            return session.map { $0.opened > opened } ?? false
        }
        return try await bed.json(NodeDetail.self, ["node", "show", bed.node])
    }
}
