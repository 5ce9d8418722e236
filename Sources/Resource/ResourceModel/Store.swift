import Primitives

/// Small mutable state: compare-and-swap over several keys, an ordered watch from a revision, leases.
///
/// The contract, the same for every engine and checked by one conformance suite:
/// - each commit is atomic, durable before it is acknowledged, and gets the next revision;
/// - a watch delivers every commit after a revision, in order, once, with all its changes in one batch;
/// - a watch from before the compaction point fails with `StoreError.compacted`;
/// - a document tied to a lease is deleted, with an event, when the lease ends;
/// - the limits of `StoreLimits` hold on every engine.
public protocol ResourceStore: Sendable {
    /// The newest committed revision, linearizable: no later read by anybody shows less.
    func currentRevision() async throws(StoreError) -> Revision

    /// The document at `key`, nil when there is none.
    func get(_ key: ResourceKey) async throws(StoreError) -> Document?

    /// One page of the documents of `kind` (nil: of all kinds) in key order, after `after`.
    ///
    /// All documents of a page are as of `Page.revision`. `limit` is cut to `StoreLimits.pageCountMax`.
    func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page

    /// Applies `transaction` if all its conditions hold, and returns the new revision.
    ///
    /// Throws `StoreError.conflict` with the first key whose condition failed; nothing is changed then.
    func commit(_ transaction: Transaction) async throws(StoreError) -> Revision

    /// All commits after `revision`, in order; bookmarks tell how far an idle watch has come.
    ///
    /// The stream fails with `StoreError.compacted` when `revision` is older than the compaction point and
    /// with `StoreError.watchOverflow` when the reader is more than `StoreLimits.watchQueueMax` batches behind.
    func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error>

    /// Forgets the history up to `revision`; documents stay.
    func compact(through revision: Revision) async throws(StoreError)

    /// A new lease that ends `timeToLive` after its last renewal.
    func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID

    /// Renews a lease; throws `StoreError.leaseEnded` when it is over: what it protected is lost.
    func renewLease(_ lease: LeaseID) async throws(StoreError)

    /// Ends a lease at once.
    func revokeLease(_ lease: LeaseID) async throws(StoreError)
}

/// The limits that hold on every engine, so that what one accepts none refuses.
public enum StoreLimits {
    /// Operations and conditions of one transaction, each.
    public static let operationCountMax = 100
    /// Bytes of all documents of one transaction.
    public static let transactionSizeMax = ByteCount.mebibytes(1)
    /// Bytes of one document; most kinds have less, see `Resource.documentSizeMax`.
    public static let documentSizeMax = ByteCount.kibibytes(128)
    /// Documents of one page.
    public static let pageCountMax = 500
    /// Batches that a slow watch may be behind before it is ended.
    public static let watchQueueMax = 4096
    /// Leases alive at once.
    public static let leaseCountMax = 10_000
}

/// One stored document.
public struct Document: Hashable, Sendable {
    /// Where it is stored.
    public let key: ResourceKey
    /// The revision that last changed it.
    public let revision: Revision
    /// The JSON bytes.
    public let value: [UInt8]
    /// The lease it is tied to.
    public let lease: LeaseID?

    /// A stored document.
    public init(key: ResourceKey, revision: Revision, value: [UInt8], lease: LeaseID? = nil) {
        self.key = key
        self.revision = revision
        self.value = value
        self.lease = lease
    }
}

/// Documents in key order, all as of one revision.
public struct Page: Hashable, Sendable {
    /// At most the asked-for number.
    public let documents: [Document]
    /// The revision at which they were read.
    public let revision: Revision
    /// Whether there are more after the last one.
    public let hasMore: Bool

    /// A page.
    public init(documents: [Document], revision: Revision, hasMore: Bool) {
        self.documents = documents
        self.revision = revision
        self.hasMore = hasMore
    }
}

/// Conditions and changes that are applied together or not at all.
public struct Transaction: Hashable, Sendable {
    /// All must hold.
    public var conditions: [Condition]
    /// Applied in order; each key may stand here once.
    public var operations: [Operation]
    /// Whether the first condition is a fence, which the limit of the caller's conditions does not count.
    private var isFenced = false

    /// What must hold of one key.
    public enum Condition: Hashable, Sendable {
        /// There is no document.
        case absent(ResourceKey)
        /// There is a document.
        case exists(ResourceKey)
        /// The document was last changed at this revision.
        case unchanged(ResourceKey, since: Revision)
    }

    /// One change.
    public enum Operation: Hashable, Sendable {
        /// Writes a document, new or not.
        case put(ResourceKey, [UInt8], lease: LeaseID? = nil)
        /// Deletes a document; nothing happens when there is none.
        case delete(ResourceKey)
    }

    /// A transaction.
    public init(conditions: [Condition] = [], operations: [Operation] = []) {
        self.conditions = conditions
        self.operations = operations
    }

    /// The same with one more condition, which engines check before all others: of several that fail the error names it.
    ///
    /// A transaction has one fence at most; the limit of conditions is the caller's, and an engine takes the fence beside.
    public func fenced(by fence: Condition) -> Transaction {
        precondition(!isFenced, "a transaction has one fence")
        var fenced = self
        fenced.conditions.insert(fence, at: 0)
        fenced.isFenced = true
        return fenced
    }

