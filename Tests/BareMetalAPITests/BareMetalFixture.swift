import APIConformance
import APISupport
import AgentProtocol
import BareMetalAPI
import CatalogBareMetal
import CatalogIdentity
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport

@testable import Identity

/// The bare-metal API over a memory store; tokens say whose they are: `ROLES@SCOPE`, such as `admin@system`.
struct BareMetalFixture: Sendable {
    let store: MemoryStore
    let cache: ResourceCache
    let clock: ManualWallClock
    let backend: BareMetalBackend
    let door: APIDoor
    private let client: APIClient<BareMetalBackend>

    /// The project that owns machines.
    static let owner = "0123456789abcdef0123456789abcdef"

    struct Answer {
        fileprivate let seen: SeenAnswer

        var status: Int { seen.status }
        var body: JSONValue { seen.json }
        var headers: HTTPFields { seen.headers }

        /// What an error says.
        var fault: String? { Self.fault(body) }

        /// What an error's body says; nil: it is none.
        static func fault(_ body: JSONValue) -> String? {
            guard let text = body["error_message"]?.string,
                let inner = try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
            else { return nil }
            return inner["faultstring"]?.string ?? inner["description"]?.string
        }

        /// The UUIDs of a list of nodes.
        var uuids: [String] { body["nodes"]?.array?.compactMap { $0["uuid"]?.string } ?? [] }
    }

    /// The same with changes written to another store.
    func with(_ written: any ResourceStore) throws -> BareMetalFixture {
        try BareMetalFixture(store, cache, clock, written: written)
    }

    fileprivate init(
        _ store: MemoryStore, _ cache: ResourceCache, _ clock: ManualWallClock, written: (any ResourceStore)? = nil
    ) throws {
        self.store = store
        self.cache = cache
        self.clock = clock
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        backend = BareMetalBackend(
            store: written ?? store, cache: cache, audit: AuditLog(store: store, clock: clock),
            ownerOfMachines: { _ in Self.owner },
            conductor: { $0.all(ConductorRecord.self).first?.metadata.name }, clock: clock, logger: logger)
        door = APIDoor(
            policy: try PolicyTable(IdentityPolicy.defaults + BareMetalPolicy.defaults),
            verify: { Caller(try Self.token($0)) }, barrier: { try await cache.barrier() })
        client = APIClient(IronicAPI.service(backend, door: door))
    }

    private static func token(_ text: String) throws -> ValidToken {
        let parts = text.split(separator: "@").map(String.init)
        guard parts.count == 2 else { throw TokenRefusal.expired }
        let time = Timestamp(millisecondsSinceEpoch: 0)
        let scope: TokenPayload.Scope = parts[1] == "system" ? .system : .project(parts[1])
        let user = "u-\(parts[0])"
        let payload = TokenPayload(
            userID: user, methods: ["password"], scope: scope, issued: time, expires: time, auditID: "a",
            auditChainID: "a")
        let domain = Project(
            name: "default", created: time, spec: ProjectSpec(name: "Default", domainID: nil, parentID: nil))
        let project = Project(
            name: parts[1], created: time, spec: ProjectSpec(name: parts[1], domainID: "default", parentID: "default"))
        return ValidToken(
            payload: payload, user: User(name: user, created: time, spec: UserSpec(name: "ann", domainID: "default")),
            userDomain: domain, scope: scope == .system ? nil : project, scopeDomain: scope == .system ? nil : domain,
            roles: parts[0].split(separator: ",").map {
                UserRole(name: String($0), created: time, spec: RoleSpec(name: String($0)))
            }, rolesEnd: nil, trust: nil, applicationCredential: nil, accessRules: nil)
    }

    /// Calls the API in version 1.`minor`.
    func call(
        _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil, minor: Int? = 115,
        token: String? = "admin,manager,member,reader@system"
    ) async throws -> Answer {
        var headers: HTTPFields = [:]
        if let token { headers[HTTPField.Name("X-Auth-Token")!] = token }
        if let minor { headers[HTTPField.Name("X-OpenStack-Ironic-API-Version")!] = "1.\(minor)" }
        if body != nil { headers[.contentType] = "application/json" }
        return Answer(
            seen: try await client.send(
                method, path, RequestBody(buffer: ByteBuffer(bytes: body?.text ?? [])), headers))
    }

    /// Makes a node without hardware and returns its UUID.
    func makeNode(_ members: [String: JSONValue] = [:], minor: Int = 115) async throws -> String {
        let body = JSONValue.object(members.merging(["driver": "fake-hardware"]) { $1 })
        return try await call(.post, "/v1/nodes", body, minor: minor).body["uuid"]?.string ?? ""
    }

    /// Writes a machine and waits until it is shown; returns its UUID.
    func addMachine(_ number: UInt8, _ edit: (inout Node) -> Void = { _ in }) async throws -> String {
        let id = "00000000-0000-4000-8000-0000000000" + Hex.encode([number])
        let identity = MachineIdentity(macs: [MACAddress(bytes: [0x52, 0x54, 0, 0, 0, number])])
        var node = Node(
            metadata: Metadata(name: id, schemaVersion: Node.schemaVersion, created: clock.now),
            spec: Node.Spec(name: "m\(number)"),
            status: Node.Status(state: .enroll, since: clock.now, identity: identity))
        edit(&node)
        try await put(node)
        return id
    }

    /// Writes the record of a conductor that runs; with `isGone` only what is kept of one that does not.
    func addConductor(_ name: String, isGone: Bool = false) async throws {
        let addresses = ConductorRecord.Addresses(
            api: "https://10.0.0.1:9443", agents: "10.0.0.1:9440", provisioning: "10.0.0.1:9441",
            boot: "http://10.0.0.1:8080")
        let endpoint = ConductorEndpoint.Spec(
            agents: [addresses.agents], provisioning: [addresses.provisioning], api: [addresses.apiPort])
        let metadata = Metadata(name: name, schemaVersion: ConductorEndpoint.schemaVersion, created: clock.now)
        try await put(ConductorEndpoint(metadata: metadata, spec: endpoint))
        if isGone { return }
        try await put(
            ConductorRecord(
                name: name, spec: .init(run: "run-\(name)", version: "1", started: clock.now, addresses: addresses)))
    }

    /// Writes a resource and waits until it is shown.
    func put<R: Resource>(_ resource: R) async throws {
        let revision = try await store.commit(Transaction(operations: [try Stored(new: resource).put()]))
        try await cache.wait(for: revision)
    }
}

/// Runs `body` with an API of its own.
func withBareMetal(_ body: @escaping @Sendable (BareMetalFixture) async throws -> Void) async throws {
    let clock = ManualWallClock()
    let store = MemoryStore(clock: clock)
    let kinds: [any Resource.Type] =
        [Node.self, BMC.self, NodeImage.self, ConductorRecord.self, ConductorEndpoint.self] + IronicAPI.cachedKinds
    let cache = ResourceCache(
        store: store, kinds: kinds,
        indexes: [AnyCacheIndex(CacheIndex<Node>("name") { [$0.spec.name] })] + IronicAPI.cacheIndexes,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let fixture = try BareMetalFixture(store, cache, clock)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await cache.run() }
        defer { group.cancelAll() }
        try await withDeadline(.seconds(60)) { try await body(fixture) }
    }
}
