import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// A real machine becomes the site's controller: it boots from its own disk and runs etcd, the conductor, HAProxy, keepalived
/// and chrony as units of systemd, and the site moves to it with all that it knows and has; after a loss of power it comes
/// back. Three at once are more than two emulated processors carry: their proxies' checks, which are to find a dead conductor
/// in a second, take them all for dead. `ControllerJourneyTests` has three.
@Suite(
    .serialized, .enabled(if: geteuid() == 0, "a rack needs root"),
    .enabled(if: ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1", "make test-rack"))
struct ControllerRackTests {
    private static let names = (1...2).map { "controller-\($0)" }
    private static let vip = "10.77.0.250"

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
    func `a site moves to a real controller, which comes back by itself`() async throws {
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
                try await losePower(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let consoles = Self.names.map { "\($0):\n\(((try? rack.console(machine: $0)) ?? "").suffix(2000))" }
                Issue.record("seed:\n\(log)\n\(await Self.journal(bed))\n\(consoles.joined(separator: "\n"))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    /// What the services of the controller have said.
    private static func journal(_ bed: PathTests.Bed) async -> String {
        let words = try? await bed.ssh(
            vip, "journalctl -q -n 200 -u 'muster-*' -o cat; systemctl list-units 'muster-*'")
        return words ?? "no answer at the shared address"
    }

    // MARK: Steps

    private func prepare(_ bed: PathTests.Bed) async throws {
        try await bed.begin(images: ["controller"], makesKey: true)
        try await bed.applySite(bed.siteWithKey)
    }

    private func deploy(_ bed: PathTests.Bed) async throws {
        try await waitUntil("both machines to register", within: .seconds(900), every: .seconds(1)) {
            try await bed.nodes().count == Self.names.count
        }
        // The other one is known, and that is all.
        try await bed.rack.power(.off, machine: Self.names[1])
        try await bed.must(["node", "approve", Self.names[0], "--role", "controller"])
        try await bed.waitForState("active", of: Self.names[0], within: .seconds(1500))
    }

    private func pivot(_ bed: PathTests.Bed) async throws {
        let seed = try #require(bed.rack.process(named: "conductor"))
        try await bed.must(
            ["controller", "pivot", Self.names[0], "--vip", "\(Self.vip)/24", "--yes"], timeout: .seconds(900))
        try await seed.waitForEnd()
        #expect(Set(try await nodes(bed).map(\.name)) == Set(Self.names))
        try await waitForAgent(bed, Self.names[0], within: .seconds(300))
        let list = try await must(bed, ["controller", "list"])
        #expect(list.contains(Self.names[0]) && list.contains("settled"), "\(list)")
        // Every service is a unit.
        let units = try await bed.ssh(
            Self.vip,
            "systemctl is-active muster-etcd muster-conductor muster-haproxy muster-keepalived muster-chrony")
        #expect(units == String(repeating: "active\n", count: 5), "\(units)")
    }

    /// It has its address by the DHCP that it serves itself, so that nobody gives it one when it starts.
    private func losePower(_ bed: PathTests.Bed) async throws {
        let name = Self.names[0]
        let before = try await agent(bed, name)?.bootID
        try await bed.rack.power(.off, machine: name)
        try await bed.rack.power(.on, machine: name)
        try await waitForAgent(bed, name, but: before, within: .seconds(600))
        let own = try await agent(bed, name)?.conditions.first { $0.type == "AddressReady" }
        #expect(own?.isTrue == true && own?.message.contains("as it had it before") == true, "\(own as Any)")
        #expect(try await nodes(bed).count == Self.names.count)
    }

    // MARK: Asking at the shared address

    /// Runs `muster` with the first operator's token at the shared address, again for a while as long as nobody answers.
    @discardableResult
    private func must(
        _ bed: PathTests.Bed, _ arguments: [String], timeout: Duration = .seconds(60), within: Duration = .seconds(90)
    ) async throws -> String {
        let directory = bed.rack.conductorDirectory
        let line = [
            "env", "MUSTER_API=https://\(Self.vip):9443", "MUSTER_CA=\(directory)/ca.pem",
            "MUSTER_TOKEN_FILE=\(directory)/operator.token", "\(PathTests.programs)/muster",
        ]
        let end = ContinuousClock.now + within
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

    private func agent(
        _ bed: PathTests.Bed, _ name: String, within limit: Duration = .seconds(90)
    ) async throws -> Node.Agent? {
        let text = try await must(bed, ["node", "show", name, "--json"], within: limit)
        return try JSONDecoder().decode(NodeDetail.self, from: Data(text.utf8)).agent
    }

    /// Waits until the agent is connected and its roles are ready, in another boot than `boot`.
    private func waitForAgent(
        _ bed: PathTests.Bed, _ name: String, but boot: String? = nil, within limit: Duration
    ) async throws {
        try await waitUntil("\(name)'s agent to be well", within: limit, every: .seconds(1)) {
            let agent = try await agent(bed, name, within: limit)
            return agent?.isConnected == true && agent?.isReady == true && agent?.bootID != boot
        }
    }
}
