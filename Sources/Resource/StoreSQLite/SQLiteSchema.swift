import GRDB
import Primitives
import ResourceModel

#if canImport(Glibc)
    import Glibc
#endif

/// The tables of the store and how a file is opened.
///
/// Migrations only expand. A file that a newer version wrote is refused before anything is changed in it.
enum SQLiteSchema {
    /// The format that this program writes.
    static let version = 1

    static func open(_ path: String, now: Timestamp) throws -> (DatabasePool, LeaseTable) {
        try makePrivateFile(path)
        try checkUnchanged(path)
        var configuration = Configuration()
        configuration.label = "store"
        configuration.busyMode = .timeout(5)
        configuration.maximumReaderCount = 8
        let pool = try DatabasePool(path: path, configuration: configuration)
        try pool.writeWithoutTransaction { db in
            // The connection pool sets NORMAL, which may lose acknowledged commits when the power fails.
            try db.execute(sql: "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864")
            try db.inTransaction(.immediate) {
                try migrate(db)
                if try identity(db) == nil { try setIdentity(.random(), db) }
                return .commit
            }
        }
        syncParentDirectory(of: path)
        let rows = try pool.read { try Row.fetchAll($0, sql: "SELECT id, time_to_live FROM leases") }
        let leases = rows.map { (LeaseID($0[0]), Duration.milliseconds($0[1] as Int64)) }
        return (pool, LeaseTable(leases, now: now))
    }

    /// Refuses a file that is no store of this version while it is as it was found: a pool would write to it at once.
    private static func checkUnchanged(_ path: String) throws {
        var info = stat()
        guard stat(path, &info) == 0 else { throw StoreError.system("look at", path) }
        guard info.st_size > 0 else { return }
        var configuration = Configuration()
        configuration.label = "store-check"
        configuration.readonly = true
        configuration.busyMode = .timeout(5)
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            _ = try queue.read { try isStore($0) }
        } catch let error as DatabaseError where error.resultCode == .SQLITE_READONLY {
            // A crash left what only a writer can undo; `migrate` checks after that.
        }
    }

    private static func migrate(_ db: Database) throws {
        if try !isStore(db) { try create(db) }
    }

    /// Whether the tables are there, false in an empty file; throws when they are not of this version or of a store.
    private static func isStore(_ db: Database) throws -> Bool {
        guard try db.tableExists("meta") else {
            guard try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") == 0 else {
                throw StoreError.unavailable("the file is an SQLite database of another program; choose another path")
            }
            return false
        }
        let found = try Int.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'schema'") ?? 0
        guard found <= version else { throw StoreError.tooNew(found: found, supported: version) }
        guard found == version else {
            throw StoreError.unavailable("the file has format \(found), which no version has written; restore a backup")
        }
        return true
    }

    /// Which history the file holds; nil in one that was made before stores had identities.
    static func identity(_ db: Database) throws -> StoreIdentity? {
        try Int64.fetchOne(db, sql: "SELECT value FROM meta WHERE name = 'identity'").map { StoreIdentity($0) }
    }

    static func setIdentity(_ identity: StoreIdentity, _ db: Database) throws {
        try db.execute(sql: "INSERT OR REPLACE INTO meta VALUES ('identity', ?)", arguments: [identity.number])
    }

    private static func create(_ db: Database) throws {
        try db.execute(
            sql: """
                CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
                INSERT INTO meta VALUES ('schema', \(version)), ('revision', 0), ('compacted', 0);
                CREATE TABLE documents (
                    kind TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL, lease INTEGER,
                    value BLOB NOT NULL, PRIMARY KEY (kind, name));
                CREATE INDEX documents_by_lease ON documents (lease) WHERE lease IS NOT NULL;
                CREATE TABLE history (
                    revision INTEGER NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
                    lease INTEGER, value BLOB, PRIMARY KEY (revision, position));
                CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, time_to_live INTEGER NOT NULL);
                """)
    }

    /// Copies by `VACUUM INTO`, which reads one snapshot; it syncs nothing by itself.
    static func copy(_ path: String, to copy: String) throws {
        guard access(path, R_OK) == 0 else { throw StoreError.system("read", path) }
        let temporary = "\(copy).\(getpid()).tmp"
        let file = Glibc.open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw StoreError.system("make", temporary) }
        defer {
            Glibc.close(file)
            unlink(temporary)
        }
        var configuration = Configuration()
        configuration.label = "store-copy"
        configuration.busyMode = .timeout(30)
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        defer { try? queue.close() }
        try queue.writeWithoutTransaction { db in
            guard try isStore(db) else { throw StoreError.unavailable("\(path) holds no store") }
            try db.execute(sql: "VACUUM INTO ?", arguments: [temporary])
        }
        guard fsync(file) == 0 else { throw StoreError.system("sync", temporary) }
        guard rename(temporary, copy) == 0 else { throw StoreError.system("rename to", copy) }
        syncParentDirectory(of: copy)
    }

    /// The engine gives its other files the rights of this one.
    private static func makePrivateFile(_ path: String) throws(StoreError) {
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path) }
        Glibc.close(descriptor)
    }

    private static func syncParentDirectory(of path: String) {
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let descriptor = Glibc.open(parent.isEmpty ? "/" : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        Glibc.close(descriptor)
    }
}

/// How far the store has come.
struct StorePosition: Sendable {
    /// The newest commit.
    var revision: Revision
    /// The newest commit that is gone from the history.
    var compacted: Revision

    init(_ db: Database) throws {
        let statement = try db.cachedStatement(
            sql: "SELECT name, value FROM meta WHERE name IN ('compacted', 'revision') ORDER BY name")
        let rows = try Row.fetchAll(statement)
        guard rows.count == 2 else { throw StoreError.unavailable("the file is damaged; restore a backup") }
        compacted = Revision(UInt64(rows[0][1] as Int64))
        revision = Revision(UInt64(rows[1][1] as Int64))
    }

    func save(_ db: Database) throws {
        let statement = try db.cachedStatement(sql: "UPDATE meta SET value = ? WHERE name = ?")
        try statement.execute(arguments: [Int64(revision.number), "revision"])
        try statement.execute(arguments: [Int64(compacted.number), "compacted"])
    }
}
