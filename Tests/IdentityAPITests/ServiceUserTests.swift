import CatalogIdentity
import HTTPTypes
import Identity
import IdentityAPI
import Primitives
import ReconcileRuntime
import Synchronization
import TestSupport
import Testing

/// The users of the cloud's own services.
@Suite struct ServiceUserTests {
    private static let identity = IdentityBootstrap.BuiltIn(
        type: "identity", name: "keystone", url: "https://c/identity", hasUser: false)
    private static let metal = IdentityBootstrap.BuiltIn(type: "baremetal", name: "ironic", url: "https://c/baremetal")
    private static let images = IdentityBootstrap.BuiltIn(type: "image", name: "glance", url: "https://c/image")

    @Test func `a service that is new has a user with the role of services, and no second one`() async throws {
        try await withCloud { cloud in
            let bootstrap = IdentityBootstrap(
                store: cloud.store, passwords: cloud.backend.passwords, clock: cloud.clock)
            func ensure(_ services: [IdentityBootstrap.BuiltIn]) async throws -> [String: String] {
                let kept = Mutex<[String: String]>([:])
                try await bootstrap.ensureCatalog(region: "r", services) { name, password in
                    kept.withLock { $0[name] = password.revealed }
                }
                try await cloud.cache.barrier()
                return kept.withLock { $0 }
            }
            let made = try await ensure([Self.identity, Self.metal])
            #expect(made.keys.sorted() == ["ironic"])
            let login: JSONValue = [
                "auth": [
                    "identity": [
                        "methods": ["password"],
                        "password": [
                            "user": [
                                "name": "ironic", "domain": ["id": "default"],
                                "password": .string(made["ironic"] ?? ""),
                            ]
                        ],
                    ], "scope": ["project": ["name": "service", "domain": ["id": "default"]]],
                ]
            ]
            let answer = try await cloud.call(.post, "/auth/tokens", login, token: .some(nil))
            #expect(answer.status == 201, "\(answer.text)")
            #expect(answer["token/roles"].array?.compactMap { $0["name"]?.string } == ["service"])
            #expect(try await ensure([Self.identity, Self.metal]).isEmpty)
            let user = try #require(answer["token/user/id"].string)
            #expect(try await cloud.call(.delete, "/users/\(user)").status == 204)
            #expect(try await ensure([Self.identity, Self.metal]).isEmpty, "a user that was deleted stays away")
            #expect(try await ensure([Self.identity, Self.metal, Self.images]).keys.sorted() == ["glance"])
        }
    }
}
