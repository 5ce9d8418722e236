import CatalogBareMetal
import FleetContract
import Foundation
import Glibc
import Primitives
import Testing

@testable import VirtualRack

/// A deployed machine is rescued: an operator logs in with a password that is good once, mends what is on its disk, and
/// the machine is active again with what it held.
@Suite(
    .serialized,
    .enabled(
        if: geteuid() == 0 && ProcessInfo.processInfo.environment["MUSTER_RACK_TESTS"] == "1",
        "needs root and MUSTER_RACK_TESTS=1"))
struct RescueTests {
    @Test(.timeLimit(.minutes(30))) func `a node is rescued and comes back with its data`() async throws {
        var file = try RackFile.load("\(PathTests.package)/Inventory/example-rack/rack-b.yaml")
        file.name = "rescue-\(getpid())"
        let state = FileManager.default.temporaryDirectory.appending(path: "muster-\(file.name)").path
        let rack = try Rack(file: file, stateDirectory: state, options: Rack.Options(package: PathTests.package))
        try await rack.whileUp {
            let bed = PathTests.Bed(rack)
            do {
                try await deploy(bed)
                try await rescue(bed)
                try await comeBack(bed)
            } catch {
                let log = rack.process(named: "conductor")?.logTail(characters: 6000) ?? ""
                let console = (try? rack.console(machine: bed.node)) ?? ""
                Issue.record("conductor:\n\(log)\nconsole:\n\(console.suffix(3000))")
                throw error
            }
        }
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    private func deploy(_ bed: PathTests.Bed) async throws {
        try await bed.begin(images: ["network"], makesKey: true)
        try await bed.applySite(bed.siteWithKey)
        try await bed.waitForState("enroll", within: .seconds(400))
        let early = try await bed.muster(["node", "rescue", bed.node])
        #expect(early.status == 4 && early.errorOutput.contains("muster node approve"), "\(early)")
        try await bed.must(["node", "set", bed.node, "--root-disk", bed.rack.file.machines[0].disks[0].serial])
        try await bed.must(["node", "approve", bed.node, "--role", "network"])
        try await bed.waitForState("active", within: .seconds(900))
        let address = try #require(
            try await bed.json(NodeDetail.self, ["node", "show", bed.node]).agent?.addresses.first)
        _ = try await bed.ssh("\(address)", "echo kept >/state/rescue-test; sync")
    }

    /// Runs `command` on the machine by `muster node ssh`, with `password` typed in.
    private func login(_ bed: PathTests.Bed, _ password: String, _ command: String) async throws -> CommandOutcome {
        let state = bed.rack.stateDirectory
        let askpass = "\(state)/askpass"
        try "#!/bin/sh\necho '\(password)'\n".write(toFile: askpass, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: askpass)
        let variables = try bed.rack.environment().filter { $0.name != "MUSTER_NETNS" }.map { "\($0.name)=\($0.value)" }
        return try await bed.rack.outcome(
            inNamespace: [
                "env", "SSH_ASKPASS=\(askpass)", "SSH_ASKPASS_REQUIRE=force", "XDG_CACHE_HOME=\(state)",
                "HOME=\(state)",
            ] + variables + ["\(PathTests.programs)/muster", "node", "ssh", bed.node, "--", command],
            timeout: .seconds(90))
    }

    private func rescue(_ bed: PathTests.Bed) async throws {
        let reply = try await bed.json(RescueReply.self, ["node", "rescue", bed.node, "--hours", "1"])
        try await bed.waitForState("rescue", within: .seconds(400))
        let again = try await bed.muster(["node", "rescue", bed.node])
        #expect(again.status == 4 && again.errorOutput.contains("--new-password"), "\(again)")
        let shown = try await bed.must(["node", "show", bed.node])
        #expect(shown.contains("SHA256:") && shown.contains("good for one login until"), "\(shown)")
        let wrong = try await login(bed, "abcde-abcde-abcde-abcde", "true")
        #expect(wrong.status != 0 && wrong.errorOutput.contains("Permission denied"), "\(wrong)")

        let seen = try await login(
            bed, reply.password,
            "grep -c ^/dev/vd /proc/mounts; lsblk -no NAME,LABEL; mkdir -p /mnt; mount /dev/vda5 /mnt || mount /dev/vda4 /mnt; "
                + "cat /mnt/rescue-test; echo mended >>/mnt/rescue-test")
        #expect(seen.output.hasPrefix("0\n"), "something was mounted: \(seen)")
        #expect(seen.output.contains("vda3") && seen.output.contains("data") && seen.output.contains("kept"), "\(seen)")
        try await waitUntil("the login to be told", within: .seconds(30)) {
            try await bed.must(["node", "events", bed.node]).contains("RescueLogin")
        }
        #expect(try await bed.must(["audit", "list"]).contains("log in to rescue"))
        // The password was good once.
        let second = try await login(bed, reply.password, "true")
        #expect(second.status != 0 && second.errorOutput.contains("Permission denied"), "\(second)")
        let other = try await bed.json(RescueReply.self, ["node", "rescue", bed.node, "--new-password"])
        try await waitUntil("the new password to be let in", within: .seconds(60)) {
            let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
            return detail.node.state == "rescue" && detail.rescued == other.number
        }
        let third = try await login(bed, other.password, "cat /mnt/rescue-test")
        #expect(third.output == "kept\nmended\n", "\(third)")
        // Nothing secret has gone to the conductor's log or to anybody who reads it.
        let log = bed.rack.process(named: "conductor")?.logTail(characters: 1_000_000) ?? ""
        #expect(!log.contains(reply.password) && !log.contains("$y$"))
    }

    private func comeBack(_ bed: PathTests.Bed) async throws {
        // What is still mounted is written back before the power is reset.
        try await bed.must(["node", "unrescue", bed.node])
        try await bed.waitForState("active", within: .seconds(600))
        let detail = try await bed.json(NodeDetail.self, ["node", "show", bed.node])
        #expect(detail.deployed == detail.attempted && detail.deployed.number == 1 && detail.rescue == nil)
        let address = try #require(detail.agent?.addresses.first)
        #expect(try await bed.ssh("\(address)", "cat /state/rescue-test") == "kept\nmended\n")
        let begun = try await bed.must(["node", "logs", bed.node, "--source", "discovery-agent", "--lines", "1000"])
        #expect(begun.matches(of: /writing \d+ chunks to/).count == 1, "it was deployed again:\n\(begun)")
    }
}
