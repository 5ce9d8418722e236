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
    let blobs: FileBlobStore
    let audit: AuditLog
    let clock: any WallClock
    let logger: Logger

    static let interval: Duration = .seconds(600)
    /// Younger blobs may belong to something that is about to be made.
    static let blobGrace: Duration = .seconds(24 * 3600)
    static let auditAge: Duration = .seconds(90 * 24 * 3600)

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: Self.interval)
                do {
                    try await pruneEvents()
                    _ = try await audit.prune(before: clock.now.advanced(by: .zero - Self.auditAge))
                    try await sweepBlobs()
                } catch let error as CancellationError {
                    throw error
                } catch {
                    logger.error("housekeeping: \(error)")
                }
            }
        }
    }

    /// Deletes each node's events beyond `NodeEvent.countMax`, oldest first.
    private func pruneEvents() async throws {
        let byNode = Dictionary(grouping: catalog.cache.all(NodeEvent.self), by: \.spec.node)
        let surplus = byNode.values.flatMap { events in
            events.sorted { $0.metadata.name < $1.metadata.name }.dropLast(NodeEvent.countMax).map(\.key)
        }
        for start in stride(from: 0, to: surplus.count, by: StoreLimits.operationCountMax) {
            let batch = surplus[start..<min(start + StoreLimits.operationCountMax, surplus.count)]
            _ = try await store.commit(Transaction(operations: batch.map { .delete($0) }))
        }
    }

    /// Deletes blobs that no image, ramdisk or node names.
    private func sweepBlobs() async throws {
        var kept: Set<Digest> = []
        for image in catalog.images() {
            kept.insert(image.spec.manifest)
            kept.formUnion(try ImageBlobs.named(by: image.spec.manifest, in: blobs))
        }
        for node in catalog.nodes() {
            if let inventory = node.status.inventory { kept.insert(inventory) }
            guard let manifest = node.status.image else { continue }
            kept.insert(manifest)
            if blobs.contains(manifest) { kept.formUnion(try ImageBlobs.named(by: manifest, in: blobs)) }
        }
        for ramdisk in catalog.cache.all(Ramdisk.self) { kept.formUnion([ramdisk.spec.kernel, ramdisk.spec.initrd]) }
        let deleted = try blobs.sweep(keeping: kept, olderThan: Self.blobGrace, now: clock.now)
        if deleted > 0 { logger.info("housekeeping: \(deleted) blobs that nothing names are deleted") }
    }
}
