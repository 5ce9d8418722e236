import APISupport
import AgentProtocol
import AsyncHTTPClient
import BlobStore
import CatalogBareMetal
import CatalogIdentity
import ClientSDK
import Dashboard
import FleetAPI
import FleetContract
import HTTPTypes
import Hummingbird
import Identity
import Logging
import NIOCore
import NIOHTTP1
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport

@testable import ConductorServer

/// The operators' API over the store in memory, answering on a port of the loopback interface.
struct FleetFixture: Sendable {
    let store: MemoryStore
    let cache: ResourceCache
    let blobs: FileBlobStore
    let audit: AuditLog
    let vault: SecretVault
    let operators: OperatorTokens
    let clock: ManualWallClock
    let api: String
    let tokens: [OperatorRole: String]
    let controllers: ControllerServices

    /// Runs `body` with a client that has the token of this role, and ends the client.
    func with<Result>(
        _ role: OperatorRole = .admin, _ body: (FleetClient) async throws -> Result
    ) async throws -> Result {
        let client = try FleetClient(.init(api: api, token: tokens[role]))
        do {
            let result = try await body(client)
            await client.shutdown()
            return result
        } catch {
            await client.shutdown()
            throw error
        }
    }

    /// A request of a plain HTTP client; the body is read unless it is a stream.
    func raw(
        _ method: String, _ path: String, token: String?, body: String? = nil, contentType: String = "application/json"
    ) async throws -> (status: Int, body: String) {
        var request = HTTPClientRequest(url: api + path)
        request.method = .init(rawValue: method)
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body {
            request.headers.add(name: "Content-Type", value: contentType)
            request.body = .bytes(ByteBuffer(string: body))
        }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(20))
        let isStream = response.headers.first(name: "content-type") == "application/x-ndjson"
        let bytes = isStream ? ByteBuffer() : try await response.body.collect(upTo: 1 << 20)
        return (Int(response.status.code), String(buffer: bytes))
    }

    /// Writes a node and waits until it is shown.
    @discardableResult
    func addNode(_ name: String, number: UInt8, _ change: (inout Node) -> Void = { _ in }) async throws -> NodeID {
        let id = try NodeID("00000000-0000-4000-8000-0000000000" + Hex.encode([number]))
        let identity = MachineIdentity(macs: [MACAddress(bytes: [0x52, 0x54, 0, 0, 0, number])])
        var node = Node(
            metadata: Metadata(name: id.raw, schemaVersion: Node.schemaVersion, created: clock.now),
            spec: Node.Spec(name: name), status: Node.Status(state: .enroll, since: clock.now, identity: identity))
        change(&node)
        try await put(node)
        return id
    }

    /// Writes a resource and waits until it is shown.
    func put<R: Resource>(_ resource: R) async throws {
        let revision = try await store.commit(Transaction(operations: [try Stored(new: resource).put()]))
        try await cache.wait(for: revision)
    }

    /// Writes an image that nobody reads.
    func addImage(_ name: String = "node-network", role: Role = .network) async throws {
        let spec = NodeImage.Spec(
            role: role, manifest: Digest(bytes: [UInt8](repeating: 7, count: 32)), size: .mebibytes(1),
            storedSize: .kibibytes(9), chunkCount: 3)
        try await put(NodeImage(metadata: Metadata(name: name, schemaVersion: 1, created: clock.now), spec: spec))
    }

    func node(_ id: NodeID) async throws -> Node? { try await store.fetch(Node.self, id.raw)?.value }
}

/// Runs `body` with an API of its own, which is gone afterwards.
func withFleet(
    live: LiveNodeData = LiveNodeData(), clock: ManualWallClock = ManualWallClock(),
    overrides: [String: String] = [:], routes: [GuardedRoute] = [],
    reachesStore: @escaping @Sendable () -> Bool = { true },
    controllers: (MemoryStore) -> ControllerServices = { _ in ControllerServices() },
    _ body: @escaping @Sendable (FleetFixture) async throws -> Void
) async throws {
    let directory = try TemporaryDirectory("fleet")
    let store = MemoryStore(clock: clock)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let cache = ResourceCache(
        store: store, kinds: OperatorAPI.cachedKinds + IdentityDirectory.kinds,
        indexes: OperatorAPI.cacheIndexes + IdentityDirectory.indexes, logger: logger)
    let blobs = try FileBlobStore(directory: directory.appending("blobs"), clock: clock)
    let vault = try await SecretVault.open(store: store, keyFile: directory.appending("key"), clock: clock)
    let audit = AuditLog(store: store, clock: clock)
    let operators = OperatorTokens(store: store, clock: clock)
    var tokens: [OperatorRole: String] = [:]
    for role in OperatorRole.allCases {
        tokens[role] = try await operators.make(name: "test-\(role.rawValue)", role: role).revealed
    }
    let policy = try PolicyTable(IdentityPolicy.defaults + FleetPolicy.defaults, overrides: overrides)
    let gate = Gate(policy: policy, audit: audit) {
        IdentityDirectory(cache.snapshot()).project(named: "admin", in: IdentityBootstrap.defaultDomain)?.id
    }
    var services = FleetServices(
        store: store, cache: cache, blobs: SiteBlobs(alone: blobs), vault: vault, gate: gate,
        policy: PolicyDesk(policy: policy, routes: routes) { IdentityDirectory(cache.snapshot()) }, audit: audit,
        operators: operators, clock: clock, live: live,
        conductor: ConductorInfo(version: "1.2.3", reachesStore: reachesStore), logger: logger,
        hashPassword: { try PasswordHash.make($0) })
    services.controllers = controllers(store)
    let fleetAPI = OperatorAPI(services: services)
    let dashboard = WebPages(
        reads: fleetAPI.reads, gate: services.gate, audit: audit, clock: clock, version: "1.2.3",
        verify: { operators.verify($0).map(Caller.init) }, barrier: { try await cache.barrier() })
    let router = fleetAPI.router(
        verify: { operators.verify($0).map(Caller.init) },
        barrier: {
            guard reachesStore() else { throw StoreError.unavailable("no member answers") }
            try await cache.barrier()
        },
        pages: { dashboard.addRoutes(to: $0) })
    let (ports, portQueue) = AsyncStream.makeStream(of: Int.self)
    let application = Application(
        router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
        onServerRunning: { channel in portQueue.yield(channel.localAddress?.port ?? 0) }, logger: logger)
    let (made, madeControllers) = (tokens, services.controllers)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await cache.run() }
        group.addTask { try await application.run() }
        defer { group.cancelAll() }
        var iterator = ports.makeAsyncIterator()
        let port = await iterator.next() ?? 0
        let fixture = FleetFixture(
            store: store, cache: cache, blobs: blobs, audit: audit, vault: vault, operators: operators, clock: clock,
            api: "http://127.0.0.1:\(port)", tokens: made, controllers: madeControllers)
        try await withDeadline(.seconds(120)) { try await body(fixture) }
    }
    withExtendedLifetime(directory) {}
}
