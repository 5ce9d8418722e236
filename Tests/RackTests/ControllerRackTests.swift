import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// Real machines become the site's controllers: they boot from their own disks and run etcd, the conductor, HAProxy,
/// keepalived and chrony as units of systemd. The site moves to one, grows to three, and loses one; a machine that is
/// switched on when the seed is long gone is given its address, its ramdisk and its image by them.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct ControllerRackTests {
    private static let names = (1...4).map { "controller-\($0)" }
    private static let vip = "10.77.0.250"
    private static let seed = "10.77.0.1"

    private static func file() throws -> RackFile {
        var file = try RackFile.load("\(PathTests.package)/Inventory/example-rack/rack.yaml")
        file.name = "controllers-\(getpid())"
        let model = file.machines[1]
        file.machines = try Self.names.enumerated().map { index, name in
            var machine = model
            machine.name = name
            machine.uuid = "6f0e2b7a-0000-4000-8000-00000000000\(index + 1)"
            machine.serial = "CTL-SRV-000\(index + 1)"
            machine.product = "Controller"
            machine.memoryMiB = 1536
            machine.nics = [
                .init(mac: try MACAddress("52:54:00:77:01:0\(index + 1)"), model: .virtio, rom: .on)
            ]
            machine.disks = [.init(serial: "CTL-DISK-000\(index + 1)", sizeGiB: 8, bus: .virtio)]
            return machine
        }
        return file
    }

    @Test(.timeLimit(.minutes(60)))
    func `a site moves to a real controller, grows to three, loses one, and deploys without its seed`() async throws {
        for name in ["vmlinuz", "initrd.zst", "node-controller.raw"] {
            try #require(
                FileManager.default.fileExists(atPath: "\(PathTests.images)/\(name)"),
                "\(PathTests.images)/\(name) is missing; run `make test-rack`, which builds it")
        }
        let file = try Self.file()
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await prepare(bed)
                try await deploy(bed)
                try await pivot(bed)
                try await grow(bed)
                try await deployWithoutSeed(bed)
                try await replace(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let consoles = Self.names.map { "\($0):\n\(((try? rack.console(machine: $0)) ?? "").suffix(2000))" }
                Issue.record("seed:\n\(log)\n\(await Self.journals(bed))\n\(consoles.joined(separator: "\n"))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    /// What the services of the controllers have said.
    private static func journals(_ bed: PathTests.Bed) async -> String {
        var text = ""
        for (index, name) in names.enumerated() {
            let words = try? await bed.ssh(
                "10.77.0.\(50 + index)", "journalctl -q -n 60 -u 'muster-*' -o cat; systemctl list-units 'muster-*'")
            text += "\(name):\n\(words ?? "no answer")\n"
        }
        return text
    }

    // MARK: Steps

    private func prepare(_ bed: PathTests.Bed) async throws {
        try await bed.rack.run(inNamespace: ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", bed.key])
        try await bed.startConductor()
        let images = PathTests.images
        try await bed.must(
            ["image", "push-ramdisk", "--kernel", "\(images)/vmlinuz", "--initrd", "\(images)/initrd.zst"])
        try await bed.must(
            ["image", "push", "node-controller", "--role", "controller", "--file", "\(images)/node-controller.raw"],
            timeout: .seconds(300))
        let site = "\(bed.rack.stateDirectory)/site.yaml"
        try bed.rack.siteFile(sshKeyFiles: ["\(bed.key).pub"]).write(toFile: site, atomically: true, encoding: .utf8)
        try await bed.must(["site", "apply", site])
    }

    private func deploy(_ bed: PathTests.Bed) async throws {
        try await waitUntil("four machines to register", within: .seconds(900), every: .seconds(1)) {
            try await bed.nodes().count == 4
        }
        // The fourth waits, switched off, until there is no seed any more.
        try await bed.rack.power(.off, machine: Self.names[3])
        for name in Self.names.prefix(3) { try await bed.must(["node", "approve", name, "--role", "controller"]) }
        for name in Self.names.prefix(3) { try await bed.waitForState("active", of: name, within: .seconds(1500)) }
    }

    private func pivot(_ bed: PathTests.Bed) async throws {
        let seed = try #require(bed.rack.process(named: "conductor"))
        try await bed.must(
            ["controller", "pivot", Self.names[0], "--vip", "\(Self.vip)/24", "--yes"], timeout: .seconds(900))
        try await seed.waitForEnd()
        let nodes = try await nodes(bed)
        #expect(Set(nodes.map(\.name)) == Set(Self.names))
        try await waitForAgents(bed, Self.names.prefix(3), within: .seconds(300))
    }

    private func grow(_ bed: PathTests.Bed) async throws {
        try await must(
            bed, ["controller", "grow", Self.names[1], Self.names[2], "--yes"], timeout: .seconds(1200))
        let list = try await must(bed, ["controller", "list"])
        for name in Self.names.prefix(3) { #expect(list.contains(name), "\(list)") }
        // Every service is a unit, and is well after a look at each machine.
        for address in try await addresses(bed, Self.names.prefix(3)) {
            let units = try await bed.ssh(
                address,
                "systemctl is-active muster-etcd muster-conductor muster-haproxy muster-keepalived muster-chrony")
            #expect(units == String(repeating: "active\n", count: 5), "\(address): \(units)")
        }
    }

    /// Address, ramdisk, image and certificate come from the controllers.
    private func deployWithoutSeed(_ bed: PathTests.Bed) async throws {
        try await must(bed, ["node", "approve", Self.names[3], "--role", "controller"])
        try await waitUntil("\(Self.names[3]) to be active", within: .seconds(1500), every: .seconds(1)) {
            let found = try await nodes(bed).first { $0.name == Self.names[3] }
            if let found, found.state.hasSuffix("failed") {
                throw RackError.failed("the node is '\(found.state)': \(found.wait?.cause ?? "")")
            }
            return found?.state == "active"
        }
        let leases = try await must(bed, ["lease", "list"])
        #expect(leases.contains("52:54:00:77:01:04"), "\(leases)")
    }

    /// A power cut of the controller that has the shared address; the fourth machine takes its place.
    private func replace(_ bed: PathTests.Bed) async throws {
        var holder: String?
        for (name, address) in zip(Self.names, try await addresses(bed, Self.names.prefix(3))) {
            let own = try await bed.ssh(address, "ip -o -4 address show")
            if own.contains("\(Self.vip)/") { holder = name }
        }
        let lost = try #require(holder, "nobody has the shared address")
        try await bed.rack.power(.off, machine: lost)
        // The next answer comes from another one.
        _ = try await nodes(bed)
        try await must(
            bed, ["controller", "replace", lost, "--with", Self.names[3], "--yes"], timeout: .seconds(1200))
        let left = Self.names.filter { $0 != lost }
        try await waitForAgents(bed, left[...], within: .seconds(300))
        // What was lost comes back as a machine without a part in the control plane.
        try await bed.rack.power(.on, machine: lost)
        try await waitForAgents(bed, Self.names[...], within: .seconds(600))
        let list = try await must(bed, ["controller", "list"])
        for name in left { #expect(list.contains(name), "\(list)") }
    }

    // MARK: Asking at the shared address

    /// Runs `muster` with the first operator's token at the shared address, again for a while as long as nobody answers.
    @discardableResult
    private func must(
        _ bed: PathTests.Bed, _ arguments: [String], timeout: Duration = .seconds(60)
    ) async throws -> String {
        let directory = bed.rack.conductorDirectory
        let line = [
            "env", "MUSTER_API=https://\(Self.vip):9443", "MUSTER_CA=\(directory)/ca.pem",
            "MUSTER_TOKEN_FILE=\(directory)/operator.token", "\(PathTests.programs)/muster",
        ]
        let end = ContinuousClock.now + .seconds(90)
        while true {
            let outcome = try await bed.rack.outcome(inNamespace: line + arguments, timeout: timeout)
            if outcome.status == 0 { return outcome.output }
            guard ContinuousClock.now < end else {
                throw RackError.failed("muster \(arguments): \(outcome.output)\(outcome.errorOutput)")
            }
            try await Task.sleep(for: .seconds(1))
        }
    }

    private func nodes(_ bed: PathTests.Bed) async throws -> [NodeSummary] {
        let text = try await must(bed, ["node", "list", "--json"])
        return try JSONDecoder().decode(NodeList.self, from: Data(text.utf8)).nodes
    }

    private func detail(_ bed: PathTests.Bed, _ node: String) async throws -> NodeDetail {
        try JSONDecoder().decode(
            NodeDetail.self, from: Data(try await must(bed, ["node", "show", node, "--json"]).utf8))
    }

    private func addresses(_ bed: PathTests.Bed, _ names: ArraySlice<String>) async throws -> [String] {
        var addresses: [String] = []
        for name in names {
            let told = try await detail(bed, name).agent?.addresses.map(\.description) ?? []
            addresses.append(try #require(told.first { $0 != Self.vip }, "\(name)"))
        }
        return addresses
    }

    private func waitForAgents(
        _ bed: PathTests.Bed, _ names: ArraySlice<String>, within limit: Duration
    ) async throws {
        for name in names {
            try await waitUntil("\(name)'s agent to be well", within: limit, every: .seconds(1)) {
                let agent = try await detail(bed, name).agent
                return agent?.isConnected == true && agent?.isReady == true
            }
        }
    }
}
