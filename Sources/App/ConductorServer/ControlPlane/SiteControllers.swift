import AgentProtocol
import BareMetal
import BlobStore
import CatalogBareMetal
import ControlPlane
import Primitives
import ReconcileRuntime
import ResourceModel

/// Nodes, conductors and blobs as a control plane's steps need them: from the catalog, and from the conductors themselves.
struct SiteControllers: ControllerSurroundings {
    let catalog: LiveCatalog
    let blobs: SiteBlobs
    let manifests: ManifestMemory
    /// Whether a conductor of this site answers at a URL.
    let answers: @Sendable (String) async -> Bool

    func controllers() async throws -> [String: ControllerState] {
        try await catalog.cache.barrier()
        return now()
    }

    /// The nodes with the controller role, as the catalog has them now.
    func now() -> [String: ControllerState] {
        let serving = Set(catalog.conductors().map(\.metadata.name))
        var states: [String: ControllerState] = [:]
        for node in catalog.nodes() where node.spec.role == .controller {
            let address = catalog.controllerAddress(of: node)
            states[node.spec.name] = ControllerState(
                address: address,
                isReady: address != nil && node.isActiveAndConnected && node.hasControllerSecrets == true,
                isServing: serving.contains(node.spec.name),
                isLentByOthers: address.map { isLentByOthers($0, to: node) } ?? false)
        }
        return states
    }

    private func isLentByOthers(_ address: IPv4Address, to node: Node) -> Bool {
        let network = (try? node.id).flatMap { try? catalog.networks(of: $0).item(for: node) }
        if network?.links.contains(where: { $0.addresses.contains { $0.address == address } }) == true {
            return false
        }
        return catalog.segments().first { $0.spec.network.contains(address) }?.spec.mode != .server
    }

    // MARK: What a control plane is woken by

    /// What is wanted, and what it is made of.
    struct Situation: Hashable, Sendable {
        var wanted: ControlPlaneRecord.Spec?
        var controllers: [String: ControllerState]
        /// Conductors that agents are told of.
        var noted: Set<String>
    }

    /// The situation at this moment, and whenever some of what it is made of may have changed.
    func situations() -> AsyncStream<Situation> {
        let kinds: [any Resource.Type] = [
            ControlPlaneRecord.self, Node.self, ConductorRecord.self, ConductorEndpoint.self, Segment.self,
        ]
        return catalog.cache.changes(of: kinds) { _ in
            Situation(
                wanted: catalog.cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name)?.spec, controllers: now(),
                noted: Set(catalog.cache.all(ConductorEndpoint.self).map(\.metadata.name)))
        }
    }

    func answers(at address: SocketAddress) async -> Bool { await answers("https://\(address)") }

    // MARK: Blobs

    /// At once that many conductors are asked to fetch: each asks for its share.
    func copyBlobs(to controllers: [String]) async throws {
        let shares = try await shortage(on: controllers).byTarget
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (holder, digests) in shares { group.addTask { try await blobs.bring(digests, to: holder) } }
            try await group.waitForAll()
        }
    }

    func blobsShort(on controllers: [String]) async throws -> Int { try await shortage(on: controllers).targets.count }

    /// What lies on fewer of these controllers than it should. Throws while one of them does not tell what it has.
    private func shortage(on controllers: [String]) async throws -> BlobShortage {
        try await catalog.cache.barrier()
        let snapshot = catalog.cache.snapshot()
        guard snapshot.isLoaded, snapshot.undecodable.isEmpty else { throw BlobsUnknown(snapshot.undecodable.count) }
        let named = try await NamedBlobs.of(snapshot, in: blobs, read: manifests).all.sorted()
        var shortage = BlobShortage(named, held: try await holdings(of: named, among: controllers))
        shortage.leaveOut(try await lost(among: shortage.targets.keys.sorted(), beside: controllers))
        return shortage
    }

    private func holdings(of digests: [Digest], among names: [String]) async throws -> [String: Set<Digest>] {
        try await withThrowingTaskGroup(of: (String, Set<Digest>).self) { group in
            for name in names { group.addTask { (name, try await blobs.held(digests, by: name)) } }
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    /// Those of `digests` that no conductor has any more. Throws while somebody who may have them does not answer.
    private func lost(among digests: [Digest], beside controllers: [String]) async throws -> Set<Digest> {
        guard !digests.isEmpty else { return [] }
        let everybody = Set(blobs.peers.map(\.name) + [blobs.name] + controllers)
        let held = try await holdings(of: digests, among: everybody.sorted())
        var left = held.values.reduce(into: Set(digests)) { $0.subtract($1) }
        for source in blobs.sources where !left.isEmpty {
            do { left.subtract(try await blobs.held(left.sorted(), by: source.name)) } catch {
                guard case .unreachable = error else { throw error }
                throw SourceSilent(name: source.name, count: left.count)
            }
        }
        return left
    }
}

/// Which blobs the site needs is not known.
struct BlobsUnknown: UserFacingError, Hashable {
    /// Documents that cannot be read; 0: the catalog is not there yet.
    let unreadable: Int

    init(_ unreadable: Int) { self.unreadable = unreadable }

    var publicMessage: String {
        unreadable == 0
            ? "The catalog has not been read yet; it is tried again."
            : "\(unreadable) documents of the store cannot be read by this version, so that nobody knows which blobs have to "
                + "be copied; run the newest version on every conductor."
    }
}

/// Somebody who ran as a conductor once, and may have blobs that nobody else has, does not answer.
struct SourceSilent: UserFacingError, Hashable {
    let name: String
    let count: Int

    var publicMessage: String {
        "\(count) blobs are on no conductor that runs, and '\(name)', which was one, does not answer: start it again until they "
            + "are copied. Only if it is lost for good, go on without them: muster conductor forget \(name)"
    }
}
