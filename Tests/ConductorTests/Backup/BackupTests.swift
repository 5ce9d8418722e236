import AgentProtocol
import CatalogBareMetal
import FleetContract
import Foundation
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// The real programs: a site with a node in service is backed up while it runs, lost, and restored into nothing.
@Suite(.serialized, .enabled(if: geteuid() == 0, "namespaces need root"))
struct BackupTests {
    @Test(.timeLimit(.minutes(4)))
    func `a lost site is restored, its agent reconnects and its operator's token is good`() async throws {
        try await CrashBed.with("backup", machines: 1) { bed in
            let scene = bed.scene
            try await bed.wait(for: "enroll", within: .seconds(60))
            try await bed.insist("node approve m1 --role network")
            try await bed.wait(for: "active", within: .seconds(90))
            try await bed.waitForAgents(within: .seconds(60))
            try scene.write("pass", "a passphrase of this test\n")
            chmod(scene.path("pass"), 0o600)
            let keys = "--passphrase-file \(scene.path("pass"))"
            let file = scene.path("site.backup")
            let backup = try await scene.type(
                "muster-conductor backup --state-dir \(scene.state) --to \(file) --blobs all \(keys)")
            #expect(backup.status == 0, "\(backup.output)")
            let before = try #require(try await bed.nodes()?["m1"])
            let authority = try String(contentsOfFile: "\(scene.state)/ca.pem", encoding: .utf8)
            // Seen by the agent, and not in the backup.
            try await bed.insist("node set m1 --rack later")
            try await scene.host("cp -a \(scene.state)/operator.token \(scene.path("token"))")
            try await scene.kill()
            try await scene.host("rm -rf \(scene.state)")

            try await refusals(bed, file, keys)
            let listed = try await scene.type("muster-conductor restore \(file) --list \(keys)")
            #expect(listed.status == 0 && listed.output.contains("Site 'crash'"), "\(listed.output)")
            #expect(listed.output.contains("baremetal.node: 1\n"), "\(listed.output)")
            let restored = try await scene.type("muster-conductor restore \(file) --state-dir \(scene.state) \(keys)")
            #expect(restored.status == 0, "\(restored.output)")

            try await scene.start("muster-conductor --state-dir \(scene.state) --local-loader /nonexistent")
            try await scene.host("cmp \(scene.state)/operator.token \(scene.path("token"))")
            #expect(try String(contentsOfFile: "\(scene.state)/ca.pem", encoding: .utf8) == authority)
            try await bed.waitForAgents(within: .seconds(60))
            let after = try #require(try await bed.nodes()?["m1"])
            #expect(after.id == before.id && after.state == "active")
            #expect(try await scene.metric("muster_agents_ahead_of_store") == "0")
            try await wait("the blobs are looked at") {
                try await scene.metric("muster_blobs_named").map { $0 != "0" } ?? false
            }
            #expect(try await scene.metric("muster_blobs_missing") == "0")
            let audit = try await scene.type("muster audit list")
            #expect(audit.output.contains("restore"), "\(audit.output)")
            // The vault opens: the BMC takes the password that is in it, and does as it is told.
            try await bed.insist("node power m1 off")
            try await wait("the machine is off") {
                try await bed.json(BMCDetail.self, "bmc show m1-bmc")?.bmc.status.power == .off
            }
        }
    }

    private func wait(_ what: String, _ isSo: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(60)
        while try await !isSo() {
            guard ContinuousClock.now < end else { throw CrashError(what: "not within a minute: \(what)") }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    /// What is not whole, not empty or not the right key changes nothing.
    private func refusals(_ bed: CrashBed, _ file: String, _ keys: String) async throws {
        let scene = bed.scene
        let state = scene.path("elsewhere")
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        for (what, content) in [
            (
                "changed",
                whole.prefix(whole.count / 2) + [whole[whole.count / 2] ^ 1] + whole.dropFirst(whole.count / 2 + 1)
            ),
            ("cut", whole.dropLast(100)),
        ] {
            try Data(content).write(to: URL(fileURLWithPath: scene.path(what)))
            let answer = try await scene.type(
                "muster-conductor restore \(scene.path(what)) --state-dir \(state) \(keys)")
            #expect(answer.status == 1 && answer.output.contains("was changed or cut off"), "\(answer.output)")
        }
        try scene.write("other", "another passphrase than that\n")
        chmod(scene.path("other"), 0o600)
        let wrong = try await scene.type(
            "muster-conductor restore \(file) --state-dir \(state) --passphrase-file \(scene.path("other"))")
        #expect(wrong.status == 1 && wrong.output.contains("not the one"), "\(wrong.output)")
        #expect(!FileManager.default.fileExists(atPath: state))
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
        try Data("mine".utf8).write(to: URL(fileURLWithPath: "\(state)/something"))
        let occupied = try await scene.type("muster-conductor restore \(file) --state-dir \(state) \(keys)")
        #expect(occupied.status == 1 && occupied.output.contains("something is there already"), "\(occupied.output)")
        try FileManager.default.removeItem(atPath: "\(state)/something")
        // As a restore that was killed leaves it.
        try Data().write(to: URL(fileURLWithPath: "\(state)/\(SiteRestore.unfinished)"))
        let unfinished = try await scene.type("muster-conductor --state-dir \(state)")
        #expect(unfinished.status == 1 && unfinished.output.contains("broken off"), "\(unfinished.output)")
    }
}
