import Foundation
import GRDB
import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing

/// The store's files as a kill, a snapshot or a backup finds them while a conductor commits.
@Suite(.enabled(if: geteuid() == 0, "the conductor needs root"))
struct StoreCopyTests {
    /// Opens a copy, and expects it to be whole and to have every one of `nodes`.
    private func check(_ copy: String, has nodes: some Sequence<String>, _ what: String) async throws {
        let queue = try DatabaseQueue(path: copy)
        let verdict = try await queue.read { try String.fetchAll($0, sql: "PRAGMA integrity_check") }
        try queue.close()
        #expect(verdict == ["ok"], "\(what): \(verdict)")
        let store = try await SQLiteStore.open(path: copy)
        for node in nodes {
            let found = try await store.get(ResourceKey(kind: "baremetal.node", name: node))
            #expect(found != nil, "\(what): node \(node) was acknowledged and is not there")
        }
        try await store.close()
    }

    /// Stops a process, and waits until each of its threads stands still: a write under way ends first.
    private func stop(_ process: pid_t) async throws {
        kill(process, SIGSTOP)
        try await waitUntil(.seconds(20)) {
            let tasks = "/proc/\(process)/task"
            return try FileManager.default.contentsOfDirectory(atPath: tasks).allSatisfy { task in
                let state = try? String(contentsOfFile: "\(tasks)/\(task)/stat", encoding: .utf8)
                return state?.split(separator: ")").last?.hasPrefix(" T") ?? true
            }
        }
    }

    @Test(.timeLimit(.minutes(4))) func copiesHaveAllThatWasAcknowledged() async throws {
        let seed: UInt64 = 4711
        try await ConductorScene.with("copies") { scene in
            try await scene.start("muster-conductor --state-dir \(scene.state) --log-level warning")
            let strangers = try Strangers(
                namespace: scene.namespace, folder: scene.path("strangers"), state: scene.state)
            let registering = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for lane in 0..<3 {
                        group.addTask { try await strangers.register(stride(from: lane, to: 3000, by: 3)) }
                    }
                    try await group.waitForAll()
                }
            }
            defer { registering.cancel() }
            try await waitUntil(.seconds(60)) { strangers.nodes.count > 5 }
            let found = try await Shell.run(
                "for p in $(ip netns pids \(scene.namespace)); do grep -sqx muster-conducto /proc/$p/comm && echo $p; done"
            )
            let process = try #require(pid_t(found.output.trimmingCharacters(in: .whitespacesAndNewlines)))
            var random = SeededRandom(seed: seed)
            for number in 0..<6 {
                try await Task.sleep(for: .milliseconds(Int.random(in: 10...700, using: &random)))
                let what = "seed \(seed), copy \(number)"
                let copy = scene.path("copy-\(number)")
                // While it stands still the files are what kill -9, or a snapshot of the file system, leaves.
                let acknowledged = strangers.nodes.values
                try await stop(process)
                // Whether the shared memory of readers is there makes no difference, nor who is copied first.
                let suffixes = (Bool.random(using: &random) ? ["", "-wal", "-shm"] : ["", "-wal"])
                    .shuffled(using: &random)
                for suffix in suffixes {
                    try FileManager.default.copyItem(
                        atPath: "\(scene.state)/store.sqlite\(suffix)", toPath: copy + suffix)
                }
                kill(process, SIGCONT)
                try await check(copy, has: acknowledged, what)
            }
            // A backup goes on beside the commits.
            for number in 0..<3 {
                let acknowledged = strangers.nodes.values
                let copy = scene.path("backup-\(number)")
                let answer = try await scene.type(
                    "muster-conductor --state-dir \(scene.state) --copy-store \(copy)")
                #expect(answer.status == 0, "\(answer.output)")
                let rights = try FileManager.default.attributesOfItem(atPath: copy)[.posixPermissions] as? Int
                #expect(rights.map { $0 & 0o777 } == 0o600)
                #expect(!FileManager.default.fileExists(atPath: copy + "-wal"))
                try await check(copy, has: acknowledged, "backup \(number)")
            }
            let missing = try await scene.type(
                "muster-conductor --state-dir \(scene.path("bin")) --copy-store \(scene.path("x"))")
            #expect(missing.status == 1 && missing.output.contains("store.sqlite"), "\(missing.output)")
            let count = strangers.nodes.count
            print("store copies: \(count) machines registered meanwhile")
            #expect(count > 30)
        }
    }
}
