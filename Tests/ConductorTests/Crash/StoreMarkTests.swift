import CatalogIdentity
import Foundation
import Logging
import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing

@testable import ConductorServer

/// A store that was put back is noticed by the mark beside it.
@Suite struct StoreMarkTests {
    private let directory: TemporaryDirectory
    private let mark: StoreMarkFile
    private let clock = SystemWallClock()
    private let logger = Logger(label: "test")

    init() throws {
        directory = try TemporaryDirectory("mark")
        mark = StoreMarkFile(directory: directory.path)
    }

    private func open(acceptsOlder: Bool = false) async throws -> (store: SQLiteStore, event: AuditEventSpec?) {
        try await mark.openStore(acceptsOlder: acceptsOlder, clock: clock, logger: logger)
    }

    /// Commits `count` documents, and notes how far the store has come.
    private func work(_ store: SQLiteStore, _ count: Int) async throws {
        for number in 0..<count {
            _ = try await store.commit(
                Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: "n\(number)"), Array("1".utf8))]))
        }
        StoreWatch(store: store, mark: mark, clock: clock, logger: logger).saveMark()
    }

    private func copy(_ from: String, _ to: String) throws {
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: to + suffix)
            if FileManager.default.fileExists(atPath: from + suffix) {
                try FileManager.default.copyItem(atPath: from + suffix, toPath: to + suffix)
            }
        }
    }

    private func refusal() async throws -> StoreMarkError? {
        do {
            let (store, _) = try await open()
            try await store.close()
            return nil
        } catch let error as StoreMarkError {
            return error
        }
    }

    @Test func theNewestStoreIsOpenedAsItIs() async throws {
        let (first, event) = try await open()
        #expect(event == nil)
        try await work(first, 3)
        // Commits after the last mark are none the worse for it.
        _ = try await first.commit(
            Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: "late"), Array("1".utf8))]))
        try await first.close()
        #expect(try mark.load()?.revision == Revision(3))
        #expect(try await refusal() == nil)
    }

    @Test func anOlderCopyIsRefusedThenTakenOnRequest() async throws {
        let (first, _) = try await open()
        try await work(first, 3)
        try await first.close()
        try copy(mark.storePath, directory.appending("copy"))
        let (again, _) = try await open()
        try await work(again, 9)
        let known = try #require(try mark.load())
        try await again.close()
        try copy(directory.appending("copy"), mark.storePath)

        let error = try #require(try await refusal())
        #expect(error == .older(mark.storePath, found: Revision(3), known: known))
        #expect(error.publicMessage.contains("9 changes are not in it"), "\(error.publicMessage)")
        #expect(error.publicMessage.contains("--accept-older-store"))
        #expect(try mark.load() == known, "a refusal changes nothing")

        let (taken, event) = try await open(acceptsOlder: true)
        #expect(taken.identity != known.identity)
        #expect(taken.newestRevision > known.revision, "no revision that was lost is given again")
        #expect(event?.verb == "accept a store" && event?.summary?.contains("9 changes are not in it") == true)
        try await work(taken, 1)
        try await taken.close()
        #expect(try await refusal() == nil)
        // The one that was there before has another history now, though it has come as far.
        try copy(directory.appending("copy"), mark.storePath)
        guard case .another = try await refusal() else {
            Issue.record("a store of the old history was taken")
            return
        }
    }

    @Test func aStoreThatIsGoneIsNotBegunAnew() async throws {
        let (first, _) = try await open()
        try await work(first, 3)
        try await first.close()
        try FileManager.default.removeItem(atPath: mark.storePath)
        guard case .missing = try await refusal() else {
            Issue.record("an empty store was begun")
            return
        }
        #expect(!FileManager.default.fileExists(atPath: mark.storePath))
        let (empty, event) = try await open(acceptsOlder: true)
        #expect(event != nil && empty.newestRevision > Revision(3))
        try await empty.close()
    }

    @Test func aMarkThatIsDamagedIsNotGuessedAt() async throws {
        let (first, _) = try await open()
        try await work(first, 1)
        try await first.close()
        let whole = try String(contentsOfFile: mark.path, encoding: .utf8)
        for text in ["", "muster-store-mark 2\n", String(whole.dropLast(20)), whole.replacing("\n", with: " ")] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: mark.path))
            await #expect(throws: (any Error).self, "\(text)") { try await open() }
        }
    }
}

/// The same with the program.
@Suite(.enabled(if: geteuid() == 0, "the conductor needs root"))
struct OlderStoreTests {
    @Test(.timeLimit(.minutes(3))) func aConductorWithAnOlderStoreSaysSoAndAuditsItsAcceptance() async throws {
        try await ConductorScene.with("older") { scene in
            let line = "muster-conductor --state-dir \(scene.state)"
            try await scene.start(line)
            // A copy as a snapshot of the file system makes it, then more that is acknowledged.
            try await scene.kill()
            try await scene.host("cp -a \(scene.state) \(scene.path("copy"))")
            try await scene.start(line)
            try scene.write("image.raw", String(repeating: "an image of a node\n", count: 10_000))
            let pushed = try await scene.type(
                "muster image push newer --role network --file \(scene.path("image.raw"))")
            #expect(pushed.status == 0, "\(pushed.output)")
            let newest = try #require(try await scene.metric("muster_store_revision").flatMap { UInt64($0) })
            let mark = StoreMarkFile(directory: scene.state)
            try await waitUntil { try (mark.load()?.revision ?? .zero) >= Revision(newest) }
            try await scene.kill()
            try await scene.host(
                "rm \(scene.state)/store.sqlite*; cp -a \(scene.path("copy"))/store.sqlite* \(scene.state)/")

            let refused = try await scene.type(line)
            #expect(refused.status == 1)
            #expect(refused.output.contains("is older than the store that was here"), "\(refused.output)")
            #expect(refused.output.contains("--accept-older-store"))

            try await scene.start("\(line) --accept-older-store")
            let audit = try await scene.type("muster audit list")
            #expect(audit.output.contains("accept a store"), "\(audit.output)")
            let images = try await scene.type("muster image list")
            #expect(images.status == 0 && !images.output.contains("newer"), "\(images.output)")
            try await scene.kill()
            try await scene.start(line)
        }
    }
}
