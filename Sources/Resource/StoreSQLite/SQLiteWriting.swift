import FoundationEssentials
import GRDB
import Primitives
import ResourceModel

/// The changes of one group, within one transaction of the engine.
///
/// Each change is checked wholly before it writes, so that refusing one leaves the others as they are.
struct SQLiteWriting {
    private let db: Database
    private let leases: LeaseTable
    private let now: Timestamp
    private(set) var position: StorePosition
    private(set) var batches: [WatchBatch] = []
    private(set) var granted: [(LeaseID, Duration)] = []
    private(set) var ended: Set<LeaseID> = []
    private var isPositionChanged = false

    init(db: Database, position: StorePosition, leases: LeaseTable, now: Timestamp) {
        self.db = db
        self.position = position
        self.leases = leases
        self.now = now
    }

    mutating func commit(_ transaction: Transaction) throws -> Revision {
        for condition in transaction.conditions {
            let found = try revision(of: condition.key)
            let document = found.map { Document(key: condition.key, revision: $0, value: []) }
            guard condition.holds(for: document) else { throw StoreError.conflict(condition.key) }
        }
        for operation in transaction.operations {
            if case .put(_, _, let lease?) = operation { try requireLease(lease) }
        }
        try apply(transaction.operations)
        return position.revision
    }

    mutating func compact(through limit: Revision) throws {
        guard limit <= position.revision else {
            throw StoreError.invalid("revision \(limit) has not been committed yet; the newest is \(position.revision)")
        }
        guard limit > position.compacted else { return }
        let statement = try db.cachedStatement(sql: "DELETE FROM history WHERE revision <= ?")
        try statement.execute(arguments: [Int64(limit.number)])
        position.compacted = limit
        isPositionChanged = true
    }

    /// Has the engine write how far the store has come, though it has come no further.
    mutating func touch() { isPositionChanged = true }

    mutating func grantLease(timeToLive: Duration) throws -> LeaseID {
        guard leases.count + granted.count < StoreLimits.leaseCountMax else {
            throw StoreError.limitExceeded("there are \(StoreLimits.leaseCountMax) leases already; end one first")
        }
        let statement = try db.cachedStatement(sql: "INSERT INTO leases (time_to_live) VALUES (?)")
        try statement.execute(arguments: [timeToLive.milliseconds])
        let lease = LeaseID(db.lastInsertedRowID)
        granted.append((lease, timeToLive))
        return lease
    }

    func requireLease(_ lease: LeaseID) throws {
        guard leases.isAlive(lease, now: now), !ended.contains(lease) else { throw StoreError.leaseEnded(lease) }
    }

    mutating func endLease(_ lease: LeaseID) throws {
        let keys = try Row.fetchAll(
            db.cachedStatement(sql: "SELECT kind, name FROM documents WHERE lease = ? ORDER BY kind, name"),
            arguments: [lease.number])
        try apply(keys.map { .delete(ResourceKey(kind: $0[0], name: $0[1])) })
        try db.cachedStatement(sql: "DELETE FROM leases WHERE id = ?").execute(arguments: [lease.number])
        ended.insert(lease)
    }

    /// Compacts what is too old and writes down how far the store has come.
    mutating func finish(historyCountMax: Int) throws {
        let kept = position.revision.number - position.compacted.number
        if kept > UInt64(historyCountMax + historyCountMax / 8) {
            try compact(through: Revision(position.revision.number - UInt64(historyCountMax)))
        }
        if isPositionChanged { try position.save(db) }
    }

    private func revision(of key: ResourceKey) throws -> Revision? {
        let statement = try db.cachedStatement(sql: "SELECT revision FROM documents WHERE kind = ? AND name = ?")
        return try Int64.fetchOne(statement, arguments: [key.kind, key.name]).map { Revision(UInt64($0)) }
    }

    /// When nothing changes there is no new revision.
    private mutating func apply(_ operations: [Transaction.Operation]) throws {
        let next = Revision(position.revision.number + 1)
        var changes: [WatchBatch.Change] = []
        for operation in operations {
            switch operation {
            case .put(let key, let value, let lease):
                let document = Document(key: key, revision: next, value: value, lease: lease)
                try put(document)
                try record(key, document, at: next, position: changes.count)
                changes.append(.put(document))
            case .delete(let key):
                let statement = try db.cachedStatement(sql: "DELETE FROM documents WHERE kind = ? AND name = ?")
                try statement.execute(arguments: [key.kind, key.name])
                guard db.changesCount > 0 else { continue }
                try record(key, nil, at: next, position: changes.count)
                changes.append(.deleted(key))
            }
        }
        guard !changes.isEmpty else { return }
        position.revision = next
        isPositionChanged = true
        batches.append(WatchBatch(revision: next, changes: changes))
    }

    private func put(_ document: Document) throws {
        let statement = try db.cachedStatement(
            sql: """
                INSERT INTO documents (kind, name, revision, lease, value) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (kind, name) DO UPDATE SET
                    revision = excluded.revision, lease = excluded.lease, value = excluded.value
                """)
        try statement.execute(arguments: [
            document.key.kind, document.key.name, Int64(document.revision.number), document.lease?.number,
            Data(document.value),
        ])
    }

    private func record(_ key: ResourceKey, _ document: Document?, at revision: Revision, position: Int) throws {
        let statement = try db.cachedStatement(
            sql: "INSERT INTO history (revision, position, kind, name, lease, value) VALUES (?, ?, ?, ?, ?, ?)")
        try statement.execute(arguments: [
            Int64(revision.number), position, key.kind, key.name, document?.lease?.number,
            document.map { Data($0.value) },
        ])
    }
}

/// Reads the history for watches.
enum StoreHistory {
    /// The most batches and bytes read at once.
    private static let batchCountMax = 256
    private static let sizeMax = 4 << 20

    /// Batches after `after` up to `through`, oldest first, the first part of them when they are many.
    static func read(_ db: Database, after: Revision, through: Revision) throws -> [WatchBatch] {
        let compacted = try StorePosition(db).compacted
        guard after >= compacted else { throw StoreError.compacted(oldest: compacted) }
        let statement = try db.cachedStatement(
            sql: """
                SELECT kind, name, revision, lease, value FROM history WHERE revision > ? AND revision <= ?
                ORDER BY revision, position
                """)
        let rows = try Row.fetchCursor(statement, arguments: [Int64(after.number), Int64(through.number)])
        var batches: [WatchBatch] = []
        var changes: [WatchBatch.Change] = []
        var revision = Revision.zero
        var size = 0
        while let row = try rows.next() {
            let next = Revision(UInt64(row[2] as Int64))
            if next != revision, !changes.isEmpty {
                batches.append(WatchBatch(revision: revision, changes: changes))
                changes = []
                if batches.count >= batchCountMax || size >= sizeMax { return batches }
            }
            revision = next
            if row.hasNull(atIndex: 4) {
                changes.append(.deleted(ResourceKey(kind: row[0], name: row[1])))
            } else {
                let document = Document(row: row)
                size += document.value.count
                changes.append(.put(document))
            }
        }
        if !changes.isEmpty { batches.append(WatchBatch(revision: revision, changes: changes)) }
        return batches
    }
}
