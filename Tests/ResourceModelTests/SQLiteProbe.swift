import Dispatch
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

    /// Takes the store's writing connection, so that all commits wait; it is given back by what is returned, or after
    /// 20 s.
    static func holdWrites(_ store: SQLiteStore) async -> @Sendable () -> Void {
        let gate = DispatchSemaphore(value: 0)
        await withCheckedContinuation { (held: CheckedContinuation<Void, Never>) in
            store.pool.asyncWriteWithoutTransaction { _ in
                held.resume()
                _ = gate.wait(timeout: .now() + .seconds(20))
            }
        }
        return { _ = gate.signal() }
    }

    /// Counts the engine's transactions from now on.
    static func countTransactions(_ store: SQLiteStore) -> TransactionCounter {
        let counter = TransactionCounter()
        store.pool.add(transactionObserver: counter, extent: .databaseLifetime)
        return counter
    }

    /// A database of another program.
    static func makeForeignDatabase(_ path: String) throws {
        let other = try DatabaseQueue(path: path)
        try other.write { try $0.execute(sql: "CREATE TABLE t (x)") }
        try other.close()
    }
}

/// How many transactions the engine has committed.
final class TransactionCounter: TransactionObserver, Sendable {
    private let committed = Atomic(0)

    var count: Int { committed.load(ordering: .relaxed) }

    func observes(eventsOfKind eventKind: DatabaseEventKind) -> Bool { false }
    func databaseDidChange(with event: DatabaseEvent) {}
    func databaseDidCommit(_ db: Database) { committed.wrappingAdd(1, ordering: .relaxed) }
    func databaseDidRollback(_ db: Database) {}
}

/// What has been acknowledged so far.
final class Ledger: Sendable {
    private let entries = Mutex<[String: Revision]>([:])

    var all: [String: Revision] { entries.withLock { $0 } }
    var count: Int { entries.withLock { $0.count } }

    func add(_ name: String, _ revision: Revision) { entries.withLock { $0[name] = revision } }
}
