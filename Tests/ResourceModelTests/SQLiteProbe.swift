import GRDB
import Primitives
import Synchronization

@testable import StoreSQLite

/// Reaches around a store into its engine.
enum SQLiteProbe {
    /// Runs statements on the store's writing connection.
    static func execute(_ store: SQLiteStore, _ sql: String) async throws {
        try await store.pool.writeWithoutTransaction { try $0.execute(sql: sql) }
    }

    /// The first column of the first row, read on the store's writing connection.
    static func value(_ store: SQLiteStore, _ sql: String) async throws -> String? {
        try await store.pool.writeWithoutTransaction { try String.fetchOne($0, sql: sql) }
    }

    /// A database of another program.
    static func makeForeignDatabase(_ path: String) throws {
        let other = try DatabaseQueue(path: path)
        try other.write { try $0.execute(sql: "CREATE TABLE t (x)") }
        try other.close()
    }
}

/// What has been acknowledged so far.
final class Ledger: Sendable {
    private let entries = Mutex<[String: Revision]>([:])

    var all: [String: Revision] { entries.withLock { $0 } }

    func add(_ name: String, _ revision: Revision) { entries.withLock { $0[name] = revision } }
}
