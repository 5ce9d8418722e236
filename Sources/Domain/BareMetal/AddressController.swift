import AgentProtocol
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// The one writer of `AddressAssignment`: gives nodes the addresses that their networks ask for, and takes back those
/// of nodes and networks that are gone.
///
/// A node that has all it needs costs no look at another and no read of the store, and one that lacks an address costs
/// one commit; only what takes addresses back looks at the whole fleet.
public struct AddressController: Service {
    private let store: any ResourceStore
    private let catalog: Catalog
    private let changes: @Sendable () -> AsyncStream<NodeChanges>
    private let clock: any WallClock
    private let logger: Logger
    private let turns = AsyncSemaphore(limit: 1)
    private let pools = Pools()

    /// The most rounds of one call.
    static let roundCountMax = 4

    /// What the controller reads.
    public struct Catalog: Sendable {
        /// All nodes.
        public var nodes: @Sendable () -> [Node]
        /// One of them.
        public var node: @Sendable (NodeID) -> Node?
        /// What the site says of networks, with all addresses that nodes have.
        public var networks: @Sendable () -> NetworkCatalog
        /// The same with the addresses of one node only, at a cost that does not grow with the fleet.
        public var networksOfNode: @Sendable (NodeID) -> NetworkCatalog
        /// Whether a node has this address of the network with this name.
        public var isAssigned: @Sendable (String, IPv4Address) -> Bool
        /// How often an address has been taken back; while it is the same, what was assigned still is.
        public var freedCount: @Sendable () -> UInt64
        /// Returns when all of this shows the commit with this revision.
        public var reached: @Sendable (Revision) async throws -> Void

        /// A catalog.
        public init(
            nodes: @escaping @Sendable () -> [Node], node: @escaping @Sendable (NodeID) -> Node?,
            networks: @escaping @Sendable () -> NetworkCatalog,
            networksOfNode: @escaping @Sendable (NodeID) -> NetworkCatalog,
            isAssigned: @escaping @Sendable (String, IPv4Address) -> Bool, freedCount: @escaping @Sendable () -> UInt64,
            reached: @escaping @Sendable (Revision) async throws -> Void
        ) {
            self.nodes = nodes
            self.node = node
            self.networks = networks
            self.networksOfNode = networksOfNode
            self.isAssigned = isAssigned
            self.freedCount = freedCount
            self.reached = reached
        }
    }

    /// What is known of the pools.
    private final class Pools: Sendable {
        private struct State {
            var floors: [String: (freed: UInt64, next: UInt32)] = [:]
            var isShort = false
        }

        private let state = Mutex(State())

        /// Whether the last look at everything left a node without an address that it needs, or did not get to its end.
        var isShort: Bool { state.withLock { $0.isShort } }

        /// A look at everything begins: networks may be others.
        func beginLook() { state.withLock { $0 = State(isShort: true) } }

        func endLook(isShort: Bool) { state.withLock { $0.isShort = isShort } }

        /// From where on the pool of a network may have a free address; 0: not known, as of how many were taken back.
        func floor(of network: String, _ freed: UInt64) -> UInt32 {
            state.withLock { $0.floors[network].flatMap { $0.freed == freed ? $0.next : nil } ?? 0 }
        }

        func raiseFloor(of network: String, _ freed: UInt64, to next: UInt32) {
            state.withLock { $0.floors[network] = (freed, next) }
        }
    }

    /// A controller; `changes` tells whose networks or addresses have changed, after the catalog shows it.
    public init(
        store: any ResourceStore, catalog: Catalog, changes: @escaping @Sendable () -> AsyncStream<NodeChanges>,
        clock: any WallClock, logger: Logger
    ) {
        self.store = store
        self.catalog = catalog
        self.changes = changes
        self.clock = clock
        self.logger = logger
    }

