import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import FoundationEssentials
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// Holds the machines that wait for an operator against the rules and bills of materials anew when those have changed,
/// so that what keeps a machine out is what keeps it out now.
struct RuleFollower: Service {
    let catalog: LiveCatalog
    let readInventory: @Sendable (Digest) async -> InventoryReport?
    let submit: @Sendable (NodeInput, NodeID) async throws -> Void
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var followed: [String: Generation]?
            for await _ in catalog.cache.changes(of: [Rule.self, SKU.self]) {
                let now = state()
                guard now != followed else { continue }
                followed = now
                await judge()
            }
        }
    }

    /// The rules and bills with their generations.
    private func state() -> [String: Generation] {
        let rules = catalog.rules().map { ("rule/\($0.metadata.name)", $0.metadata.generation) }
        let skus = catalog.skus().map { ("sku/\($0.metadata.name)", $0.metadata.generation) }
        return Dictionary(rules + skus, uniquingKeysWith: { first, _ in first })
    }

    private func judge() async {
        for node in catalog.nodes() where node.status.state == .enroll && node.spec.approval == nil {
            guard !Task.isCancelled else { return }
            guard let digest = node.status.session?.claim?.inventory ?? node.status.inventory,
                let inventory = await readInventory(digest)
            else { continue }
            let decision = RuleEvaluation.evaluate(rules: catalog.rules(), inventory: inventory).decision
            let blocks = decision.blocks(sku: node.spec.sku, among: catalog.skus(), inventory)
            guard blocks != node.status.blocks ?? [] else { continue }
            do {
                try await StoreThaw.insist { try await submit(.judged(blocks), try node.id) }
            } catch is CancellationError {
                return
            } catch {
                logger.warning("\(node.spec.name): what the rules say now was not noted: \(error)")
            }
        }
    }
}

/// Inventories in the blob store.
enum StoredInventory {
    /// How long a registration waits for the second copy.
    static let copyTime: Duration = .seconds(1)

    /// Stores an inventory, here and on another conductor if there is one, and returns its digest.
    ///
    /// A registration goes on when the other one does not answer: the machine would only have to post the same again, and
    /// `BlobReplicator` makes the copy later.
    static func save(_ bytes: [UInt8], in blobs: SiteBlobs, _ logger: Logger) async throws -> Digest {
        let digest = try await blobs.local.offPool { (blobs) throws(BlobError) in try blobs.put(bytes) }
        guard !blobs.peers.isEmpty else { return digest }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do throws(BlobError) { _ = try await blobs.secure([digest], for: nil) } catch {
                    logger.warning("an inventory has no second copy yet: \(error.publicMessage)")
                }
            }
            group.addTask { try? await Task.sleep(for: copyTime) }
            await group.next()
            group.cancelAll()
        }
        return digest
    }

    /// The inventory with this digest; nil when it is gone or cannot be read.
    static func read(_ digest: Digest, in blobs: SiteBlobs) async -> InventoryReport? {
        let bytes = try? await blobs.get(digest)
        return bytes.flatMap { try? JSONDecoder().decode(InventoryReport.self, from: Data($0)) }
    }
}
