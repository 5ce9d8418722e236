import AgentProtocol
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

/// The one writer of `AddressAssignment`: gives nodes the addresses that their networks ask for, and takes back those
/// of nodes and networks that are gone.
public struct AddressController: Service {
    private let store: any ResourceStore
    private let nodes: @Sendable () -> [Node]
    private let catalog: @Sendable () -> NetworkCatalog
    private let changes: @Sendable () -> AsyncStream<Void>
    private let clock: any WallClock
    private let logger: Logger

    /// The most rounds of one call.
    static let roundCountMax = 4

    /// A controller; `nodes` and `catalog` give what the cache has now, `changes` fires after they have changed.
    public init(
        store: any ResourceStore, nodes: @escaping @Sendable () -> [Node],
        catalog: @escaping @Sendable () -> NetworkCatalog, changes: @escaping @Sendable () -> AsyncStream<Void>,
        clock: any WallClock, logger: Logger
    ) {
        self.store = store
        self.nodes = nodes
        self.catalog = catalog
        self.changes = changes
        self.clock = clock
        self.logger = logger
    }

    /// Follows the catalog until it is cancelled.
    public func run() async throws {
        for await _ in changes().cancelOnGracefulShutdown() {
            do { try await settle() } catch { logger.error("addresses were not assigned: \(error)") }
        }
    }

    /// Assigns what is missing now. Throws `StoreError`.
    ///
    /// The store itself is asked who has what: two conductors, or two calls, never give one address twice, since an
    /// assignment is named by its address.
    public func settle() async throws(StoreError) {
        // Nothing to do is the usual case, and costs no read of the store.
        guard catalog().templates.isEmpty == false || catalog().assigned.isEmpty == false else { return }
        for _ in 0..<Self.roundCountMax {
            let stored = try await store.fetchAll(AddressAssignment.self)
            let steps = AddressPlan.make(
                nodes: nodes(), catalog: catalog(), assignments: stored.map(\.value.spec))
            guard !steps.isEmpty else { return }
            for step in steps { try await carryOut(step, stored) }
        }
    }

    private func carryOut(_ step: AddressPlan.Step, _ stored: [Stored<AddressAssignment>]) async throws(StoreError) {
        var transaction = Transaction()
        switch step {
        case .assign(let spec):
            let resource = AddressAssignment(
                metadata: Metadata(
                    name: AddressAssignment.name(network: spec.network, address: spec.address),
                    schemaVersion: AddressAssignment.schemaVersion, created: clock.now), spec: spec)
            transaction.conditions.append(.absent(resource.key))
            transaction.operations.append(try Stored(new: resource).put())
        case .release(let spec):
            guard let old = stored.first(where: { $0.value.spec == spec }) else { return }
            transaction.conditions.append(old.unchanged)
            transaction.operations.append(.delete(old.value.key))
        }
        do {
            _ = try await store.commit(transaction)
        } catch {
            // Somebody else was quicker; the next round sees what is there then.
            guard case .conflict = error else { throw error }
        }
    }
}
