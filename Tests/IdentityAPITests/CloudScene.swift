import APIConformance
import APISupport
import CatalogIdentity
import HTTPTypes
import Hummingbird
import Identity
import IdentityAPI
import Logging
import NIOCore
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import Synchronization
import TestSupport

/// The identity API of a first start over a memory store, called without a network.
struct CloudScene: Sendable {
    let store: MemoryStore
    let cache: ResourceCache
    let vault: SecretVault
    let clock: ManualWallClock
    /// A token of the administrator in the project `admin`.
    let admin: String
    /// What the API works with.
    let backend: IdentityBackend
    let door: APIDoor
    private let adminPassword: String
    private let client: APIClient<IdentityBackend>

    /// An answer of the API.
    struct Answer: Sendable {
        fileprivate let seen: SeenAnswer

        var status: Int { seen.status }
        var text: String { seen.text }
        var headers: HTTPFields { seen.headers }
        var json: JSONValue { seen.json }

        /// The member at a path of names and numbers, for example `limits/0/id`.
        subscript(path: String) -> JSONValue { seen[path] }
    }

    /// Calls `/identity/v3` + `path`.
    func call(
        _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil, token: String?? = nil,
        headers: HTTPFields = [:]
    ) async throws -> Answer {
        var headers = headers
        if let text = token ?? admin { headers[HTTPField.Name("X-Auth-Token")!] = text }
        if body != nil { headers[.contentType] = "application/json" }
        return try await send(method, "/v3\(path)", RequestBody(buffer: ByteBuffer(bytes: body?.text ?? [])), headers)
    }

    /// Sends any bytes to `/identity` + `path`.
    func send(
        _ method: HTTPRequest.Method, _ path: String, _ body: RequestBody, _ headers: HTTPFields,
        from address: String? = nil
    ) async throws -> Answer {
        Answer(seen: try await client.send(method, path, body, headers, from: address))
    }

    /// What a call makes; the identifier in `member`.
    func make(_ path: String, _ member: String, _ body: JSONValue) async throws -> String {
        let answer = try await call(.post, path, [member: body])
        guard answer.status == 201, let id = answer["\(member)/id"].string else { throw SceneError(answer.text) }
        return id
    }

    /// A token of a user for a scope; the administrator's without one.
    func token(userID: String? = nil, password: String = "", scope: JSONValue) async throws -> String {
        let user: JSONValue =
            userID.map { ["id": .string($0), "password": .string(password)] }
            ?? ["name": "admin", "domain": ["id": "default"], "password": .string(adminPassword)]
        let answer = try await call(
            .post, "/auth/tokens",
            ["auth": ["identity": ["methods": ["password"], "password": ["user": user]], "scope": scope]],
            token: .some(nil))
        guard let text = answer.headers[HTTPField.Name("X-Subject-Token")!] else { throw SceneError(answer.text) }
        return text
    }

    /// A new user with a role in a project, and a token of it.
    func user(role: String, in project: String) async throws -> (id: String, token: String) {
        let id = try await make(
            "/users", "user", ["name": .string("user \(role) \(project)"), "password": "a long password"])
        let role = try await roleID(role)
        let granted = try await call(.put, "/projects/\(project)/users/\(id)/roles/\(role)")
        guard granted.status == 204 else { throw SceneError(granted.text) }
        return (
            id, try await token(userID: id, password: "a long password", scope: ["project": ["id": .string(project)]])
        )
    }

    /// A token of somebody who may read everything and change nothing.
    func systemReader() async throws -> String {
        let id = try await make("/users", "user", ["name": "system reader", "password": "a long password"])
        let granted = try await call(.put, "/system/users/\(id)/roles/\(try await roleID("reader"))")
        guard granted.status == 204 else { throw SceneError(granted.text) }
        return try await token(userID: id, password: "a long password", scope: ["system": ["all": true]])
    }

    func roleID(_ name: String) async throws -> String {
        try await call(.get, "/roles?name=\(name)")["roles/0/id"].string ?? ""
    }

    /// The texts of secrets whose name starts so.
    func secrets(_ prefix: String) async throws -> [String: String] {
        var found: [String: String] = [:]
        for secret in try await store.fetchAll(Secret.self) where secret.value.metadata.name.hasPrefix(prefix) {
            found[secret.value.metadata.name] = try await vault.open(secret.value.metadata.name).revealed
        }
        return found
    }

    fileprivate static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    fileprivate init(
        store: MemoryStore, clock: ManualWallClock, backend: IdentityBackend, door: APIDoor, adminPassword: String,
        admin: String = ""
    ) {
        self.store = store
        self.clock = clock
        self.backend = backend
        self.door = door
        self.admin = admin
        self.adminPassword = adminPassword
        cache = backend.cache
        vault = backend.vault
        client = APIClient(KeystoneAPI.service(backend, door: door))
    }

    /// The same cloud with another backend.
    func with(_ backend: IdentityBackend) -> CloudScene {
        CloudScene(
            store: store, clock: clock, backend: backend, door: door, adminPassword: adminPassword, admin: admin)
    }

    fileprivate func signedIn() async throws -> CloudScene {
        let token = try await token(scope: ["project": ["name": "admin", "domain": ["id": "default"]]])
        return CloudScene(
            store: store, clock: clock, backend: backend, door: door, adminPassword: adminPassword, admin: token)
    }
}

/// What a scene could not be made for.
struct SceneError: Error {
    let answer: String
    init(_ answer: String) { self.answer = answer }
}

/// Runs `body` with a cloud of its own, which is gone afterwards.
func withCloud(_ body: @escaping @Sendable (CloudScene) async throws -> Void) async throws {
    let directory = try TemporaryDirectory("cloud")
    let clock = ManualWallClock()
    let store = MemoryStore(clock: clock)
    let vault = try await SecretVault.open(store: store, keyFile: directory.appending("key"), clock: clock)
    let passwords = PasswordDesk(hasher: ScryptHasher(cost: .trivial))
    let password = Mutex("")
    try await IdentityBootstrap(store: store, passwords: passwords, clock: clock).run { given in
        password.withLock { $0 = given.revealed }
    }
    let cache = ResourceCache(
        store: store, kinds: IdentityDirectory.kinds + [Secret.self], indexes: IdentityDirectory.indexes,
        logger: CloudScene.silent)
    let tokens = TokenDesk(cache: cache, sealer: TokenSealer(ring: TokenKeyRing(random: .system)), clock: clock)
    let backend = IdentityBackend(
        store: store, cache: cache, tokens: tokens,
        authenticator: Authenticator(
            cache: cache, store: store, tokens: tokens, passwords: passwords, vault: vault, clock: clock),
        passwords: passwords, vault: vault, audit: AuditLog(store: store, clock: clock), clock: clock,
        logger: CloudScene.silent)
    let door = APIDoor(
        policy: try PolicyTable(IdentityPolicy.defaults),
        verify: { Caller(try tokens.verify($0)) }, barrier: { try await cache.barrier() })
    let scene = CloudScene(
        store: store, clock: clock, backend: backend, door: door, adminPassword: password.withLock { $0 })
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await cache.run() }
        defer { group.cancelAll() }
        try await withDeadline(.seconds(60)) { try await body(try await scene.signedIn()) }
    }
    withExtendedLifetime(directory) {}
}
