import Foundation
import GRDB
import Primitives
import ResourceModel
import StoreMemory
import TestSupport

@testable import StoreSQLite

/// Where the conductor's store is: an engine, what it has acknowledged, and what can go wrong with it.
///
/// Faults are put in at the contract (a commit that fails, a crash before or after a commit is durable) and, on SQLite,
/// below it: the real engine meets a file that may not grow (SQLITE_FULL) and a lock that another connection holds
/// (SQLITE_BUSY). A crash leaves the files as they are at that moment.
final class StoreDisk: @unchecked Sendable {
    // SAFETY: touched on the simulation's thread only.
    let kind: Shape.Engine
    private(set) var engine: (any StoreMaintenance)?
    /// Every document that is durable, as the engine has said.
    private(set) var documents: [ResourceKey: Document] = [:]
    /// The commits, for those that watch.
    private(set) var history: [WatchBatch] = []
    var fullUntil: Int64 = 0
    var busyUntil: Int64 = 0

    private var folder: TemporaryDirectory?
    private var fileCount = 0
    private var isFull = false
    private var blocker: StoreBlocker?

    init(engine: Shape.Engine) { kind = engine }

    private var path: String { "\(folder?.path ?? "")/store-\(fileCount).sqlite" }

    // MARK: Life

    /// Opens the store, or what a crash has left of it, and holds it against what was acknowledged.
    func open(in world: World) async {
        do {
            switch kind {
            case .memory: engine = engine ?? MemoryStore(clock: world.wall)
            case .sqlite:
                if folder == nil { folder = try TemporaryDirectory() }
                let (path, wall) = (path, world.wall)
                engine = try await world.executor.abroad {
                    let store = try await SQLiteStore.open(path: path, clock: wall)
                    // Who is kept waiting here waits in real time.
                    try await store.pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA busy_timeout = 1") }
                    return store
                }
                try await compare(in: world)
            }
        } catch {
            world.violate(.acknowledged, "the store does not open: \(error)")
        }
    }

    func close(in world: World) async {
        blocker = nil
        if let store = engine as? SQLiteStore { try? await world.executor.abroad { try await store.close() } }
        engine = nil
        folder = nil
    }

    /// Takes the files as they are now, as after a process that was killed, and closes what wrote them.
    func crash(in world: World) async {
        guard kind == .sqlite, let store = engine as? SQLiteStore else { return }
        let before = path
        fileCount += 1
        blocker = nil
        engine = nil
        isFull = false
        for ending in ["", "-wal"] where FileManager.default.fileExists(atPath: before + ending) {
            try? FileManager.default.copyItem(atPath: before + ending, toPath: path + ending)
        }
        try? await world.executor.abroad { try await store.close() }
    }

    private func compare(in world: World) async throws {
        guard let engine else { return }
        var found: [ResourceKey: Document] = [:]
        var after: ResourceKey?
        while true {
            let start = after
            let page = try await world.executor.abroad { () throws(StoreError) in
                try await engine.list(kind: nil, after: start, limit: StoreLimits.pageCountMax)
            }
            for document in page.documents { found[document.key] = document }
            guard page.hasMore, let last = page.documents.last else { break }
            after = last.key
        }
        for key in Set(found.keys).union(documents.keys).sorted() where found[key] != documents[key] {
            world.violate(
                .acknowledged,
                "\(key) is of revision \(found[key].map { "\($0.revision)" } ?? "none"), acknowledged was "
                    + "\(documents[key].map { "\($0.revision)" } ?? "none")")
        }
    }

    // MARK: Commits

    /// Commits to the engine, with the disk as it is now.
    func commit(_ transaction: Transaction, in world: World) async throws(StoreError) -> Revision {
        guard let engine else { throw .unavailable("it is closed") }
        let isFull = fullUntil > world.now
        let isBusy = busyUntil > world.now
        if kind == .memory, isFull || isBusy { throw .unavailable(isFull ? "the disk is full" : "the store is busy") }
        if let store = engine as? SQLiteStore { try await prepare(store, isFull: isFull, isBusy: isBusy, world) }
        let revision = try await world.executor.abroad { () throws(StoreError) in
            try await engine.commit(transaction)
        }
        note(transaction, revision, world)
        return revision
    }

    private func prepare(
        _ store: SQLiteStore, isFull: Bool, isBusy: Bool, _ world: World
    ) async throws(StoreError) {
        if isBusy, blocker == nil {
            blocker = StoreBlocker(path: path)
        } else if !isBusy {
            blocker = nil
        }
        guard isFull != self.isFull else { return }
        self.isFull = isFull
        await world.executor.abroad { await store.limitSize(isFull) }
    }

    /// What is durable now; a condition that did not hold and a revision that is not the next are the engine's defects.
    private func note(_ transaction: Transaction, _ revision: Revision, _ world: World) {
        for condition in transaction.conditions where !condition.holds(for: documents[condition.key]) {
            world.violate(.acknowledged, "a commit was taken though \(condition) does not hold")
        }
        var changes: [WatchBatch.Change] = []
        for operation in transaction.operations {
            switch operation {
            case .put(let key, let value, let lease):
                let document = Document(key: key, revision: revision, value: value, lease: lease)
                documents[key] = document
                changes.append(.put(document))
            case .delete(let key):
                if documents.removeValue(forKey: key) != nil { changes.append(.deleted(key)) }
            }
        }
        if !changes.isEmpty { history.append(WatchBatch(revision: revision, changes: changes)) }
    }
}

extension SQLiteStore {
    /// Keeps the file from growing, or lets it grow again.
    func limitSize(_ isFull: Bool) async {
        try? await pool.writeWithoutTransaction { db in
            let pages = isFull ? try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 1 : 1_073_741_823
            try db.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
    }
}

/// Another connection that holds the write lock, until it is let go.
private final class StoreBlocker {
    private let queue: DatabaseQueue?

    init(path: String) {
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        configuration.busyMode = .timeout(1)
        queue = try? DatabaseQueue(path: path, configuration: configuration)
        try? queue?.writeWithoutTransaction { try $0.beginTransaction(.immediate) }
    }

    deinit {
        try? queue?.writeWithoutTransaction { try $0.rollback() }
        try? queue?.close()
    }
}
