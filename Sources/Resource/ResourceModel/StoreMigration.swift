import Primitives

/// Copies all documents of a store to another one, between any two engines, verifies the copy and opens it.
///
/// Nobody may write to either meanwhile: the caller sees to that, and a source that has changed all the same is found.
/// Documents that are tied to a lease are left out: they are of who holds the lease, and are written anew by them. The
/// copy counts its revisions anew; to have it go on after the source's, use the engine's `beginNewHistory`.
///
/// It goes in four calls, each of which may be made again: `reserve`, `copy`, `verify`, `open`. From the first to the last a
/// mark stands in the target, and a conductor that starts on it waits. What one attempt has left under way when it was
/// broken off has no effect once another one has reserved: each of its transactions is bound to its own reservation.
public struct StoreMigration: Sendable {
    /// What was copied.
    public struct Report: Hashable, Sendable {
        /// How many documents, by kind.
        public var documents: [String: Int] = [:]
        /// Their bytes.
        public var bytes = 0
        /// How many were left out, because they are tied to a lease.
        public var leftOut = 0
        /// The source's revision.
        public var revision = Revision.zero

        /// How many documents, of all kinds.
        public var count: Int { documents.values.reduce(0, +) }
    }

    /// One attempt's hold of a target; a later attempt takes it away.
    public struct Reservation: Hashable, Sendable {
        /// The revision of the mark.
        fileprivate var revision: Revision

        fileprivate var holds: Transaction.Condition { .unchanged(StoreMigration.mark, since: revision) }
    }

    private let source: any ResourceStore
    private let target: any ResourceStore
    private let refusesLeases: Bool

    /// Stands in the target from the reservation until it is opened.
    public static let mark = ResourceKey(kind: "store.migration", name: "unfinished")
    private static let documentCountMax = 100
    private static let underWayMax = 4

    /// A migration that has not begun; `refusesLeases`: a document that is tied to a lease is taken for the sign of somebody
    /// who still uses the source.
    public init(from source: any ResourceStore, to target: any ResourceStore, refusesLeases: Bool = false) {
        self.source = source
        self.target = target
        self.refusesLeases = refusesLeases
    }

    /// Whether a migration into `store` is under way or was broken off: it has not all documents, and is to be migrated to
    /// again.
    public static func isUnfinished(in store: any ResourceStore) async throws(StoreError) -> Bool {
        try await store.get(mark) != nil
    }

    /// Copies and verifies. A copy that was broken off is begun anew by the next call.
    ///
    /// Throws `MigrationError`, and `StoreError` of either store.
    public func run() async throws -> Report {
        let reservation = try await reserve()
        let report = try await copy(under: reservation)
        try await verify(report)
        _ = try await open(reservation)
        return report
    }

    /// Throws `MigrationError.notEmpty` when there are documents in the target, but for those of an unfinished migration.
    public func check() async throws {
        guard try await !Self.isUnfinished(in: target) else { return }
        if let first = try await target.list(kind: nil, after: nil, limit: 1).documents.first {
            throw MigrationError.notEmpty(first.key)
        }
    }

    /// Takes an empty target, or one that an earlier attempt has left unfinished: what that one still has under way is
    /// refused from now on. Throws `MigrationError.notEmpty` for any other.
    public func reserve() async throws -> Reservation {
        while true {
            let found = try await target.get(Self.mark)
            if found == nil { try await check() }
            let condition = found.map { Transaction.Condition.unchanged(Self.mark, since: $0.revision) }
            do throws(StoreError) {
                let revision = try await target.commit(
                    Transaction(
                        conditions: [condition ?? .absent(Self.mark)], operations: [.put(Self.mark, Array("{}".utf8))]))
                return Reservation(revision: revision)
            } catch {
                guard case .conflict = error else { throw error }
            }
        }
    }

    /// Copies all documents into the target, from which those of earlier attempts are removed before.
    ///
    /// Throws `MigrationError`, and `StoreError.conflict` for the mark when somebody else has reserved meanwhile.
    public func copy(under reservation: Reservation) async throws -> Report {
        try await empty(under: reservation)
        var report = Report()
        report.revision = try await source.currentRevision()
        try await copy(&report, under: reservation)
        return report
    }

    /// Reads both from the first document to the last, and compares each with its copy.
    ///
    /// Throws `MigrationError.differs`, and `.sourceChanged` when the source is not at the report's revision any more.
    public func verify(_ report: Report) async throws {
        try await compare()
        guard try await source.currentRevision() == report.revision else { throw MigrationError.sourceChanged }
    }

