import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import Crypto
import EtcdBed
import Foundation
import Identity
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport

@testable import ConductorServer

/// A conductor's store in memory with its catalog, and the surroundings of a pivot away from it.
struct PivotScene: Sendable {
    let memory: MemoryStore
    /// The store as the catalog reads it.
    let gate: GatedStore
    let catalog: LiveCatalog
    let clock: ManualWallClock
    let authority: StoreAuthority
    let surroundings: SitePivotSurroundings
    /// The folder of the conductor's key and certificate for the new store.
    let directory: String

    /// Runs `body` with a catalog that is read.
    static func with(_ body: @escaping @Sendable (PivotScene) async throws -> Void) async throws {
        let directory = try TemporaryDirectory("pivot")
        let clock = ManualWallClock(SystemWallClock().now)
        let memory = MemoryStore(clock: clock)
        let gate = GatedStore(memory, why: "the site moves to its controllers")
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let cache = ResourceCache(
            store: gate, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let vault = try await SecretVault.open(store: memory, keyFile: directory.appending("master.key"))
        let authority = try await StoreAuthority.open(in: vault)
        let catalog = LiveCatalog(cache: cache)
        let surroundings = SitePivotSurroundings(
            seed: .init(
                name: "seed", hosts: ["10.77.0.1", "localhost"], port: 9443, blobs: "https://10.77.0.1:9443"),
            catalog: catalog,
            store: SurroundingsStore(
                name: "seed", directory: directory.path, clock: clock, logger: logger
            ) { authority },
            audit: AuditLog(store: gate, clock: clock), clock: clock, behind: { _ in 7 })
        let scene = PivotScene(
            memory: memory, gate: gate, catalog: catalog, clock: clock, authority: authority,
            surroundings: surroundings, directory: directory.path)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await cache.run() }
                defer { group.cancelAll() }
                try await withDeadline(.seconds(60)) {
                    try await cache.barrier()
                    try await body(scene)
                }
            }
        } catch {
            await surroundings.close()
            throw error
        }
        await surroundings.close()
    }

    /// Writes resources, past the gate, and waits until the catalog shows them.
    func put(_ resources: any Resource...) async throws {
        var operations: [Transaction.Operation] = []
        for resource in resources { operations.append(try Self.put(resource)) }
        try await catalog.cache.wait(for: try await memory.commit(Transaction(operations: operations)))
    }

    private static func put(_ resource: some Resource) throws -> Transaction.Operation {
        try Stored(new: resource).put()
    }

    // MARK: What a site has

    static let time = Timestamp(millisecondsSinceEpoch: 0)

    static func node(_ name: String, number: UInt8, _ role: Role, _ change: (inout Node.Agent) -> Void) throws -> Node {
        let id = "00000000-0000-4000-8000-0000000000" + Hex.encode([number])
        var node = Node(
            metadata: Metadata(name: id, schemaVersion: Node.schemaVersion, created: time),
            spec: Node.Spec(name: name),
            status: Node.Status(state: .active, since: time, identity: MachineIdentity()))
        node.spec.role = role
        var agent = Node.Agent(version: "1", bootID: "b", isConnected: true, since: time)
        change(&agent)
        node.status.agent = agent
        return node
    }

    /// A node that could be a controller, at 10.77.0.(10 + number).
    static func controller(_ number: UInt8, hasSecrets: Bool = true) throws -> Node {
        try node("c\(number)", number: number, .controller) { agent in
            agent.addresses = [IPv4Address(0x0A4D_0000 + 10 + UInt32(number))]
            agent.conditions = [
                Condition(type: Condition.controllerSecretsReady, isTrue: hasSecrets, message: "", since: time)
            ]
        }
    }

    static func segment(
        _ name: String = "rack", _ network: String = "10.77.0.0/24", server: IPv4Address = IPv4Address(0x0A4D_0001),
        pools: [Segment.AddressRange] = []
    ) throws -> Segment {
        Segment(
            metadata: Metadata(name: name, schemaVersion: Segment.schemaVersion, created: time),
            spec: Segment.Spec(interface: nil, network: try IPv4Network(network), server: server, pools: pools))
    }

    /// A control plane of c1, c2 and c3 that the site is being moved to.
    static func plane(vip: IPv4Address? = nil, isPublished: Bool = true, token: String = "t") -> ControlPlaneRecord {
        let names = ["c1", "c2", "c3"]
        var spec = ControlPlaneRecord.Spec(controllers: names)
        spec.vip = vip.map { .init(address: $0, prefixLength: 24) }
        return ControlPlaneRecord(
            created: time, spec: spec,
            status: .init(
                phase: .pivoting,
                assignments: names.enumerated().map { index, name in
                    .init(controller: name, address: IPv4Address(0x0A4D_000B + UInt32(index)), runsConductor: true)
                }, published: isPublished ? names : [], token: token))
    }

    static func endpoint(_ id: String, _ url: String) -> CatalogIdentity.Endpoint {
        CatalogIdentity.Endpoint(
            name: id, created: time, spec: EndpointSpec(serviceID: "s", interface: "public", url: url))
    }

    static func conductor(_ name: String, _ host: String) -> (ConductorRecord, ConductorEndpoint) {
        (
            ConductorRecord(
                name: name,
                spec: .init(
                    run: "r", version: "1", started: time,
                    addresses: .init(
                        api: "https://\(host):9443", agents: "\(host):7443", provisioning: "\(host):8443",
                        boot: "http://\(host):8080"))),
            ConductorEndpoint(
                metadata: Metadata(name: name, schemaVersion: ConductorEndpoint.schemaVersion, created: time),
                spec: .init(agents: ["\(host):7443"], provisioning: ["\(host):8443"], api: ["\(host):9443"]))
        )
    }

    /// A cluster whose members have certificates of the site's store authority, as controllers get them.
    func cluster(members count: Int) throws -> EtcdTestCluster {
        let cluster = try EtcdTestCluster(members: count)
        let key = P256.Signing.PrivateKey()
        let issued = try authority.issue(
            signingRequestPEM: HostileScene.signingRequest(key), controller: "c1",
            addresses: [IPv4Address(0x7F00_0001)])
        let client = try authority.issueClient(named: "etcdctl")
        let files = [
            "ca.pem": authority.certificatePEM, "member.pem": issued.certificatePEM,
            "member.key": key.pemRepresentation, "client.pem": client.certificate.certificatePEM,
            "client.key": client.privateKey.revealed,
        ]
        for (name, text) in files {
            try text.write(toFile: "\(cluster.directory)/\(name)", atomically: false, encoding: .utf8)
        }
        return cluster
    }
}
