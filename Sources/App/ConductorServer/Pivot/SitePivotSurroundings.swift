import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import ControlPlane
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Nodes, agents and the controllers' store as a pivot's steps need them, seen from the conductor that the site moves away
/// from.
struct SitePivotSurroundings: PivotSurroundings {
    /// That conductor, as the new store has to know it.
    struct Seed: Sendable, Hashable {
        /// Its name.
        var name: String
        /// The hosts under which its API is known.
        var hosts: Set<String>
        /// The port of its API.
        var port: Int
        /// Where it hands out blobs once it has let go.
        var blobs: String
    }

    let seed: Seed
    let catalog: LiveCatalog
    let store: SurroundingsStore
    let audit: AuditLog
    let clock: any WallClock
    /// How many connected agents have not told yet of a view of this revision or newer.
    let behind: @Sendable (Revision) -> Int

    // MARK: Nodes and agents

    func controllers() async throws -> [String: PivotController] {
        // What was never read knows none; what is shut after the opening knows what it knew.
        guard catalog.cache.snapshot().isLoaded else { return [:] }
        do { try await catalog.cache.barrier() } catch {
            guard error.isOfFrozenStore else { throw error }
        }
        return Self.controllers(in: catalog)
    }

    /// The nodes with the controller role, as the catalog has them now.
    static func controllers(in catalog: LiveCatalog) -> [String: PivotController] {
        var found: [String: PivotController] = [:]
        for node in catalog.nodes() where node.spec.role == .controller {
            found[node.spec.name] = PivotController(
                address: catalog.controllerAddress(of: node), isReady: node.isActiveAndConnected,
                hasSecrets: node.hasControllerSecrets == true)
        }
        return found
    }

    func agentsBehind(_ revision: Revision) async -> Int { behind(revision) }

    // MARK: The controllers' store

    func members(at addresses: [SocketAddress]) async throws -> [StoreMember] {
        try await store.members(at: place(addresses))
    }

    func target(at addresses: [SocketAddress]) async throws -> any ResourceStore {
        try await store.store(at: place(addresses))
    }

    func beginNewHistory(at addresses: [SocketAddress], beyond revision: Revision) async throws {
        try await store.beginNewHistory(at: place(addresses), beyond: revision)
    }

    func close() async { await store.close() }

    private func place(_ addresses: [SocketAddress]) -> SurroundingsStore.Place {
        SurroundingsStore.Place(addresses: addresses, token: plane?.status.token)
    }

    private var plane: ControlPlaneRecord? { catalog.cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name) }

    // MARK: What the new store has of the seed

    /// The seed is no conductor any more from the opening on, but a source of blobs; who looks an address of it up in the
    /// cloud's catalog finds the controllers.
    func openingOperations() throws -> [Transaction.Operation] {
        var operations: [Transaction.Operation] = [
            .delete(ConductorRecord.key(seed.name)), try endpointOfSeed(),
        ]
        let moved = try endpointsOfCloud()
        operations += moved
        let names = plane?.spec.controllers.joined(separator: ", ") ?? "its controllers"
        operations.append(
            try audit.operation(
                AuditEventSpec(
                    who: "conductor:\(seed.name)", verb: "open",
                    resource: ControlPlaneRecord.key(ControlPlaneRecord.name), outcome: .ok,
                    summary:
                        "the site has moved from \(seed.name) to \(names); \(moved.count) endpoints of the cloud's "
                        + "catalog moved with it")))
        return operations
    }

    func forgetSeed(in target: any ResourceStore) async throws {
        let key = ConductorEndpoint.key(seed.name)
        // A conductor of that name that serves has its own there by now.
        guard let found = try await target.fetch(ConductorEndpoint.self, seed.name), found.value.spec.blobs != nil
        else { return }
        do {
            _ = try await target.commit(Transaction(conditions: [found.unchanged], operations: [.delete(key)]))
        } catch {
            // Somebody else has deleted it, or made it another.
            guard case .conflict = error else { throw error }
        }
    }

    private func endpointOfSeed() throws -> Transaction.Operation {
        let spec = ConductorEndpoint.Spec(agents: [], provisioning: [], api: [], blobs: seed.blobs)
        let metadata = Metadata(
            name: seed.name, schemaVersion: ConductorEndpoint.schemaVersion, created: clock.now)
        var endpoint =
            catalog.cache.stored(ConductorEndpoint.self, seed.name)
            ?? Stored(new: ConductorEndpoint(metadata: metadata, spec: spec))
        endpoint.value.spec = spec
        return try endpoint.put()
    }

    /// The endpoints in the cloud's catalog that name the seed, naming the controllers instead.
    private func endpointsOfCloud() throws -> [Transaction.Operation] {
        guard let next = plane?.endpoints.first else { return [] }
        var operations: [Transaction.Operation] = []
        let now = catalog.cache.snapshot()
        for endpoint in now.all(Endpoint.self).sorted(by: { $0.id < $1.id }) {
            guard let url = SeedAddress.moved(endpoint.spec.url, from: seed, to: next),
                var stored = now.stored(Endpoint.self, endpoint.metadata.name)
            else { continue }
            stored.value.spec.url = url
            operations.append(try stored.put())
        }
        guard operations.count <= SeedAddress.endpointCountMax else { throw TooManyEndpoints(count: operations.count) }
        return operations
    }
}

/// Addresses that name the seed.
enum SeedAddress {
    /// The most endpoints that go into the opening transaction; a conductor makes nine.
    static let endpointCountMax = 64

    /// `url` at `next`, a URL without a path, if it is the seed's API; nil: it is somebody else's.
    static func moved(_ url: String, from seed: SitePivotSurroundings.Seed, to next: String) -> String? {
        let scheme = "https://"
        guard url.hasPrefix(scheme) else { return nil }
        let rest = url.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" }
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        guard let host = parts.first, (parts.count == 1 ? 443 : Int(parts[1])) == seed.port, parts.count <= 2,
            seed.hosts.contains(host.lowercased())
        else { return nil }
        return next + rest.dropFirst(authority.count)
    }
}

/// More endpoints of the cloud's catalog name the seed than one transaction takes.
struct TooManyEndpoints: UserFacingError, Hashable {
    let count: Int

    var publicMessage: String {
        "\(count) endpoints of the cloud's catalog name this conductor, and at most \(SeedAddress.endpointCountMax) move "
            + "with it: delete those that are not needed (openstack endpoint list)."
    }
}

extension SitePivotSurroundings {
    /// What is around the conductor that `ground` is of; its key and certificate for the store are in its state directory.
    init(_ ground: PivotGround) {
        let (configuration, vault, clock, hub) = (ground.configuration, ground.vault, ground.clock, ground.hub)
        self.init(
            seed: .init(
                name: configuration.conductorName, hosts: configuration.apiHosts, port: configuration.ports.api,
                blobs: configuration.addresses.api), catalog: ground.catalog,
            store: SurroundingsStore(
                name: configuration.conductorName, directory: configuration.stateDirectory, clock: clock,
                logger: ground.logger
            ) { try await StoreAuthority.open(in: vault, clock: clock) },
            audit: ground.audit, clock: clock, behind: { hub?.newest.count(behind: $0) ?? 0 })
    }
}

extension ConductorConfiguration {
    /// The hosts under which clients know this conductor's API, in small letters.
    var apiHosts: Set<String> {
        let own = LocalAddresses.all().map(\.description) + ["127.0.0.1", "localhost", reachableHost, apiHost]
        return Set((own + names).map { $0.lowercased() }).subtracting(["0.0.0.0"])
    }
}