    /// Opens the target: the mark goes, and `operations` are done with it, in one transaction.
    ///
    /// Throws `StoreError.conflict` for the mark when somebody else has reserved meanwhile or it is open already. After any
    /// other error nobody knows whether it is open: `reserve` makes sure of that.
    public func open(
        _ reservation: Reservation, with operations: [Transaction.Operation] = []
    ) async throws(StoreError) -> Revision {
        try await target.commit(
            Transaction(conditions: [reservation.holds], operations: [.delete(Self.mark)] + operations))
    }

    private func empty(under reservation: Reservation) async throws {
        while true {
            let page = try await target.list(kind: nil, after: nil, limit: Self.documentCountMax)
            let found = page.documents.map(\.key).filter { $0 != Self.mark }
            guard !found.isEmpty else { return }
            _ = try await target.commit(
                Transaction(conditions: [reservation.holds], operations: found.map { .delete($0) }))
        }
    }

    private func copy(_ report: inout Report, under reservation: Reservation) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var underWay = 0
            var batch: [Document] = []
            var size = 0
            func commit() async throws {
                guard !batch.isEmpty else { return }
                if underWay == Self.underWayMax {
                    try await group.next()
                    underWay -= 1
                }
                // What is there already is somebody else's, or the one document twice.
                let transaction = Transaction(
                    conditions: batch.map { .absent($0.key) }, operations: batch.map { .put($0.key, $0.value) }
                ).fenced(by: reservation.holds)
                group.addTask { [target] in _ = try await target.commit(transaction) }
                underWay += 1
                (batch, size) = ([], 0)
            }
            var pages = StorePages(source)
            while let documents = try await pages.next() {
                for document in documents where document.key != Self.mark {
                    guard document.lease == nil else {
                        guard !refusesLeases else { throw MigrationError.inUse(document.key) }
                        report.leftOut += 1
                        continue
                    }
                    let isFull =
                        batch.count == Self.documentCountMax
                        || size + document.value.count > Int(StoreLimits.transactionSizeMax.bytes)
                    if isFull { try await commit() }
                    batch.append(document)
                    size += document.value.count
                    report.documents[document.key.kind, default: 0] += 1
                    report.bytes += document.value.count
                }
            }
            try await commit()
            try await group.waitForAll()
        }
    }

    private func compare() async throws {
        var originals = StoreDocuments(source)
        var copies = StoreDocuments(target)
        while true {
            let original = try await originals.next { $0.lease == nil && $0.key != Self.mark }
            let copy = try await copies.next { $0.key != Self.mark }
            if original == nil, copy == nil { return }
            guard let original, let copy, original.key == copy.key, original.value == copy.value, copy.lease == nil
            else { throw MigrationError.differs(min(original?.key ?? copy!.key, copy?.key ?? original!.key)) }
        }
    }
}

/// Why a migration was not made.
public enum MigrationError: UserFacingError, Hashable {
    /// The target has a document.
    case notEmpty(ResourceKey)
    /// Somebody holds this document by a lease, and so uses the source.
    case inUse(ResourceKey)
    /// Somebody has written to the source meanwhile.
    case sourceChanged
    /// A document and its copy are not the same, or one of them is not there.
    case differs(ResourceKey)

    public var publicMessage: String {
        switch self {
        case .notEmpty(let key): "The store to copy to is not empty: it has \(key). Nothing was copied."
        case .inUse(let key):
            "\(key) is of somebody who uses the store now. Stop every conductor, wait ten seconds, then copy again."
        case .sourceChanged:
            "Somebody wrote to the store while it was copied. Stop every conductor, then copy again."
        case .differs(let key):
            "\(key) and its copy are not the same. Stop whoever writes to the copy, then copy again."
        }
    }
}

/// All documents of a store, page by page, in the order of their keys.
private struct StorePages {
    private let store: any ResourceStore
    private var last: ResourceKey?
    private var isAtEnd = false

    init(_ store: any ResourceStore) { self.store = store }

    mutating func next() async throws -> [Document]? {
        guard !isAtEnd else { return nil }
        let page = try await store.list(kind: nil, after: last, limit: StoreLimits.pageCountMax)
        last = page.documents.last?.key
        isAtEnd = !page.hasMore || last == nil
        return page.documents
    }
}

/// All documents of a store, one after the other.
private struct StoreDocuments {
    private var pages: StorePages
    private var rest: ArraySlice<Document> = []

    init(_ store: any ResourceStore) { pages = StorePages(store) }

    mutating func next(where isMeant: (Document) -> Bool) async throws -> Document? {
        while true {
            while let document = rest.popFirst() { if isMeant(document) { return document } }
            guard let page = try await pages.next() else { return nil }
            rest = page[...]
        }
    }
}
