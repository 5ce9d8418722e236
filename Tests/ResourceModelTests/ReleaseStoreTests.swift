import FoundationEssentials
import Primitives
import ResourceModel
import StoreSQLite
import TestSupport
import Testing

/// The store's file as releases have written it opens, holds all that it held, and goes on being written.
///
/// `Tests/Golden/releases/<version>/store.sqlite` has one commit for each line of `documents.tsv` beside it.
/// `MUSTER_REGENERATE_GOLDEN=1` writes it, for a release that has not gone out yet.
@Suite struct ReleaseStoreTests {
    private static let clock = ManualWallClock(Timestamp(millisecondsSinceEpoch: 1_795_000_000_000))

    private struct Named: Decodable {
        struct Metadata: Decodable { var name: String }
        var metadata: Metadata
    }

    private static func documents(_ release: String) throws -> [(key: ResourceKey, value: [UInt8])] {
        let text = String(decoding: try GoldenFile.contents(of: "releases/\(release)/documents.tsv"), as: UTF8.self)
        return try text.split(separator: "\n").map { line in
            let parts = line.split(separator: "\t", maxSplits: 1)
            let name = try JSONDecoder().decode(Named.self, from: Data(parts[1].utf8)).metadata.name
            return (ResourceKey(kind: String(parts[0]), name: name), Array(parts[1].utf8))
        }
    }

    @Test(arguments: ["0.1.0"]) func `a store of a release opens and is whole`(release: String) async throws {
        let directory = try TemporaryDirectory("release-store")
        let path = directory.appending("store.sqlite")
        let documents = try Self.documents(release)
        if ProcessInfo.processInfo.environment["MUSTER_REGENERATE_GOLDEN"] == "1" {
            let store = try await SQLiteStore.open(path: path, clock: Self.clock)
            for document in documents {
                _ = try await store.commit(Transaction(operations: [.put(document.key, document.value, lease: nil)]))
            }
            try await SQLiteProbe.execute(store, "PRAGMA wal_checkpoint(TRUNCATE)")
            try await store.close()
            try GoldenFile.replace("releases/\(release)/store.sqlite", Array(try Data(contentsOf: URL(filePath: path))))
        }
        try Data(GoldenFile.contents(of: "releases/\(release)/store.sqlite")).write(to: URL(filePath: path))
        let store = try await SQLiteStore.open(path: path, clock: Self.clock)
        #expect(try await store.currentRevision() == Revision(UInt64(documents.count)))
        for (index, document) in documents.enumerated() {
            let expected = Document(key: document.key, revision: Revision(UInt64(index + 1)), value: document.value)
            #expect(try await store.get(document.key) == expected)
        }
        let next = try await store.commit(
            Transaction(operations: [.put(ResourceKey(kind: "test.thing", name: "new"), [1], lease: nil)]))
        var seen: [Revision] = []
        for try await batch in await store.watch(after: Revision(UInt64(documents.count - 2))) {
            seen.append(batch.revision)
            if batch.revision == next { break }
        }
        #expect(seen.count == 3, "the history of the release is replayed, then what came after it")
        try await store.close()
    }
}
