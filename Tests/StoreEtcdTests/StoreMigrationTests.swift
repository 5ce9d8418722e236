import ConductorServer
import EtcdBed
import Primitives
import ProgramRuns
import ResourceModel
import StoreEtcd
import StoreMemory
import StoreSQLite
import TestSupport
import Testing

/// Documents moved between engines: all of them, byte for byte, and revisions that go on.
@Suite(.serialized) struct StoreMigrationTests {
    private static func document(_ number: Int) -> (ResourceKey, [UInt8]) {
        // Members that no version of this program knows, and bytes that a decoder would write differently.
        let text = #"{ "spec":{"a": 1.50,"later":[null,"\u00e9"]},  "number":\#(number) }"#
        return (ResourceKey(kind: "test.kind-\(number % 7)", name: "n\(number)"), Array(text.utf8))
    }

    private static func fill(_ store: any ResourceStore, _ count: Int) async throws {
        for part in stride(from: 0, to: count, by: 100) {
            let documents = (part..<min(part + 100, count)).map(document)
            _ = try await store.commit(Transaction(operations: documents.map { .put($0, $1) }))
        }
    }

    private static func check(_ store: any ResourceStore, _ count: Int) async throws {
        for number in stride(from: 0, to: count, by: 97) {
            let (key, value) = document(number)
            #expect(try await store.get(key)?.value == value)
        }
    }

