import BlobStore
import CatalogBareMetal
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// Keeps what grows within its limits: old events and audit events, and blobs that nothing names any more.
struct Housekeeper: Service {
    let catalog: LiveCatalog
    let store: any ResourceStore
    let blobs: SiteBlobs
    let audit: AuditLog
    let register: CertificateRegister
    var duties: Set<Duty> = [.catalog, .blobs]
    let clock: any WallClock
    let logger: Logger
    let manifests = ManifestMemory()

    /// What is looked after.
    enum Duty: Sendable, Hashable {
        /// What all conductors share.
        case catalog
        /// The files of this conductor.
        case blobs
    }

    static let interval: Duration = .seconds(600)
    /// Younger blobs may belong to something that is about to be made.
    static let blobGrace: Duration = .seconds(24 * 3600)
    /// Leases and events of segments that are deleted at once.
    static let deletionCountMax = 1000
    static let auditAge: Duration = .seconds(90 * 24 * 3600)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.interval)
                do {
                    if duties.contains(.catalog) { try await prune() }
                    if duties.contains(.blobs) { try await sweepBlobs() }
                } catch let error as CancellationError {
                    throw error
                } catch {
                    logger.log(level: error.logLevel(.error), "housekeeping: \(error)")
                }
            }
        }
    }

    private func prune() async throws {
        try await pruneEvents()
        try await pruneSegments()
        _ = try await audit.prune(before: clock.now.advanced(by: .zero - Self.auditAge))
        try await register.prune { catalog.node($0) != nil }
    }

    /// Deletes each node's events beyond `NodeEvent.countMax`, oldest first.
    ///
    /// An event's name begins with its node's identifier and goes on with the time, so a page holds them in order.
    func pruneEvents() async throws {
        var node: Substring = ""
        var own: [ResourceKey] = []
        var surplus: [ResourceKey] = []
        var after: ResourceKey?
        while true {
            let page = try await store.list(kind: NodeEvent.kind, after: after, limit: StoreLimits.pageCountMax)
            for key in page.documents.map(\.key) {
                let owner = key.name.prefix { $0 != "." }
                if owner != node {
                    surplus += own.dropLast(NodeEvent.countMax)
                    (node, own) = (owner, [])
                }
                own.append(key)
            }
            guard page.hasMore, let last = page.documents.last else { break }
            after = last.key
        }
        surplus += own.dropLast(NodeEvent.countMax)
        for start in stride(from: 0, to: surplus.count, by: StoreLimits.operationCountMax) {
            let batch = surplus[start..<min(start + StoreLimits.operationCountMax, surplus.count)]
            _ = try await store.commit(Transaction(operations: batch.map { .delete($0) }))
        }
    }

    /// Deletes each segment's events beyond `SegmentEvent.countMax`, and of segments that are gone all events and the
    /// leases that have ended.
    func pruneSegments() async throws {
        let segments = Set(try await store.fetchAll(Segment.self).map(\.value.metadata.name))
        let events = Dictionary(grouping: try await store.fetchAll(SegmentEvent.self), by: \.value.spec.segment)
        for (segment, events) in events {
            let kept = segments.contains(segment) ? SegmentEvent.countMax : 0
            let surplus = events.sorted { $0.value.metadata.name < $1.value.metadata.name }.dropLast(kept)
            try await delete(surplus.map { ($0.value.key, $0.unchanged) })
        }
        // A lease that still runs moves to the segment that has its network now (`LeaseStore.load`).
        let now = clock.now
        let ended = try await store.fetchAll(Lease.self).filter {
            !segments.contains($0.value.spec.segment) && $0.value.status.expires <= now
        }
        try await delete(ended.map { ($0.value.key, $0.unchanged) })
        if !ended.isEmpty { logger.info("housekeeping: \(ended.count) leases of segments that are gone are deleted") }
    }

    /// Deletes documents that nobody has changed meanwhile, `deletionCountMax` at most; the rest goes the next time.
    private func delete(_ documents: [(key: ResourceKey, unchanged: Transaction.Condition)]) async throws {
        let documents = documents.prefix(Self.deletionCountMax)
        // A condition counts like an operation.
        let size = StoreLimits.operationCountMax / 2
        for start in stride(from: 0, to: documents.count, by: size) {
            let batch = documents[start..<min(start + size, documents.count)]
            do {
                _ = try await store.commit(
                    Transaction(conditions: batch.map { $0.unchanged }, operations: batch.map { .delete($0.key) }))
            } catch {
                guard case .conflict = error else { throw error }
            }
        }
    }

    /// Deletes blobs that nothing in the catalog names; none while it has documents that this version cannot read.
    func sweepBlobs() async throws {
        try await catalog.cache.barrier()
        let snapshot = catalog.cache.snapshot()
        guard snapshot.isLoaded, snapshot.undecodable.isEmpty else {
            let unread = snapshot.undecodable.keys.map { "\($0)" }.sorted().prefix(5).joined(separator: ", ")
            logger.warning(
                "housekeeping: no blobs are deleted, because documents that may name some cannot be read",
                metadata: ["count": "\(snapshot.undecodable.count)", "documents": "\(unread)"])
            return
        }
        // Conductors name blobs while this one sweeps: each makes them young on two conductors first (`SiteBlobs.secure`), and
        // the catalog is read before the files are looked at, so that what is named since then is young here or was not.
        let found = try await NamedBlobs.of(snapshot, in: blobs, read: manifests)
        guard found.lost.isEmpty else {
            logger.warning(
                "housekeeping: no blobs are deleted, because no conductor has the manifest of an image; push it again",
                metadata: ["manifests": .stringConvertible(found.lost.count)])
            return
        }
        let named = found.all
        let now = clock.now
        let deleted = try await blobs.local.offPool { (blobs) throws(BlobError) in
            try blobs.sweep(keeping: named, olderThan: Self.blobGrace, now: now)
        }
        if deleted > 0 { logger.info("housekeeping: \(deleted) blobs that nothing names are deleted") }
    }
}