    /// Follows the catalog until it is cancelled; what a frozen store refuses is done once it takes writes again.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            for await change in changes() {
                do { try await StoreThaw.insist { try await follow(change) } } catch is CancellationError {
                    return
                } catch {
                    logger.error("addresses were not assigned: \(error)")
                }
            }
        }
    }

    /// Assigns what `change` has made missing, and takes back what it has made idle. Throws as `settle`.
    func follow(_ change: NodeChanges) async throws {
        // One that waits for an address may get one that another node needs no more.
        guard case .some(let nodes) = change, !pools.isShort else { return try await settle() }
        for id in nodes.sorted() { try await settle(id) }
    }

    /// Assigns what `id` lacks now. Throws `StoreError`, and what the catalog throws.
    public func settle(_ id: NodeID) async throws {
        guard needsWork(id) else { return }
        await turns.enter()
        defer { turns.leave() }
        guard try await !supply(id) else { return }
        try await settleAll()
    }

    /// Assigns what `id` lacks; false when that takes a look at everything: something is to be taken back, a pool is
    /// empty, or somebody else was quicker.
    private func supply(_ id: NodeID) async throws -> Bool {
        let networks = catalog.networksOfNode(id)
        guard let node = catalog.node(id), !AddressPlan.isWrong(node, in: networks) else { return false }
        for network in AddressPlan.lacks(node, in: networks) {
            guard let address = choose(for: node, network, networks),
                let revision = try await assign(
                    AddressAssignment.Spec(network: network, address: address, node: id))
            else { return false }
            try await catalog.reached(revision)
        }
        return true
    }

    /// Whether `id` has not just what it needs.
    private func needsWork(_ id: NodeID) -> Bool {
        let networks = catalog.networksOfNode(id)
        guard let node = catalog.node(id) else { return networks.assigned[id] != nil }
        return AddressPlan.isWrong(node, in: networks) || !AddressPlan.lacks(node, in: networks).isEmpty
    }

    /// The address for `node` that is its by name, or the lowest that is free; nil when that takes another one back.
    private func choose(for node: Node, _ name: String, _ networks: NetworkCatalog) -> IPv4Address? {
        guard let network = networks.networks[name] else { return nil }
        if let own = network.hosts[node.spec.name] { return catalog.isAssigned(name, own) ? nil : own }
        guard let start = network.poolStart?.value, let end = network.poolEnd?.value else { return nil }
        let named = Set(network.hosts.values)
        let freed = catalog.freedCount()
        var next = max(start, pools.floor(of: name, freed))
        while next <= end {
            let address = IPv4Address(next)
            if address != network.gateway, !named.contains(address), !catalog.isAssigned(name, address) {
                return address
            }
            next += 1
            pools.raiseFloor(of: name, freed, to: next)
        }
        return nil
    }

    /// Assigns all that is missing now, and takes back what is to be. Throws `StoreError`, and what the catalog throws.
    ///
    /// The store itself is asked who has what: two conductors, or two calls, never give one address twice, since an
    /// assignment is named by its address.
    public func settle() async throws {
        await turns.enter()
        defer { turns.leave() }
        try await settleAll()
    }

    private func settleAll() async throws {
        // Nothing to do is the usual case, and costs no read of the store.
        let networks = catalog.networks()
        guard !networks.templates.isEmpty || !networks.assigned.isEmpty else { return }
        pools.beginLook()
        for _ in 0..<Self.roundCountMax {
            let stored = try await store.fetchAll(AddressAssignment.self)
            let steps = AddressPlan.make(
                nodes: catalog.nodes(), catalog: catalog.networks(), assignments: stored.map(\.value.spec))
            guard !steps.isEmpty else {
                let now = catalog.networks()
                pools.endLook(isShort: catalog.nodes().contains { !AddressPlan.lacks($0, in: now).isEmpty })
                return
            }
            var last: Revision?
            for step in steps { last = try await carryOut(step, stored) ?? last }
            if let last { try await catalog.reached(last) }
        }
    }

    /// Returns the commit's revision; nil: somebody else was quicker, and the next look sees what is there then.
    private func carryOut(
        _ step: AddressPlan.Step, _ stored: [Stored<AddressAssignment>]
    ) async throws(StoreError) -> Revision? {
        switch step {
        case .assign(let spec): return try await assign(spec)
        case .release(let spec):
            guard let old = stored.first(where: { $0.value.spec == spec }) else { return nil }
            return try await commit(Transaction(conditions: [old.unchanged], operations: [.delete(old.value.key)]))
        }
    }

    private func assign(_ spec: AddressAssignment.Spec) async throws(StoreError) -> Revision? {
        let resource = AddressAssignment(
            metadata: Metadata(
                name: AddressAssignment.name(network: spec.network, address: spec.address),
                schemaVersion: AddressAssignment.schemaVersion, created: clock.now), spec: spec)
        return try await commit(
            Transaction(conditions: [.absent(resource.key)], operations: [try Stored(new: resource).put()]))
    }

    private func commit(_ transaction: Transaction) async throws(StoreError) -> Revision? {
        do {
            return try await store.commit(transaction)
        } catch {
            guard case .conflict = error else { throw error }
            return nil
        }
    }
}