    @Test func `ten thousand documents go from SQLite to etcd and back`() async throws {
        let count = 10_000
        let directory = try TemporaryDirectory("migration")
        let scene = try await EtcdScene(members: 3)
        let file = directory.appending("first.sqlite")
        let first = try await SQLiteStore.open(path: file)
        try await Self.fill(first, count)
        let lease = try await first.grantLease(timeToLive: .seconds(60))
        let tied = ResourceKey(kind: "test.tied", name: "a")
        let before = try await first.commit(Transaction(operations: [.put(tied, [1], lease: lease)]))

        let configuration = scene.configuration()
        await #expect(throws: StoreError.inUse(file)) {
            try await StoreMove.toEtcd(file, configuration, logger: quiet)
        }
        try await first.close()
        let there = try await StoreMove.toEtcd(file, configuration, logger: quiet)
        #expect(there.count == count && there.documents.count == 7 && there.leftOut == 1)
        #expect(there.revision == before)
        let etcd = try await EtcdStore.open(configuration, logger: quiet)
        try await Self.check(etcd, count)
        #expect(try await etcd.get(tied) == nil)
        #expect(try await etcd.currentRevision() > before)
        await #expect(throws: MigrationError.notEmpty(Self.document(0).0)) {
            try await StoreMove.toEtcd(file, configuration, logger: quiet)
        }
        #expect(try await StoreMigration.isUnfinished(in: etcd) == false)

        let other = directory.appending("second.sqlite")
        let conductor = try await etcd.grantLease(timeToLive: .seconds(60))
        _ = try await etcd.commit(Transaction(operations: [.put(tied, [1], lease: conductor)]))
        await #expect(throws: MigrationError.inUse(tied)) {
            try await StoreMove.toSQLite(other, configuration, logger: quiet)
        }
        try await etcd.revokeLease(conductor)
        try await etcd.close()
        let back = try await StoreMove.toSQLite(other, configuration, logger: quiet)
        #expect(back.documents == there.documents && back.bytes == there.bytes)
        let second = try await SQLiteStore.open(path: other)
        try await Self.check(second, count)
        #expect(try await second.currentRevision() >= back.revision)
        try await second.close()
    }

    @Test func `a store that is not empty is not copied to; what was broken off is begun anew`() async throws {
        let (source, target) = (MemoryStore(), MemoryStore())
        try await Self.fill(source, 1200)
        let stranger = ResourceKey(kind: "test.thing", name: "stranger")
        _ = try await target.commit(Transaction(operations: [.put(stranger, [1])]))
        await #expect(throws: MigrationError.notEmpty(stranger)) {
            try await StoreMigration(from: source, to: target).run()
        }
        #expect(try await target.get(stranger)?.value == [1])
        // As a copy that was broken off leaves it.
        _ = try await target.commit(
            Transaction(operations: [.put(StoreMigration.mark, [1]), .put(Self.document(3).0, [9])]))
        #expect(try await StoreMigration.isUnfinished(in: target))
        let report = try await StoreMigration(from: source, to: target).run()
        #expect(report.count == 1200)
        #expect(try await !StoreMigration.isUnfinished(in: target))
        #expect(try await target.get(stranger) == nil)
        try await Self.check(target, 1200)
    }

    @Test func `each call may be made again, and what an older attempt has under way is void`() async throws {
        let (source, target) = (MemoryStore(), MemoryStore())
        try await Self.fill(source, 300)
        let migration = StoreMigration(from: source, to: target)
        let first = try await migration.reserve()
        _ = try await migration.copy(under: first)
        let second = try await migration.reserve()
        #expect(first != second)
        let taken = StoreError.conflict(StoreMigration.mark)
        await #expect(throws: taken) { try await migration.copy(under: first) }
        await #expect(throws: taken) { try await migration.open(first) }
        let once = try await migration.copy(under: second)
        let report = try await migration.copy(under: second)
        #expect(once == report && report.count == 300)
        try await migration.verify(report)
        try await migration.verify(report)
        #expect(try await StoreMigration.isUnfinished(in: target))
        let added = ResourceKey(kind: "test.thing", name: "added")
        _ = try await migration.open(second, with: [.put(added, [7]), .delete(Self.document(0).0)])
        #expect(try await !StoreMigration.isUnfinished(in: target))
        #expect(try await target.get(added)?.value == [7])
        #expect(try await target.get(Self.document(0).0) == nil)
        await #expect(throws: taken) { try await migration.open(second) }
        await #expect(throws: MigrationError.self) { try await migration.reserve() }
    }

    @Test func `a copy that somebody has changed, or whose source has changed, is not verified`() async throws {
        let (source, target) = (MemoryStore(), MemoryStore())
        try await Self.fill(source, 150)
        let migration = StoreMigration(from: source, to: target)
        let reservation = try await migration.reserve()
        let report = try await migration.copy(under: reservation)
        let (key, value) = Self.document(77)
        _ = try await target.commit(Transaction(operations: [.put(key, [1])]))
        await #expect(throws: MigrationError.differs(key)) { try await migration.verify(report) }
        _ = try await target.commit(Transaction(operations: [.put(key, value)]))
        try await migration.verify(report)
        _ = try await source.commit(Transaction(operations: [.put(key, value)]))
        await #expect(throws: MigrationError.sourceChanged) { try await migration.verify(report) }
    }

    @Test func `what is written meanwhile is found`() async throws {
        let source = MemoryStore()
        try await Self.fill(source, 300)
        let meddled = MeddledStore(MemoryStore()) {
            _ = try? await source.commit(Transaction(operations: [.put(Self.document(5).0, [1])]))
        }
        await #expect(throws: MigrationError.self) { try await StoreMigration(from: source, to: meddled).run() }
        #expect(try await StoreMigration.isUnfinished(in: meddled))
    }

    @Test func `a new history gives no revision twice, and readers of the old one list anew`() async throws {
        let scene = try await EtcdScene(members: 1)
        let configuration = scene.configuration()
        let key = ResourceKey(kind: "test.thing", name: "a")
        let old = try await EtcdStore.open(configuration, logger: quiet)
        let revision = try await old.commit(Transaction(operations: [.put(key, [1])]))
        try await old.close()
        try await EtcdStore.beginNewHistory(configuration, beyond: Revision(5000), logger: quiet)
        let store = try await EtcdStore.open(configuration, logger: quiet)
        #expect(store.identity != old.identity)
        let document = try #require(try await store.get(key))
        let listed = try await store.list(kind: nil, after: nil, limit: 10).revision
        let next = try await store.commit(
            Transaction(conditions: [.unchanged(key, since: document.revision)], operations: [.put(key, [2])]))
        #expect(next > Revision(5000))
        await #expect(throws: StoreError.conflict(key)) {
            try await store.commit(
                Transaction(conditions: [.unchanged(key, since: revision)], operations: [.put(key, [3])]))
        }
        for lost in [revision, Revision(4000)] {
            await #expect(throws: StoreError.self) {
                for try await _ in await store.watch(after: lost) { continue }
            }
        }
        for try await batch in await store.watch(after: listed) where !batch.isBookmark {
            #expect(batch.revision == next)
            break
        }
        try await store.close()
    }

    @Test func `a store that is open while a new history begins ends, and does not put the old one back`() async throws
    {
        let scene = try await EtcdScene(members: 1)
        let configuration = scene.configuration()
        let old = try await EtcdStore.open(configuration, logger: quiet)
        try await EtcdStore.beginNewHistory(configuration, beyond: Revision(5000), logger: quiet)
        // Its watch stays behind what somebody else has written, so it moves the mark on.
        let watch = await old.watch(after: try await old.currentRevision())
        let outcome = try await scene.cluster.control(
            ["--endpoints", scene.cluster.endpoints[0], "put", "/elsewhere", "1"]
        ).finish()
        #expect(outcome.status == 0)
        _ = try await old.currentRevision()
        await #expect(throws: StoreError.self) {
            try await withDeadline(.seconds(10)) { for try await _ in watch { continue } }
        }
        let store = try await EtcdStore.open(configuration, logger: quiet)
        #expect(store.identity != old.identity)
        #expect(try await store.currentRevision() > Revision(5000))
        try await store.close()
        try await old.close()
    }

    @Test func `stores that open while a new history begins do not put the old one back`() async throws {
        let scene = try await EtcdScene(members: 1)
        let configuration = scene.configuration()
        try await EtcdStore.open(configuration, logger: quiet).close()
        for round in 1...10 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<6 {
                    group.addTask { try await EtcdStore.open(configuration, logger: quiet).close() }
                }
                group.addTask {
                    // Another one that has just opened it may be in the way.
                    while true {
                        do {
                            return try await EtcdStore.beginNewHistory(
                                configuration, beyond: Revision(UInt64(round) * 5000), logger: quiet)
                        } catch let error as StoreError {
                            guard case .inUse = error else { throw error }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let store = try await EtcdStore.open(configuration, logger: quiet)
            #expect(try await store.currentRevision() > Revision(UInt64(round) * 5000), "round \(round)")
            try await store.close()
        }
    }
}

/// A store that has something done at the first commit.
private struct MeddledStore: ResourceStore {
    private let store: MemoryStore
    private let meddle: @Sendable () async -> Void

    init(_ store: MemoryStore, _ meddle: @escaping @Sendable () async -> Void) {
        self.store = store
        self.meddle = meddle
    }

    func currentRevision() async throws(StoreError) -> Revision { try await store.currentRevision() }
    func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await store.get(key) }
    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await store.list(kind: kind, after: after, limit: limit)
    }
    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        if transaction.operations.count > 1 { await meddle() }
        return try await store.commit(transaction)
    }
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await store.watch(after: revision)
    }
    func compact(through revision: Revision) async throws(StoreError) { try await store.compact(through: revision) }
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await store.grantLease(timeToLive: timeToLive)
    }
    func renewLease(_ lease: LeaseID) async throws(StoreError) { try await store.renewLease(lease) }
    func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await store.revokeLease(lease) }
}