    /// Throws `StoreError.limitExceeded` or `.invalid` when no engine may accept this.
    public func validate() throws(StoreError) {
        guard !operations.isEmpty else { throw .invalid("a transaction needs at least one operation") }
        let conditionCountMax = StoreLimits.operationCountMax + (isFenced ? 1 : 0)
        guard operations.count <= StoreLimits.operationCountMax, conditions.count <= conditionCountMax else {
            throw .limitExceeded("a transaction has at most \(StoreLimits.operationCountMax) operations and conditions")
        }
        var total = 0
        var seen: Set<ResourceKey> = []
        for operation in operations {
            let key = operation.key
            do { try key.validate() } catch { throw .invalid(error.publicMessage) }
            guard seen.insert(key).inserted else { throw .invalid("\(key) is changed twice in one transaction") }
            if case .put(_, let value, _) = operation {
                guard value.count <= Int(StoreLimits.documentSizeMax.bytes) else {
                    throw .limitExceeded("\(key) has \(value.count) bytes; the limit is \(StoreLimits.documentSizeMax)")
                }
                total += value.count
            }
        }
        guard total <= Int(StoreLimits.transactionSizeMax.bytes) else {
            throw .limitExceeded("a transaction has \(total) bytes; the limit is \(StoreLimits.transactionSizeMax)")
        }
    }
}

extension Transaction.Condition {
    /// The key it is about.
    public var key: ResourceKey {
        switch self {
        case .absent(let key), .exists(let key), .unchanged(let key, _): key
        }
    }

    /// Whether it holds of the document that is at `key` now.
    public func holds(for document: Document?) -> Bool {
        switch self {
        case .absent: document == nil
        case .exists: document != nil
        case .unchanged(_, let revision): document?.revision == revision
        }
    }
}

extension Transaction.Operation {
    /// The key it changes.
    public var key: ResourceKey {
        switch self {
        case .put(let key, _, _), .delete(let key): key
        }
    }
}

/// What one commit changed, or how far an idle watch has come.
public struct WatchBatch: Hashable, Sendable {
    /// The commit's revision.
    public let revision: Revision
    /// Its changes; empty in a bookmark.
    public let changes: [Change]

    /// One changed key.
    public enum Change: Hashable, Sendable {
        /// The document as written.
        case put(Document)
        /// The document is gone.
        case deleted(ResourceKey)
    }

    /// A batch.
    public init(revision: Revision, changes: [Change]) {
        self.revision = revision
        self.changes = changes
    }

    /// Whether nothing changed: the watch has seen all up to `revision`.
    public var isBookmark: Bool { changes.isEmpty }
}

/// Names a lease of a store.
public struct LeaseID: Hashable, Sendable, Codable {
    /// The engine's number.
    public let number: Int64

    /// The lease with the engine's number.
    public init(_ number: Int64) { self.number = number }
}

/// Why a store did not do what it was asked.
public enum StoreError: UserFacingError, Hashable {
    /// A condition did not hold for this key: read it again and decide anew.
    case conflict(ResourceKey)
    /// The watch's revision is older than the history that is kept; list anew and watch from there.
    case compacted(oldest: Revision)
    /// A limit of `StoreLimits` is exceeded.
    case limitExceeded(String)
    /// The request cannot be right.
    case invalid(String)
    /// The lease has ended.
    case leaseEnded(LeaseID)
    /// The watch was too slow and has been ended; watch again from the last revision seen.
    case watchOverflow
    /// A document cannot be read by this version.
    case undecodable(ResourceKey, String)
    /// The engine failed (file damaged, gone).
    case unavailable(String)
    /// The disk that holds this file is full; nothing of the change is kept.
    case diskFull(String)
    /// The engine holds as many bytes as it may; whether the change was made is not known.
    case quotaExceeded
    /// The store was written by a newer version than this one can keep.
    case tooNew(found: Int, supported: Int)
    /// Another process holds the store.
    case inUse(String)
    /// The writer does not lead in this any more; whoever leads does what is to be done.
    case notLeader(String)
    /// The store takes nothing for some seconds, on purpose; the text says why.
    case frozen(String)

    /// Whether the cause passes, a disk's or a freeze, so that the same request may be taken later.
    public var mayPass: Bool {
        switch self {
        case .unavailable, .diskFull, .quotaExceeded, .frozen: true
        default: false
        }
    }

    /// Whether it is a store that is frozen on purpose: nothing is wrong, and nobody has to be told.
    public var isFrozen: Bool {
        guard case .frozen = self else { return false }
        return true
    }

    public var publicMessage: String {
        switch self {
        case .conflict(let key): "\(key) was changed by somebody else at the same time; read it and try again."
        case .compacted(let oldest): "The history before revision \(oldest) is gone; list again and watch from there."
        case .limitExceeded(let what): "Too large: \(what)."
        case .invalid(let what): "Not a valid request to the store: \(what)."
        case .leaseEnded: "The lease has ended; what it protected may be held by another now."
        case .watchOverflow: "The watch fell too far behind and was ended; start it again."
        case .undecodable(let key, let why): "\(key) cannot be read by this version: \(why)."
        case .unavailable(let why): "The store cannot be used: \(why)."
        case .diskFull(let path):
            "The disk that holds \(path) is full and nothing was changed; free some space and try again."
        case .quotaExceeded:
            """
            etcd holds as many bytes as it may (alarm NOSPACE) and takes no more changes; whether this one was made is \
            not known. Compact and defragment it, or raise --quota-backend-bytes, then disarm the alarm.
            """
        case .tooNew(let found, let supported):
            "The store has format \(found), this program knows up to \(supported); run the newer version that wrote it."
        case .inUse(let path):
            "Another conductor is using \(path); stop it first, or give this one a state directory of its own."
        case .notLeader(let what):
            "This conductor does not lead in '\(what)' any more, and nothing was changed; another one does its work."
        case .frozen(let why): "\(why); nothing was changed. Try again in a few seconds."
        }
    }
}
