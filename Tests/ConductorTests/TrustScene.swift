import AgentPort
import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Identity
import LinuxSystem
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer
@testable import NodeAgent

/// The agents' port with the real hub, register and authorities behind it, on loopback; the agents are the real ones.
struct TrustScene: Sendable {
    let store: MemoryStore
    let catalog: LiveCatalog
    let authorities: SiteAuthorities
    let rotation: AuthorityController
    let register: CertificateRegister
    let hub: AgentHub
    let port: AgentPortServer
    let certificate: ServerCertificate
    let audit: AuditLog
    let vault: SecretVault
    let endpoint: String
    let directory: TemporaryDirectory

    /// Runs `body` with a scene of its own.
    static func run(_ body: @escaping @Sendable (TrustScene) async throws -> Void) async throws {
        let directory = try TemporaryDirectory("trust")
        let clock = SystemWallClock()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let store = MemoryStore(clock: clock)
        let cache = ResourceCache(
            store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let catalog = LiveCatalog(cache: cache)
        let vault = try await SecretVault.open(store: store, keyFile: directory.appending("key"), clock: clock)
        let keys = AuthorityVault(vault: vault, name: "Test", clock: clock)
        let authorities = SiteAuthorities(try await AuthorityController.open(store: store, keys: keys))
        let certificate = try ServerCertificate(
            authorities: authorities, names: [], addresses: { [IPv4Address(0x7F00_0001)] }, clock: clock,
            logger: logger)
        let register = CertificateRegister(store: store, clock: clock)
        let storeAuthority = try await StoreAuthority.open(in: vault, clock: clock)
        let audit = AuditLog(store: store, clock: clock)
        let power = BMCAccess(bmcs: { [] }, driver: { _ in throw CancellationError() })
        let hub = AgentHub(
            catalog: catalog,
            controller: NodeController(
                writer: NodeWriter(store: store), nodes: { catalog.nodes() }, node: { catalog.node($0) },
                late: { catalog.lateNodes(at: $0) }, changes: { catalog.nodeChanges() }, power: power, clock: clock,
                runs: { ["run-1"] }, logger: logger),
            feed: AgentViewFeed(logger: logger, clock: clock) { [] }, metrics: NodeMetrics(),
            logs: NodeLogs(directory: directory.appending("logs"), clock: clock), board: ViewBoard(cache),
            authorities: authorities,
            register: register, audit: audit,
            secrets: ControllerSecretsDesk(
                store: store, authority: storeAuthority, masterKeys: { vault.keyFileContent },
                segments: { catalog.segments() }, audit: audit, events: EventSequence(), clock: clock),
            clock: clock, apiPort: 9443, conductor: "run-1", logger: logger)
        let rotation = AuthorityController(
            store: store, keys: keys, authorities: authorities,
            dependents: { catalog.dependents(of: $0, heard: { _ in clock.now }, now: clock.now) },
            inForce: { _ in
                try certificate.renewIfDue()
                hub.endRefused()
            }, audit: audit, clock: clock, logger: logger)
        let port = AgentPortServer(
            configuration: AgentPortConfiguration(host: "127.0.0.1", port: 0), tls: certificate.agents, delegate: hub,
            logger: logger, isRevoked: { catalog.isRefused($0, serial: $1) })
        let number = try await port.listen()
        let scene = TrustScene(
            store: store, catalog: catalog, authorities: authorities, rotation: rotation, register: register, hub: hub,
            port: port, certificate: certificate, audit: audit, vault: vault, endpoint: "127.0.0.1:\(number)",
            directory: directory)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await catalog.cache.run() }
            group.addTask { try await hub.run() }
            group.addTask { try await port.run() }
            try await body(scene)
            group.cancelAll()
            try? await group.waitForAll()
        }
    }

    /// A node that is active, with the files of its agent; its certificate was issued `age` ago.
    func addNode(_ number: UInt8, certificateAge age: Duration = .zero) async throws -> SceneNode {
        let now = SystemWallClock().now
        let id = try NodeID("00000000-0000-4000-8000-0000000000" + Hex.encode([number]))
        var node = Node(
            metadata: Metadata(name: id.raw, schemaVersion: Node.schemaVersion, created: now),
            spec: Node.Spec(name: "n\(number)"),
            status: Node.Status(state: .active, since: now, identity: MachineIdentity()))
        node.spec.role = .network
        node.spec.approval = Node.Approval(by: "test", at: now, number: 1)
        let revision = try await store.commit(Transaction(operations: [try Stored(new: node).put()]))
        try await catalog.cache.wait(for: revision)
        let path = directory.appending("n\(number)")
        #expect(SystemFile.makeDirectory(path))
        let file = AgentIdentityFile(
            node: id, name: node.spec.name, provisioning: ["127.0.0.1:1"], conductors: [endpoint], token: nil)
        try SystemFile.replace("\(path)/agent.json", content: AgentStream.encode(file), mode: 0o600)
        let set = authorities.now
        try SystemFile.replace("\(path)/ca.pem", content: Array(set.bundlePEM.utf8), mode: 0o644)
        let issuer = try CertificateAuthority(
            certificatePEM: set.issuing.certificatePEM, privateKeyPEM: set.issuing.privateKeyPEM,
            clock: ManualWallClock(now.advanced(by: .zero - age)))
        let key = NodeKey()
        let issued = try issuer.issueNode(id, signingRequestPEM: key.signingRequest(for: id))
        try await register.note(issued, of: set.issuing.fingerprint, for: id)
        let files = AgentDirectory(path: path)
        try files.store(NodeCredentials(key: key, chainPEM: issued.certificatePEM))
        return SceneNode(id: id, files: files, serial: issued.serial)
    }

    /// The node's certificates as they are stored.
    func certificates(of node: NodeID) async throws -> NodeCertificates? {
        try await store.fetch(NodeCertificates.self, node.raw)?.value
    }

    /// Orders a rotation, or changes the order.
    func order(_ change: (inout SiteAuthority.Rotation) -> Void = { _ in }) async throws {
        let now = SystemWallClock().now
        let revision = try await store.update(SiteAuthority.self, SiteAuthority.name) { stored in
            guard var stored else { return nil }
            var rotation =
                stored.value.spec.rotation
                ?? SiteAuthority.Rotation(number: stored.value.status.state.newest.number + 1, by: "test", at: now)
            change(&rotation)
            stored.value.spec.rotation = rotation
            return stored
        }
        if let revision { try await catalog.cache.wait(for: revision) }
    }

    var state: SiteAuthority.State {
        get async throws { try await store.fetch(SiteAuthority.self, SiteAuthority.name)!.value.status.state }
    }
}

/// A node of a scene, by its files.
struct SceneNode: Sendable {
    let id: NodeID
    let files: AgentDirectory
    /// The serial number of its first certificate.
    let serial: String

    /// Runs its agent for as long as `body` runs.
    func runAgent(
        modules: [any RoleModule] = [], addresses: [IPv4Address] = [], _ body: () async throws -> Void
    ) async throws {
        let logs = LogBuffer()
        var logger = Logger(label: "agent") { _ in AgentLogHandler(buffer: logs) }
        logger.logLevel = .info
        let agent = Agent(
            configuration: AgentConfiguration(
                directory: files.path, program: "network-agent", version: "1", bootID: "boot"),
            modules: modules, metrics: { [] }, addresses: { addresses }, logs: logs, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await agent.run() }
            try await body()
            group.cancelAll()
            try await group.waitForAll()
        }
    }
}
