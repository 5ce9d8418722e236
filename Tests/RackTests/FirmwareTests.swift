import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Testing

@testable import VirtualRack

/// Machines of other firmware and disks than `PathTests`' one, each on a rack of its own.
///
/// One path is part of every test run; the others take minutes each and run with MUSTER_RACK_TESTS=1 (`make test-rack`).
@Suite(.serialized, .enabled(if: geteuid() == 0, "a rack needs root"))
struct FirmwareTests {
    private static let isWhole = ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1"

    /// How a machine differs from the others.
    struct Machine: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var firmware = "bios"
        var networkBoot = "pxe"
        var rom = "on"
        var disk = "bus: virtio"
        /// What its console shows on the way.
        var seen: [String]

        /// A rack with this machine alone.
        func rack(_ name: String) throws -> Rack {
            let text = """
                name: \(name)
                network: { bridge: br0, subnet: 10.66.0.0/24, conductor: 10.66.0.1, conductorIPv6: "fd66::1/64" }
                bmc: { address: 10.66.0.2, port: 8000, user: admin, password: "firmware-password" }
                machines:
                  - name: fir
                    uuid: 6d1f0c3a-84b2-4e57-9a1c-2f7e5b08d394
                    serial: FW-0042-A
                    manufacturer: Firmware Works
                    product: Sled 4
                    memoryMiB: 1024
                    firmware: \(firmware)
                    networkBoot: \(networkBoot)
                    nics: [{ mac: "52:54:00:66:0a:01", rom: \(rom) }]
                    disks: [{ serial: FIR-DISK-1, sizeGiB: 4, \(disk) }]

                """
            let file = try RackFile.parse(text, file: name)
            let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(name)").path
            return try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        }
    }

    static let nativePXE = Machine(
        testDescription: "UEFI's own PXE over TFTP", firmware: "uefi", rom: "off", seen: ["PXE over IPv4", "iPXE"])

    @Test(.timeLimit(.minutes(6))) func `UEFI with its own PXE loads iPXE by TFTP and is discovered`() async throws {
        try await onRack(Self.nativePXE, "pxe") { bed in
            try await discover(bed, Self.nativePXE)
            #expect(try log(bed).contains("sent by TFTP"), "the conductor says nothing of it")
        }
    }

    static let discovered = [
        Machine(
            testDescription: "UEFI HTTP boot", firmware: "uefi", networkBoot: "http", rom: "off",
            seen: ["HTTP Boot over IPv4", "iPXE"])
    ]

    @Test(.enabled(if: isWhole, "make test-rack"), .timeLimit(.minutes(10)), arguments: discovered)
    func `a machine is discovered`(_ machine: Machine) async throws {
        try await onRack(machine, "found") { bed in try await discover(bed, machine) }
    }

    static let deployed = [
        Machine(testDescription: "BIOS, SATA disk", disk: "bus: sata", seen: ["SeaBIOS", "iPXE"]),
        Machine(
            testDescription: "BIOS, SCSI disk", disk: "bus: scsi, wwn: 5000c50015ea71bb", seen: ["SeaBIOS", "iPXE"]),
        Machine(testDescription: "UEFI, iPXE in the ROM", firmware: "uefi", seen: ["iPXE"]),
        Machine(
            testDescription: "UEFI's own PXE, SATA disk", firmware: "uefi", rom: "off", disk: "bus: sata",
            seen: ["PXE over IPv4", "iPXE"]),
    ]

    @Test(.enabled(if: isWhole, "make test-rack"), .timeLimit(.minutes(20)), arguments: deployed)
    func `a machine becomes active, and reaches its disk when it asks the network first`(
        _ machine: Machine
    ) async throws {
        try await onRack(machine, "whole") { bed in
            try await bed.pushImage(of: "network")
            try await discover(bed, machine)
            try await bed.must(["node", "approve", bed.node, "--role", "network"])
            try await bed.waitForState("active", within: .seconds(600))
            try await restartFromTheNetwork(bed, machine)
        }
    }

    private func onRack(
        _ machine: Machine, _ name: String, _ body: @Sendable (PathTests.Bed) async throws -> Void
    ) async throws {
        for file in ["vmlinuz", "initrd.zst", "local.efi", "node-network.raw"] {
            try #require(
                FileManager.default.fileExists(atPath: "\(PathTests.images)/\(file)"),
                "\(PathTests.images)/\(file) is missing; run `make test`, which builds it")
        }
        let rack = try machine.rack("\(name)-\(getpid())")
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await prepare(bed)
                try await body(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(4000))")
                throw error
            }
        }
    }

    /// All that the conductor has written.
    private func log(_ bed: PathTests.Bed) throws -> String {
        let process = try #require(bed.rack.process(named: "conductor"))
        return try String(contentsOfFile: process.logFile, encoding: .utf8)
    }

    private func prepare(_ bed: PathTests.Bed) async throws {
        try await bed.begin()
        try await bed.applySite(bed.rack.siteFile())
    }

    /// The conductor switches the machine on by itself.
    private func discover(_ bed: PathTests.Bed, _ machine: Machine) async throws {
        try await bed.waitForState("enroll", within: .seconds(300))
        let inventory = try await bed.json(InventoryReport.self, ["node", "inventory", bed.node])
        #expect(inventory.disks.map(\.serial) == ["FIR-DISK-1"])
        #expect(inventory.system.serial == "FW-0042-A")
        let console = try bed.rack.console(machine: bed.node)
        for text in machine.seen { #expect(console.contains(text), "'\(text)' is not on the console") }
    }

    /// What firmware that forgets its settings does: the network is asked first again, and the disk comes second.
    private func restartFromTheNetwork(_ bed: PathTests.Bed, _ machine: Machine) async throws {
        let rack = bed.rack
        let first = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        #expect(first.agent?.isConnected == true)
        let before = try rack.console(machine: bed.node).count
        try await rack.power(.off, machine: bed.node)
        let document = rack.layout.domain(bed.node)
        try await rack.runInside(["virsh", "--quiet", "--connect", RackPlan.libvirtURI, "define", document])
        try await rack.power(.on, machine: bed.node)
        try await waitUntil("the conductor to tell the machine to boot its disk", within: .seconds(180)) {
            try log(bed).contains("it is told to boot its disk")
        }
        try await waitUntil("the loader on the disk", within: .seconds(120)) {
            try bed.rack.console(machine: bed.node).dropFirst(before).contains("muster: slot a")
        }
        try await waitUntil("the agent to be back", within: .seconds(300)) {
            let agent = try await bed.json(NodeDetail.self, ["node", "show", bed.node]).agent
            return agent?.isConnected == true
        }
        if machine.firmware == "uefi" {
            let console = try bed.rack.console(machine: bed.node).dropFirst(before)
            #expect(console.contains("Muster: booting from the disk"))
        }
    }
}
