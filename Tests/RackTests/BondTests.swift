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
    private static let package = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    private static let programs = "\(package)/.build/debug"
    private static let inventory = "\(package)/Inventory/example-rack"
    private static let images =
        ProcessInfo.processInfo.environment["MUSTER_IMAGES"] ?? "\(package)/.cache/images-debug"

    /// Where the node is by its own address, from the site file.
    private static let address = "10.66.0.100"

    @Test(.timeLimit(.minutes(30))) func `a node comes up with its bond, and takes back what cuts it off`() async throws
    {
        var file = try RackFile.load("\(Self.inventory)/rack-bond.yaml")
        file.name = "bond-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: Self.package))
        try await rack.whileUp {
            do {
                try await prepare(rack)
                try await bond(rack)
                try await cutOff(rack)
                try await backup(rack)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: "elm")) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    private func muster(_ rack: Rack, _ arguments: [String], timeout: Duration = .seconds(300)) async throws -> String {
        var variables = try rack.environment().filter { $0.name != "MUSTER_NETNS" }.map { "\($0.name)=\($0.value)" }
        variables.append("MUSTER_SSH_KEY_FILE=\(rack.stateDirectory)/id.pub")
        let outcome = try await rack.outcome(
            inNamespace: ["env"] + variables + ["\(Self.programs)/muster"] + arguments, timeout: timeout)
        try #require(outcome.status == 0, "muster \(arguments): \(outcome.output)\(outcome.errorOutput)")
        return outcome.output
    }

    private func node(_ rack: Rack) async throws -> NodeSummary? {
        let list = try await muster(rack, ["node", "list", "--json"])
        return try JSONDecoder().decode(NodeList.self, from: Data(list.utf8)).nodes.first
    }

    private func waitForState(_ rack: Rack, _ state: String, within limit: Duration) async throws {
        try await waitUntil("elm to be \(state)", within: limit) {
            let found = try await node(rack)
            if let found, found.state.hasSuffix("failed") {
                throw RackError.failed("the node is '\(found.state)': \(found.wait?.cause ?? "")")
            }
            return found?.state == state
        }
    }

    private func ssh(_ rack: Rack, _ command: String) async throws -> String {
        try await rack.run(
            inNamespace: [
                "ssh", "-i", "\(rack.stateDirectory)/id", "-o", "StrictHostKeyChecking=no", "-o",
                "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o",
                "ConnectTimeout=20", "root@\(Self.address)", command,
            ], timeout: .seconds(90))
    }

    private func prepare(_ rack: Rack) async throws {
        try await rack.run(
            inNamespace: ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "\(rack.stateDirectory)/id"])
        try rack.spawn(
            inNamespace: [
                "\(Self.programs)/muster-conductor", "--state-dir", rack.conductorDirectory, "--console-dir",
                "\(rack.stateDirectory)/console",
            ], name: "conductor")
        try await waitUntil("the conductor's API", within: .seconds(60)) {
            (try? await muster(rack, ["node", "list"])) != nil
        }
        _ = try await muster(
            rack,
            ["image", "push-ramdisk", "--kernel", "\(Self.images)/vmlinuz", "--initrd", "\(Self.images)/initrd.zst"])
        _ = try await muster(
            rack, ["image", "push", "node-network", "--role", "network", "--file", "\(Self.images)/node-network.raw"])
        _ = try await muster(rack, ["site", "apply", "\(Self.inventory)/site-bond.yaml"])
        try await waitForState(rack, "enroll", within: .seconds(400))
        _ = try await muster(rack, ["node", "approve", "elm", "--role", "network"])
        try await waitForState(rack, "active", within: .seconds(900))
    }

    private func waitUntilKept(_ rack: Rack) async throws {
        try await waitUntil("the configuration to be kept", within: .seconds(150)) {
            (try? await ssh(rack, "grep -c '\"trial\"' /state/muster/network.json || true")) == "0\n"
        }
    }

    /// The bridge answers no LACP: the bond works all the same, on one leg.
    private func bond(_ rack: Rack) async throws {
        try await waitUntilKept(rack)
        let seen = try await ssh(
            rack, "ip -d link show bond0; cat /proc/net/bonding/bond0; ip -d addr show fabric; ls /state/muster/network"
        )
        #expect(seen.contains("802.3ad") && seen.contains("Number of ports: 1"), "\(seen)")
        #expect(seen.components(separatedBy: "Slave Interface").count == 3, "\(seen)")
        #expect(seen.contains("vlan protocol 802.1Q id 120") && seen.contains("10.166.0.7/24"), "\(seen)")
        #expect(seen.contains("50-muster-bond0.netdev"), "\(seen)")
        // Tunnels end in the underlay once the node has told that it is there.
        try await waitUntil("the tunnel to end in the underlay", within: .seconds(120)) {
            try await ssh(rack, "ip -d link show type vxlan").contains("local 10.166.0.7")
        }
        #expect(try await muster(rack, ["node", "why", "elm"]).contains("all checks pass"))
    }

    private func cutOff(_ rack: Rack) async throws {
        _ = try await muster(rack, ["node", "set", "elm", "--network", "cut-off"])
        try await waitUntil("the failure to be told", within: .seconds(300)) {
            try await muster(rack, ["node", "events", "elm"]).contains("NetworkNotReady")
        }
        let why = try await muster(rack, ["node", "why", "elm"])
        #expect(why.contains("No conductor could be reached over it within 45 s"), "\(why)")
        let seen = try await ssh(rack, "ip -o link show type vlan; ls /run/systemd/network")
        #expect(seen.contains("fabric") && !seen.contains("boot@") && !seen.contains("muster-boot."), "\(seen)")
        // A restart of the agent does not try it again.
        let again = try await ssh(
            rack, "systemctl restart muster-agent; sleep 10; ls /run/systemd/network; networkctl --no-pager")
        #expect(!again.contains("muster-boot."), "\(again)")
    }

    private func backup(_ rack: Rack) async throws {
        _ = try await muster(rack, ["node", "set", "elm", "--network", "backup"])
        try await waitUntil("the bond to be another", within: .seconds(150)) {
            (try? await ssh(rack, "cat /proc/net/bonding/bond0"))?.contains("active-backup") == true
        }
        try await waitUntilKept(rack)
        try await waitUntil("the network to be as asked for", within: .seconds(120)) {
            try await muster(rack, ["node", "events", "elm"]).contains("NetworkReady")
        }
    }
}
