import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// A machine with two cards becomes a node with a bond and a VLAN; a network that cuts its conductor off is taken back.
@Suite(
    .serialized,
    .enabled(
        if: geteuid() == 0 && ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1",
        "needs root and MUSTER_RACK_TESTS=1"))
struct BondTests {
    private static let inventory = "\(PathTests.package)/Inventory/example-rack"

    /// Where the node is by its own address, from the site file.
    private static let address = "10.66.0.100"

    @Test(.timeLimit(.minutes(30))) func `a node comes up with its bond, and takes back what cuts it off`() async throws
    {
        var file = try RackFile.load("\(Self.inventory)/rack-bond.yaml")
        file.name = "bond-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await prepare(bed)
                try await bond(bed)
                try await cutOff(bed)
                try await backup(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: "elm")) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    /// Waits for an event of this type that tells of this check.
    private func waitForCheck(_ bed: PathTests.Bed, _ type: String, _ check: String, within limit: Duration)
        async throws
    {
        try await waitUntil("\(type) of \(check)", within: limit, every: .milliseconds(500)) {
            try await bed.must(["node", "events", "elm"]).split(separator: "\n").contains { line in
                line.contains(type) && line.contains(check)
            }
        }
    }

    private func prepare(_ bed: PathTests.Bed) async throws {
        try await bed.begin(images: ["network"], makesKey: true)
        try await bed.must(["site", "apply", "\(Self.inventory)/site-bond.yaml"])
        try await bed.waitForState("enroll", within: .seconds(400))
        try await bed.must(["node", "approve", "elm", "--role", "network"])
        try await bed.waitForState("active", within: .seconds(900))
    }

    private func waitUntilKept(_ bed: PathTests.Bed) async throws {
        try await waitUntil("the configuration to be kept", within: .seconds(150), every: .milliseconds(500)) {
            (try? await bed.ssh(Self.address, "grep -c '\"trial\"' /state/muster/network.json || true")) == "0\n"
        }
    }

    /// The bridge answers no LACP: the bond works all the same, on one leg.
    private func bond(_ bed: PathTests.Bed) async throws {
        try await waitUntilKept(bed)
        let seen = try await bed.ssh(
            Self.address,
            "ip -d link show bond0; cat /proc/net/bonding/bond0; ip -d addr show fabric; ls /state/muster/network"
        )
        #expect(seen.contains("802.3ad") && seen.contains("Number of ports: 1"), "\(seen)")
        #expect(seen.components(separatedBy: "Slave Interface").count == 3, "\(seen)")
        #expect(seen.contains("vlan protocol 802.1Q id 120") && seen.contains("10.166.0.7/24"), "\(seen)")
        #expect(seen.contains("50-muster-bond0.netdev"), "\(seen)")
        // Tunnels end in the underlay once the node has told that it is there.
        try await waitUntil("the tunnel to end in the underlay", within: .seconds(120), every: .milliseconds(500)) {
            try await bed.ssh(Self.address, "ip -d link show type vxlan").contains("local 10.166.0.7")
        }
        #expect(try await bed.must(["node", "why", "elm"]).contains("all checks pass"))
    }

    private func cutOff(_ bed: PathTests.Bed) async throws {
        try await bed.must(["node", "set", "elm", "--network", "cut-off"])
        try await waitForCheck(bed, "CheckFailed", "NetworkReady", within: .seconds(300))
        let why = try await bed.must(["node", "why", "elm"])
        #expect(why.contains("No conductor could be reached over it within 45 s"), "\(why)")
        let seen = try await bed.ssh(Self.address, "ip -o link show type vlan; ls /run/systemd/network")
        #expect(seen.contains("fabric") && !seen.contains("boot@") && !seen.contains("muster-boot."), "\(seen)")
        // A restart of the agent does not try it again.
        let again = try await bed.ssh(
            Self.address, "systemctl restart muster-agent; sleep 10; ls /run/systemd/network; networkctl --no-pager")
        #expect(!again.contains("muster-boot."), "\(again)")
    }

    private func backup(_ bed: PathTests.Bed) async throws {
        try await bed.must(["node", "set", "elm", "--network", "backup"])
        try await waitUntil("the bond to be another", within: .seconds(150), every: .milliseconds(500)) {
            (try? await bed.ssh(Self.address, "cat /proc/net/bonding/bond0"))?.contains("active-backup") == true
        }
        try await waitUntilKept(bed)
        try await waitForCheck(bed, "CheckPassed", "NetworkReady", within: .seconds(120))
        try await waitUntil("all checks to pass", within: .seconds(120), every: .milliseconds(500)) {
            try await bed.must(["node", "why", "elm"]).contains("all checks pass")
        }
    }
}
