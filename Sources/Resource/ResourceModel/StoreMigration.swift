import Primitives

/// Copies all documents of a store to another one, between any two engines, and verifies the copy.
///
/// Nobody may write to either meanwhile: the caller sees to that, and a source that has changed all the same is found.
/// Documents that are tied to a lease are left out: they are of who holds the lease, and are written anew by them. The
/// copy counts its revisions anew; to have it go on after the source's, use the engine's `beginNewHistory`.
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

    private let source: any ResourceStore
    private let target: any ResourceStore
    private let refusesLeases: Bool

    /// Stands in the target from the first copied document to the last verified one.
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

    /// Whether a migration into `store` was broken off: it has not all documents, and is to be migrated to again.
    public static func isUnfinished(in store: any ResourceStore) async throws(StoreError) -> Bool {
        try await store.get(mark) != nil
    }

    /// Copies and verifies. A copy that was broken off is begun anew by the next call.
    ///
    /// Throws `MigrationError`, and `StoreError` of either store.
    public func run() async throws -> Report {
        try await prepare()
        var report = Report()
        report.revision = try await source.currentRevision()
        try await copy(&report)
        try await verify()
        guard try await source.currentRevision() == report.revision else { throw MigrationError.sourceChanged }
        _ = try await target.commit(Transaction(operations: [.delete(Self.mark)]))
        return report
    }

    /// Throws `MigrationError.notEmpty` when there are documents in the target, but for those of an unfinished migration.
    public func check() async throws {
        guard try await !Self.isUnfinished(in: target) else { return }
        if let first = try await target.list(kind: nil, after: nil, limit: 1).documents.first {
            throw MigrationError.notEmpty(first.key)
        }
    }

    /// Empties a target that an earlier migration has left unfinished; refuses any other that is not empty.
    private func prepare() async throws {
        let isUnfinished = try await Self.isUnfinished(in: target)
        while true {
            let page = try await target.list(kind: nil, after: nil, limit: Self.documentCountMax)
            let found = page.documents.map(\.key).filter { $0 != Self.mark }
            guard let first = found.first else {
                guard page.hasMore else { break }
                throw MigrationError.notEmpty(Self.mark)
            }
            guard isUnfinished else { throw MigrationError.notEmpty(first) }
            _ = try await target.commit(Transaction(operations: found.map { .delete($0) }))
        }
        if !isUnfinished { _ = try await target.commit(Transaction(operations: [.put(Self.mark, Array("{}".utf8))])) }
    }

    private func copy(_ report: inout Report) async throws {
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
                    conditions: batch.map { .absent($0.key) }, operations: batch.map { .put($0.key, $0.value) })
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

    /// Reads both from the first document to the last, and compares each with its copy.
    private func verify() async throws {
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
