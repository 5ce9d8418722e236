import FleetContract
import Foundation
import Primitives
import TestSupport
import Testing

/// A conductor whose state is on a disk that fills up.
@Suite(.enabled(if: geteuid() == 0, "the conductor needs root"))
struct FullDiskTests {
    private func ready(_ scene: ConductorScene) async throws -> String {
        try await scene.type(
            "curl -s -o /dev/null -w '%{http_code}' --cacert \(scene.state)/ca.pem https://127.0.0.1:9443\(FleetPath.ready)"
        ).output
    }

    private func wait(_ what: String, _ condition: () async throws -> Bool) async throws {
        for _ in 0..<150 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(200))
        }
        Issue.record("\(what): not within half a minute")
        throw CancellationError()
    }

    /// The identifiers of all nodes.
    private func nodes(_ scene: ConductorScene) async throws -> Set<String> {
        let answer = try await scene.type("muster node list --json")
        try #require(answer.status == 0, "\(answer.output)")
        return Set(try JSONDecoder().decode(NodeList.self, from: Data(answer.output.utf8)).nodes.map(\.id.raw))
    }

    @Test(.timeLimit(.minutes(4))) func itSaysSoLosesNothingAndGoesOnByItself() async throws {
        try await ConductorScene.with("full") { scene in
            try await scene.mountState(mebibytes: 24)
            let line = "muster-conductor --state-dir \(scene.state) --log-level warning"
            try await scene.start(line)
            let strangers = try Strangers(
                namespace: scene.namespace, folder: scene.path("strangers"), state: scene.state)
            try await strangers.register(0..<10)
            #expect(try await scene.metric("muster_store_writable") == "1")
            #expect(try await ready(scene) == "200")

            // The disk is filled up; before the last page is taken a few more may fit.
            try await scene.host("dd if=/dev/zero of=\(scene.state)/ballast bs=4k status=none || true")
            var number = 10
            while number < 400, try await strangers.tryOnce(number) { number += 1 }
            let refusal = try #require(strangers.lastRefusal, "\(number) strangers were taken by a full disk")
            #expect(["503", "507"].contains(refusal.status), "\(refusal)")
            #expect(refusal.text.contains("is full") && refusal.text.contains("free some space"), "\(refusal)")

            try scene.write("site.yaml", "site: { name: full, sshKeyFilesEnv: MUSTER_SSH_KEY_FILE }\n")
            let ordered = try await scene.type("muster site apply \(scene.path("site.yaml"))")
            #expect(ordered.status == 1 && ordered.output.contains("is full and nothing was changed"), "\(ordered)")
            try await wait("the figures to tell") { try await scene.metric("muster_store_writable") == "0" }
            #expect(try await ready(scene) == "503")
            #expect(
                try await scene.metric("muster_state_disk_free_bytes").flatMap { Double($0) }.map { $0 < 1e6 } == true)
            let before = strangers.nodes
            #expect(before.count == number)
            #expect(try await nodes(scene).isSuperset(of: before.values))

            // Also after kill -9 it starts on the full disk, and shows all that it has acknowledged.
            try await scene.kill()
            try await scene.start(line)
            #expect(try await nodes(scene).isSuperset(of: before.values))
            let refused = try await scene.type("muster site apply \(scene.path("site.yaml"))")
            #expect(refused.status == 1 && refused.output.contains("is full"), "\(refused)")

            try await scene.host("rm \(scene.state)/ballast")
            try await wait("the conductor to be ready again") { try await ready(scene) == "200" }
            #expect(try await scene.metric("muster_store_writable") == "1")
            #expect(try await strangers.tryOnce(number), "\(strangers.lastRefusal as Any)")
            let applied = try await scene.type("muster site apply \(scene.path("site.yaml"))")
            #expect(applied.status == 0, "\(applied.output)")
            let all = try await nodes(scene)
            #expect(all == Set(strangers.nodes.values), "\(all.count) nodes, \(strangers.nodes.count) acknowledged")
        }
    }
}
