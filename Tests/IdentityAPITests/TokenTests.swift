import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ResourceModel
import StoreMemory
import Testing

@testable import IdentityAPI
import ReconcileRuntime
import TestSupport

/// Tokens give what their user has now, and end when they should.
@Suite struct TokenTests {
    private static let inProject: JSONValue = ["project": ["name": "admin", "domain": ["id": "default"]]]

    private static func exchange(_ token: String, _ scope: JSONValue) -> JSONValue {
        ["auth": ["identity": ["methods": ["token"], "token": ["id": .string(token)]], "scope": scope]]
    }

    private static func subject(_ token: String) -> HTTPFields {
        var fields = HTTPFields()
        fields[HTTPField.Name("X-Subject-Token")!] = token
        return fields
    }

    @Test func `a token that is exchanged keeps the end of the first one (CVE-2026-44394)`() async throws {
        try await withCloud { cloud in
            let first = try await cloud.call(.get, "/auth/tokens", headers: Self.subject(cloud.admin))
            cloud.clock.advance(by: .seconds(1800))
            let second = try await cloud.call(
                .post, "/auth/tokens", Self.exchange(cloud.admin, ["system": ["all": true]]), token: .some(nil))
            #expect(second.status == 201)
            #expect(second["token/expires_at"] == first["token/expires_at"])
            #expect(second["token/audit_ids/1"] == first["token/audit_ids/0"], "it is of the first one's chain")
            cloud.clock.advance(by: .seconds(1801))
            #expect(try await cloud.call(.get, "/regions").status == 401)
            let text = try #require(second.headers[HTTPField.Name("X-Subject-Token")!])
            #expect(try await cloud.call(.get, "/regions", token: text).status == 401)
        }
    }

    @Test func `what a token was made from is looked at in each call`() async throws {
        try await withCloud { cloud in
            let changes: [@Sendable (_ user: String, _ project: String, _ role: String) async throws -> Int] = [
                { user, _, _ in try await cloud.call(.patch, "/users/\(user)", ["user": ["enabled": false]]).status },
                { user, _, _ in
                    try await cloud.call(.patch, "/users/\(user)", ["user": ["password": "another one"]]).status
                },
                { user, _, _ in try await cloud.call(.delete, "/users/\(user)").status },
                { user, _, _ in try await cloud.call(.delete, "/users/\(user)/tokens").status },
                { _, project, _ in
                    try await cloud.call(.patch, "/projects/\(project)", ["project": ["enabled": false]]).status
                },
                { _, project, _ in try await cloud.call(.delete, "/projects/\(project)").status },
                { user, project, role in
                    try await cloud.call(.delete, "/projects/\(project)/users/\(user)/roles/\(role)").status
                },
            ]
            for (number, change) in changes.enumerated() {
                let project = try await cloud.make("/projects", "project", ["name": .string("p\(number)")])
                let (user, token) = try await cloud.user(role: "member", in: project)
                #expect(try await cloud.call(.get, "/regions", token: token).status == 200)
                cloud.clock.advance(by: .milliseconds(1))
                #expect([200, 204].contains(try await change(user, project, try await cloud.roleID("member"))))
                #expect(try await cloud.call(.get, "/regions", token: token).status == 401, "change \(number)")
            }
        }
    }

