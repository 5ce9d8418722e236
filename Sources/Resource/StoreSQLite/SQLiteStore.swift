import FoundationEssentials
import GRDB
import Primitives
import ResourceModel
import Synchronization

/// How much a SQLite store keeps and takes on.
public struct SQLiteStoreOptions: Sendable, Hashable {
    /// The commits kept for watches; older ones are compacted away.
    public var historyCountMax: Int
    /// Batches that a slow watch may be behind.
    public var watchQueueMax: Int
    /// Commits that wait for the disk; more are refused with `StoreError.limitExceeded`.
    public var pendingCountMax: Int
    /// Commits that share one transaction of the engine, and so one wait for the disk.
    public var groupCountMax: Int

    /// The default figures.
    public init(
        historyCountMax: Int = 10_000, watchQueueMax: Int = StoreLimits.watchQueueMax, pendingCountMax: Int = 10_000,
        groupCountMax: Int = 256
    ) {
        precondition(
            historyCountMax > 0 && watchQueueMax > 0 && pendingCountMax > 0 && groupCountMax > 0, "no valid options")
        self.historyCountMax = historyCountMax
        self.watchQueueMax = watchQueueMax
        self.pendingCountMax = pendingCountMax
        self.groupCountMax = groupCountMax
    }
}

/// The embedded store: one SQLite file in WAL mode with `synchronous=FULL`.
///
/// Commits that arrive while the disk is busy share the next transaction of the engine: each is checked in order,
/// all are on the disk before any is acknowledged. A lease begins its whole time anew when the store is opened. Leases
/// end and bookmarks are sent only when `StoreMaintenance` is called.
public final class SQLiteStore: StoreMaintenance {
    let pool: DatabasePool
    /// Which history of commits this is.
    public let identity: StoreIdentity
    private let writer: SQLiteWriter
    private let hub: WatchHub
    private let leases: LeaseTable
    private let clock: any WallClock
    private let lock: StoreLock
    private let path: String
    /// The newest revision that any reader has seen: no later answer may show less.
    private let seen: Mutex<Revision>

    /// Opens the store in the file `path`, or makes it; holds `<path>.lock` until it is closed.
    ///
    /// Throws `StoreError.inUse` when another process (or this one) has it open, `.tooNew` when a newer version wrote
    /// it, `.unavailable` when the file cannot be used.
    public static func open(
        path: String, clock: any WallClock = SystemWallClock(), options: SQLiteStoreOptions = SQLiteStoreOptions()
    ) async throws(StoreError) -> SQLiteStore {
        try SQLiteStore(path: path, clock: clock, options: options)
    }

    private init(path: String, clock: any WallClock, options: SQLiteStoreOptions) throws(StoreError) {
        self.path = path
        self.clock = clock
        lock = try StoreLock(path: path)
        do {
            (pool, leases) = try SQLiteSchema.open(path, now: clock.now)
            let (position, found) = try pool.read { (try StorePosition($0), try SQLiteSchema.identity($0)) }
            guard let found else { throw StoreError.unavailable("the file is damaged; restore a backup") }
            identity = found
            hub = WatchHub(at: position.revision, queueMax: options.watchQueueMax)
            seen = Mutex(position.revision)
            writer = SQLiteWriter(
                pool: pool, position: position, leases: leases, hub: hub, clock: clock, path: path, options: options)
        } catch {
            throw .engine(error, path: path)
        }
    }

    /// Finishes what has been handed in, ends all watches, and lets go of the file.
    public func close() async throws(StoreError) {
        await writer.close()
        hub.end(.unavailable("it has been closed"))
        do {
            try pool.close()
        } catch {
            throw .engine(error, path: path)
        }
        lock.release()
    }

    /// Lets the store in the file `path`, which no process has open, begin a new history after what it holds.
    ///
    /// It gets another identity, and all that is committed from now on comes after `beyond`, so that nobody who has seen
    /// the lost commits takes new ones for them. Watches from before have to list anew. Throws as `open`.
    public static func beginNewHistory(
        path: String, beyond: Revision, clock: any WallClock = SystemWallClock()
    ) throws(StoreError) {
        let lock = try StoreLock(path: path)
        defer { lock.release() }
        do {
            let (pool, _) = try SQLiteSchema.open(path, now: clock.now)
            try pool.write { db in
                var position = try StorePosition(db)
                position.revision = max(position.revision, beyond)
                position.compacted = position.revision
                try position.save(db)
                try db.execute(sql: "DELETE FROM history")
                try SQLiteSchema.setIdentity(.random(), db)
            }
            try pool.close()
        } catch {
            throw .engine(error, path: path)
        }
    }