    @Test func `a revoked token is void at once, and so is one whose domain is switched off`() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "tenants"])
            let project = try await cloud.make("/projects", "project", ["name": "p", "domain_id": .string(domain)])
            let (_, token) = try await cloud.user(role: "member", in: project)
            let again = try await cloud.call(
                .post, "/auth/tokens", Self.exchange(token, ["project": ["id": .string(project)]]), token: .some(nil))
            let other = try #require(again.headers[HTTPField.Name("X-Subject-Token")!])
            #expect(try await cloud.call(.delete, "/auth/tokens", headers: Self.subject(other)).status == 204)
            #expect(try await cloud.call(.get, "/regions", token: other).status == 401)
            #expect(try await cloud.call(.get, "/regions", token: token).status == 200, "it is another one")
            try await IdentityUpkeep(backend: cloud.backend).sweep()
            #expect(try await cloud.store.fetchAll(Revocation.self).count == 1, "the token has not ended yet")
            cloud.clock.advance(by: .milliseconds(1))
            #expect(try await cloud.call(.patch, "/domains/\(domain)", ["domain": ["enabled": false]]).status == 200)
            #expect(try await cloud.call(.get, "/regions", token: token).status == 401)
            #expect(try await cloud.call(.patch, "/domains/\(domain)", ["domain": ["enabled": true]]).status == 200)
            #expect(try await cloud.call(.get, "/regions", token: token).status == 401, "it stays void")
            cloud.clock.advance(by: .seconds(3601))
            try await IdentityUpkeep(backend: cloud.backend).sweep()
            #expect(try await cloud.store.fetchAll(Revocation.self).isEmpty)
        }
    }

    @Test func `with a token those are revoked that were exchanged for it, unless it is asked otherwise`() async throws
    {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let (user, _) = try await cloud.user(role: "member", in: project)
            for (query, isChain) in [("", true), ("?cascade=true", true), ("?cascade=false", false)] {
                let first = try await cloud.token(userID: user, password: "a long password", scope: "unscoped")
                let scope: JSONValue = ["project": ["id": .string(project)]]
                let answer = try await cloud.call(
                    .post, "/auth/tokens", Self.exchange(first, scope), token: .some(nil))
                let second = try #require(answer.headers[HTTPField.Name("X-Subject-Token")!])
                let revoked = try await cloud.call(.delete, "/auth/tokens\(query)", headers: Self.subject(first))
                #expect(revoked.status == 204)
                #expect(try await cloud.call(.get, "/regions", token: first).status == 401)
                #expect(
                    try await cloud.call(.get, "/regions", token: second).status == (isChain ? 401 : 200), "\(query)")
            }
            let events = try await cloud.call(.get, "/OS-REVOKE/events")["events"].array ?? []
            #expect(events.count { $0["audit_id"] != nil } == 3)
            #expect(events.count { $0["audit_chain_id"] != nil } == 2)
        }
    }

    @Test func `a token that is not valid is refused on routes that need none`() async throws {
        try await withCloud { cloud in
            let old = cloud.admin
            cloud.clock.advance(by: .seconds(3601))
            let login = Self.exchange(try await cloud.token(scope: Self.inProject), "unscoped")
            for token in ["mst_nothing", old] {
                #expect(try await cloud.call(.post, "/auth/tokens", login, token: token).status == 401)
                #expect(try await cloud.call(.get, "", token: token).status == 401)
            }
            #expect(try await cloud.call(.post, "/auth/tokens", login, token: .some(nil)).status == 201)
        }
    }

    @Test func `a token of the system is not exchanged for a project's`() async throws {
        try await withCloud { cloud in
            let system = try await cloud.token(scope: ["system": ["all": true]])
            let narrowed = Self.exchange(system, Self.inProject)
            #expect(try await cloud.call(.post, "/auth/tokens", narrowed, token: .some(nil)).status == 403)
            let unscoped = Self.exchange(system, "unscoped")
            #expect(try await cloud.call(.post, "/auth/tokens", unscoped, token: .some(nil)).status == 201)
        }
    }

    @Test func `keys are replaced under tokens that live, and a key that is gone opens nothing`() async throws {
        try await withCloud { cloud in
            let (desk, settings) = (cloud.backend.tokens, cloud.backend.authenticator.settings)
            cloud.clock.advance(by: settings.keyAge - .seconds(60))
            let token = try await cloud.token(scope: Self.inProject)
            try await IdentityUpkeep(backend: cloud.backend).sweep()
            cloud.clock.advance(by: .seconds(60))
            let keys = TokenKeyStore(store: cloud.store, vault: cloud.vault, clock: cloud.clock)
            let other = TokenDesk(
                cache: cloud.cache, ring: try await keys.turn(age: .seconds(1 << 40), lifetime: .zero), keys: keys,
                clock: cloud.clock)
            try await IdentityUpkeep(backend: cloud.backend).sweep()
            #expect(try await cloud.call(.get, "/regions", token: token).status == 200)
            let newer = try await cloud.token(scope: Self.inProject)
            #expect(desk.sealer.keyIDs.first != other.sealer.keyIDs.first)
            try await cloud.cache.barrier()
            #expect(try other.verify(newer).user.spec.name == "admin", "another conductor reads the ring anew")
            #expect(desk.sealer.keyIDs == other.sealer.keyIDs)
            #expect(throws: TokenRefusal.self) { try other.verify("mst_" + String(repeating: "A", count: 120)) }
            cloud.clock.advance(by: .seconds(7200))
            try await IdentityUpkeep(backend: cloud.backend).sweep()
            #expect(desk.sealer.keyIDs.count == 1)
        }
    }

    @Test func `without the secret of the keys new ones are made, and all sign in again`() async throws {
        try await withCloud { cloud in
            let keys = TokenKeyStore(store: cloud.store, vault: cloud.vault, clock: cloud.clock)
            for secret in try await cloud.store.fetchAll(Secret.self) {
                try await cloud.vault.remove(secret.value.metadata.name)
            }
            cloud.backend.tokens.use(try await keys.turn(age: .seconds(86_400), lifetime: .seconds(3600)))
            #expect(try await cloud.call(.get, "/regions").status == 401)
            let token = try await cloud.token(scope: Self.inProject)
            #expect(try await cloud.call(.get, "/regions", token: token).status == 200)
        }
    }

    @Test func `a clock that is set back voids the tokens of its future, and one that is set ahead ends tokens`()
        async throws
    {
        try await withCloud { cloud in
            cloud.clock.advance(by: .seconds(3600))
            let future = try await cloud.token(scope: Self.inProject)
            cloud.clock.advance(by: .seconds(-60))
            #expect(try await cloud.call(.get, "/regions", token: future).status == 200, "clocks differ a little")
            cloud.clock.advance(by: .seconds(-3540))
            _ = try await cloud.make("/regions", "region", ["id": "r"])
            #expect(try await cloud.call(.get, "/regions", token: future).status == 401)
            #expect(try await cloud.call(.get, "/regions").status == 200)
            cloud.clock.advance(by: .seconds(3601))
            #expect(try await cloud.call(.get, "/regions").status == 401)
        }
    }

    @Test func `callers without a token leave nothing behind (CVE-2026-43002)`() async throws {
        try await withCloud { cloud in
            let before = try await cloud.store.currentRevision()
            for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete] {
                for path in ["/users", "/auth/tokens", "/OS-TRUST/trusts", "/nothing"] {
                    _ = try await cloud.call(method, path, ["user": ["name": "x"]], token: .some(nil))
                }
            }
            let login: JSONValue = [
                "auth": [
                    "identity": [
                        "methods": ["password"],
                        "password": ["user": ["name": "nobody", "domain": ["id": "default"], "password": "x"]],
                    ]
                ]
            ]
            #expect(try await cloud.call(.post, "/auth/tokens", login, token: .some(nil)).status == 401)
            #expect(try await cloud.store.currentRevision() == before)
        }
    }

    @Test func `a login says the same of a wrong password and of a user that there is not`() async throws {
        try await withCloud { cloud in
            func answer(_ name: String) async throws -> CloudScene.Answer {
                try await cloud.call(
                    .post, "/auth/tokens",
                    [
                        "auth": [
                            "identity": [
                                "methods": ["password"],
                                "password": [
                                    "user": ["name": .string(name), "domain": ["id": "default"], "password": "wrong"]
                                ],
                            ]
                        ]
                    ],
                    token: .some(nil))
            }
            let (known, unknown) = (try await answer("admin"), try await answer("nobody"))
            #expect(known.status == 401 && known.text == unknown.text)
        }
    }

    @Test func `a route without a rule that is known is closed (CVE-2026-40213, CVE-2026-40214)`() async throws {
        try await withCloud { cloud in
            let who = try cloud.door.verify(cloud.admin).credentials
            #expect(!cloud.door.policy.isAllowed("identity:no_such_rule", who, .init()))
        }
    }

    @Test func `EC2 credentials are not made with what was lent (CVE-2026-43001)`() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let (user, token) = try await cloud.user(role: "member", in: project)
            let made = try await cloud.call(
                .post, "/users/\(user)/application_credentials", ["application_credential": ["name": "ci"]],
                token: token)
            #expect(made.status == 201)
            let login: JSONValue = [
                "auth": [
                    "identity": [
                        "methods": ["application_credential"],
                        "application_credential": [
                            "id": made["application_credential/id"], "secret": made["application_credential/secret"],
                        ],
                    ]
                ]
            ]
            let answer = try await cloud.call(.post, "/auth/tokens", login, token: .some(nil))
            let lent = try #require(answer.headers[HTTPField.Name("X-Subject-Token")!])
            let ec2: JSONValue = ["tenant_id": .string(project)]
            #expect(try await cloud.call(.post, "/users/\(user)/credentials/OS-EC2", ec2, token: lent).status == 403)
            #expect(
                try await cloud.call(
                    .post, "/users/\(user)/application_credentials", ["application_credential": ["name": "more"]],
                    token: lent
                ).status == 403)
            let other = try await cloud.make("/projects", "project", ["name": "other"])
            let widened = Self.exchange(lent, ["project": ["id": .string(other)]])
            #expect(try await cloud.call(.post, "/auth/tokens", widened, token: .some(nil)).status == 403)
        }
    }
}