    /// Writes a copy of the store in the file `path`, which a conductor may be using, to the file `copy` (mode 0600, in
    /// the place of one that is there): whole, as of one revision, with all that was acknowledged before. Blocks.
    ///
    /// Throws `StoreError.unavailable` or `.diskFull`; an older file `copy` is left as it was then.
    public static func copy(path: String, to copy: String) throws(StoreError) {
        do {
            try SQLiteSchema.copy(path, to: copy)
        } catch {
            throw .engine(error, path: path)
        }
    }

    public func currentRevision() async throws(StoreError) -> Revision {
        let committed = writer.revision
        return seen.withLock { seen in
            seen = max(seen, committed)
            return seen
        }
    }

    /// The newest commit that is on the disk.
    public var newestRevision: Revision { writer.revision }

    /// The writes that the engine has failed so far, and why the last of them failed; not those that it refused.
    public var failures: (count: Int, last: StoreError?) { writer.failures }

    /// Writes what is there already, to find out whether the disk takes writes; throws what the engine says.
    public func tryWriting() async throws(StoreError) {
        try await writer.submit { $0.touch() }
    }

    public func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
        try await read { db in
            let statement = try db.cachedStatement(
                sql: "SELECT kind, name, revision, lease, value FROM documents WHERE kind = ? AND name = ?")
            return try Row.fetchOne(statement, arguments: [key.kind, key.name]).map(Document.init(row:))
        }.value
    }

    public func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        guard limit > 0 else { throw .invalid("a page has at least one document") }
        let limit = min(limit, StoreLimits.pageCountMax)
        let (found, revision) = try await read { db in
            // With a kind, no comparison of pairs: SQLite would begin at the kind's first document for every page.
            let (condition, start): (String, StatementArguments) =
                switch kind {
                case nil: ("(kind, name) > (?, ?)", [after?.kind ?? "", after?.name ?? ""])
                case .some(let kind) where after.map { $0.kind <= kind } ?? true:
                    ("kind = ? AND name > ?", [kind, after?.kind == kind ? after?.name ?? "" : ""])
                case .some: ("FALSE", [])
                }
            let statement = try db.cachedStatement(
                sql: """
                    SELECT kind, name, revision, lease, value FROM documents WHERE \(condition)
                    ORDER BY kind, name LIMIT ?
                    """)
            return try Row.fetchAll(statement, arguments: start + [limit + 1]).map(Document.init(row:))
        }
        return Page(documents: Array(found.prefix(limit)), revision: revision, hasMore: found.count > limit)
    }

    public func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        try transaction.validate()
        return try await writer.submit { try $0.commit(transaction) }
    }

    public func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        let newest = max(writer.revision, seen.withLock { $0 })
        guard revision <= newest else {
            let error = StoreError.invalid("revision \(revision) has not been committed yet; the newest is \(newest)")
            return AsyncThrowingStream { throw error }
        }
        return hub.watch(after: revision) { [weak self] after, through in
            guard let self else { throw StoreError.unavailable("it has been closed") }
            return try await self.read { try StoreHistory.read($0, after: after, through: through) }.value
        }
    }

    public func compact(through revision: Revision) async throws(StoreError) {
        try await writer.submit { try $0.compact(through: revision) }
    }

    public func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        guard timeToLive > .zero else { throw .invalid("a lease lives longer than no time at all") }
        return try await writer.submit { try $0.grantLease(timeToLive: timeToLive) }
    }

    public func renewLease(_ lease: LeaseID) async throws(StoreError) { try leases.renew(lease, now: clock.now) }

    public func revokeLease(_ lease: LeaseID) async throws(StoreError) {
        try await writer.submit { writing in
            try writing.requireLease(lease)
            try writing.endLease(lease)
        }
    }

    public func expireLeases(now: Timestamp) async throws(StoreError) {
        let ended = leases.condemn(now: now)
        guard !ended.isEmpty else { return }
        try await writer.submit { writing in
            for lease in ended { try writing.endLease(lease) }
        }
    }

    public func sendBookmarks() { hub.sendBookmarks() }

    /// Reads outside of Swift's pool of threads, in one snapshot, and notes its revision as seen.
    private func read<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(StoreError) -> (value: Value, revision: Revision) {
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Result<(Value, Revision), any Error>, Never>) in
            pool.asyncRead { snapshot in
                done.resume(
                    returning: Result {
                        let db = try snapshot.get()
                        return (try body(db), try StorePosition(db).revision)
                    })
            }
        }
        do {
            let (value, revision) = try result.get()
            seen.withLock { $0 = max($0, revision) }
            return (value, revision)
        } catch {
            throw .engine(error, path: path)
        }
    }
}

extension Document {
    /// A row of kind, name, revision, lease and value.
    init(row: Row) {
        let lease: Int64? = row[3]
        self.init(
            key: ResourceKey(kind: row[0], name: row[1]), revision: Revision(UInt64(row[2] as Int64)),
            value: [UInt8](row[4] as Data), lease: lease.map { LeaseID($0) })
    }
}
