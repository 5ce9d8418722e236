import CatalogIdentity
import Crypto
import Foundation
import HTTPTypes
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

/// Logging in by an identity provider: from its token to a user, groups, projects and roles here.
@Suite struct FederationLoginTests {
    @Test func `a provider's token gives an unscoped token, and that one of a project by its groups`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let answer = try await scene.logIn()
            #expect(answer.status == 201, "\(answer.text)")
            #expect(answer["token/methods"] == ["openid"])
            #expect(answer["token/user/name"] == "alice")
            #expect(answer["token/user/domain/id"] == "default")
            // Keystone's: the digest of domain, sort and the quoted name at the provider.
            let id = Hex.encode(Array(SHA256.hash(data: Data("defaultuseru-1".utf8))))
            #expect(answer["token/user/id"].string == id)
            #expect(answer["token/user/OS-FEDERATION/identity_provider/id"] == "sso")
            #expect(answer["token/user/OS-FEDERATION/protocol/id"] == "openid")
            #expect(answer["token/user/OS-FEDERATION/groups"] == [["id": .string(scene.groupID)]])
            #expect(answer["token/roles"] == .null && answer["token/project"] == .null)
            let unscoped = try scene.token(answer)

            let own = try await scene.cloud.call(.get, "/OS-FEDERATION/projects", token: unscoped)
            #expect(own["projects/0/id"].string == scene.projectID, "\(own.text)")
            let scoped = try await scene.scope(unscoped, to: scene.projectID)
            #expect(scoped.status == 201, "\(scoped.text)")
            #expect(scoped["token/roles/0/name"] == "member")
            #expect(Set(scoped["token/methods"].array ?? []) == ["openid", "token"])
            #expect(scoped["token/user/OS-FEDERATION/identity_provider/id"] == "sso")
            #expect(scoped["token/expires_at"] == answer["token/expires_at"], "no exchange makes it longer")

            let user = try await scene.cloud.call(.get, "/users/\(id)")
            #expect(user["user/email"] == "alice@example.com")
            #expect(user["user/federated/0/idp_id"] == "sso")
            #expect(user["user/federated/0/protocols/0/unique_id"] == "u-1")
            // Without a time of its own, what the provider says of groups is for the token only.
            #expect(try await scene.cloud.call(.get, "/users/\(id)/groups")["groups"] == [])
        }
    }

    @Test func `the record follows the provider, and nothing is written when nothing has changed`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let first = try await scene.logIn()
            let revision = try await base.store.currentRevision()
            #expect(try await scene.logIn().status == 201)
            #expect(try await base.store.currentRevision() == revision)
            let renamed = try await scene.logIn(["preferred_username": "alice.b", "email": "b@example.com"])
            #expect(renamed["token/user/id"] == first["token/user/id"])
            #expect(renamed["token/user/name"] == "alice.b")
            let user = try await scene.cloud.call(.get, "/users/\(first["token/user/id"].string ?? "")")
            #expect(user["user/email"] == "b@example.com")
            // The name that it had is free.
            _ = try await scene.cloud.make("/users", "user", ["name": "alice", "domain_id": "default"])
            let taken = try await scene.logIn(["sub": "u-2"])
            #expect(taken.status == 401)
            #expect(taken.text.contains("another user"), "\(taken.text)")
        }
    }

    @Test func `memberships last as long as the provider's time says, and go when it no longer names them`()
        async throws
    {
        try await withCloud { base in
            let scene = try await FederationScene(base, ttl: 10)
            let id = try await scene.logIn()["token/user/id"].string ?? ""
            func groups() async throws -> [String] {
                let listed = try await scene.cloud.call(.get, "/users/\(id)/groups")["groups"]
                return listed.array?.compactMap { $0["name"]?.string } ?? []
            }
            #expect(try await groups() == ["ops"])
            base.clock.advance(by: .seconds(599))
            #expect(try await groups() == ["ops"])
            base.clock.advance(by: .seconds(1))
            #expect(try await groups() == [])
            _ = try await scene.logIn()
            #expect(try await groups() == ["ops"])
            _ = try await scene.logIn(["groups": ["none"]])
            #expect(try await groups() == [])
            // A membership that an operator has made is no provider's to take.
            try await scene.expect(204, .put, "/groups/\(scene.groupID)/users/\(id)")
            _ = try await scene.logIn(["groups": ["none"]])
            #expect(try await groups() == ["ops"])
            base.clock.advance(by: .seconds(1200))
            #expect(try await groups() == ["ops"])
        }
    }

    @Test func `a provider that is off, and a protocol that is gone, void what they gave`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let unscoped = try scene.token(try await scene.logIn())
            let scoped = try scene.token(try await scene.scope(unscoped, to: scene.projectID))
            func check() async throws -> [Int] {
                try await [unscoped, scoped].asyncMap {
                    try await scene.cloud.call(.get, "/auth/projects", token: $0).status
                }
            }
            func enable(_ isEnabled: Bool) async throws {
                try await scene.expect(
                    200, .patch, FederationScene.path, ["identity_provider": ["enabled": .bool(isEnabled)]])
            }
            #expect(try await check() == [200, 200])
            try await enable(false)
            #expect(try await check() == [401, 401])
            #expect(try await scene.logIn().status == 403)
            try await enable(true)
            #expect(try await check() == [200, 200])
            try await scene.expect(204, .delete, "\(FederationScene.path)/protocols/openid")
            #expect(try await check() == [401, 401])
            #expect(try await scene.logIn().status == 404)
        }
    }

    @Test func `who was a provider's user is not that of a later one of the same name`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let id = try await scene.logIn()["token/user/id"].string ?? ""
            try await scene.expect(204, .delete, "\(FederationScene.path)/protocols/openid")
            #expect(try await scene.cloud.call(.get, "/users/\(id)")["user/federated"] == .null)
            try await scene.expect(
                201, .put, "\(FederationScene.path)/protocols/openid", ["protocol": ["mapping_id": "m"]])
            let refused = try await scene.logIn()
            #expect(refused.status == 401 && refused.text.contains(id), "\(refused.text)")
            try await scene.expect(204, .delete, "/users/\(id)")
            #expect(try await scene.logIn().status == 201)
            try await scene.expect(204, .delete, FederationScene.path)
            #expect(try await scene.cloud.call(.get, "/users/\(id)")["user/federated"] == .null)
        }
    }

    // MARK: Projects, local users

    private func projectRules(_ roles: JSONValue) -> JSONValue {
        [
            [
                "local": [
                    ["user": ["name": "{0}"]],
                    [
                        "projects": [
                            ["name": "home of {0}", "roles": roles], ["name": "lab", "roles": [["name": "reader"]]],
                            ["name": "home of {0}", "roles": [["name": "reader"]]],
                        ]
                    ],
                ],
                "remote": [["type": "OIDC-preferred_username"]],
            ]
        ]
    }

    @Test func `a mapping's projects are made with their roles, and newer forms take others away`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base, rules: projectRules([["name": "member"], ["name": "reader"]]))
            let answer = try await scene.logIn()
            #expect(answer.status == 201, "\(answer.text)")
            let id = answer["token/user/id"].string ?? ""
            func roles() async throws -> [String: Set<String>] {
                let listed = try await scene.cloud.call(.get, "/role_assignments?user.id=\(id)&include_names=true")
                var found: [String: Set<String>] = [:]
                for entry in listed["role_assignments"].array ?? [] {
                    found[entry["scope"]?["project"]?["name"]?.string ?? "", default: []]
                        .insert(entry["role"]?["name"]?.string ?? "")
                }
                return found
            }
            #expect(try await roles() == ["home of alice": ["member", "reader"], "lab": ["reader"]])
            let other = try await scene.cloud.make("/projects", "project", ["name": "other"])
            let member = try await scene.cloud.roleID("member")
            try await scene.expect(204, .put, "/projects/\(other)/users/\(id)/roles/\(member)")
            func set(_ rules: JSONValue, _ version: String) async throws {
                try await scene.expect(
                    200, .patch, "/OS-FEDERATION/mappings/m",
                    ["mapping": ["rules": rules, "schema_version": .string(version)]])
            }
            try await set(projectRules([["name": "reader"]]), "2.0")
            #expect(try await scene.logIn().status == 201)
            #expect(
                try await roles() == ["home of alice": ["member", "reader"], "lab": ["reader"], "other": ["member"]])
            try await set(projectRules([["name": "reader"]]), "3.0")
            #expect(try await scene.logIn().status == 201)
            #expect(try await roles() == ["home of alice": ["reader"], "lab": ["reader"]])
            try await set(projectRules([["name": "no-such-role"]]), "3.0")
            let refused = try await scene.logIn(["sub": "u-9", "preferred_username": "bob"])
            #expect(refused.status == 401 && refused.text.contains("no-such-role"), "\(refused.text)")
            let left = try await scene.cloud.call(.get, "/projects?name=home%20of%20bob")
            #expect(left["projects"] == [], "a refused login leaves nothing behind")
        }
    }

    @Test func `a local user is found, and none is made`() async throws {
        let rules: JSONValue = [
            [
                "local": [["user": ["name": "{0}", "type": "local", "domain": ["id": "default"]]]],
                "remote": [["type": "OIDC-preferred_username"]],
            ]
        ]
        try await withCloud { base in
            let scene = try await FederationScene(base, rules: rules)
            #expect(try await scene.logIn().status == 401)
            let id = try await scene.cloud.make("/users", "user", ["name": "alice", "domain_id": "default"])
            let answer = try await scene.logIn()
            #expect(answer["token/user/id"].string == id, "\(answer.text)")
            #expect(answer["token/user/OS-FEDERATION"] == .null)
            try await scene.expect(200, .patch, "/users/\(id)", ["user": ["enabled": false]])
            #expect(try await scene.logIn().status == 401)
        }
    }

    @Test func `a user of many groups is recorded in several commits`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base, ttl: 10)
            var names: [JSONValue] = []
            for number in 0..<FederatedGroups.count {
                _ = try await scene.cloud.make(
                    "/groups", "group", ["name": .string("g\(number)"), "domain_id": "default"])
                names.append(.string("g\(number)"))
            }
            let answer = try await scene.logIn(["groups": .array(names)])
            #expect(answer["token/user/OS-FEDERATION/groups"].array?.count == FederatedGroups.count, "\(answer.text)")
            let id = answer["token/user/id"].string ?? ""
            let groups = try await scene.cloud.call(.get, "/users/\(id)/groups")["groups"].array
            #expect(groups?.count == FederatedGroups.count)
            _ = try await scene.cloud.make("/groups", "group", ["name": "one more", "domain_id": "default"])
            let tooMany = try await scene.logIn(["groups": .array(names + ["one more"])])
            #expect(tooMany.status == 401 && tooMany.text.contains("whitelist"), "\(tooMany.text)")
        }
    }

    /// The most groups of a token.
    private enum FederatedGroups { static let count = 128 }

    // MARK: What is lent

    @Test func `an application credential is good for as long as the membership that it comes from`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base, ttl: 10)
            let login = try await scene.logIn()
            let scoped = try scene.token(try await scene.scope(try scene.token(login), to: scene.projectID))
            let id = login["token/user/id"].string ?? ""
            let made = try await scene.cloud.call(
                .post, "/users/\(id)/application_credentials", ["application_credential": ["name": "robot"]],
                token: scoped)
            #expect(made.status == 201, "\(made.text)")
            func use() async throws -> Int {
                let credential: JSONValue = [
                    "id": made["application_credential/id"], "secret": made["application_credential/secret"],
                ]
                return try await scene.cloud.call(
                    .post, "/auth/tokens",
                    [
                        "auth": [
                            "identity": [
                                "methods": ["application_credential"], "application_credential": credential,
                            ]
                        ]
                    ], token: .some(nil)
                ).status
            }
            #expect(try await use() == 201)
            base.clock.advance(by: .seconds(600))
            #expect(try await use() == 401)
            _ = try await scene.logIn()
            #expect(try await use() == 201)
        }
    }

    @Test func `a trustee's groups at a provider are not the trustor's`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let trustor = try await scene.cloud.user(role: "member", in: scene.projectID)
            let login = try await scene.logIn()
            let trust = try await scene.cloud.call(
                .post, "/OS-TRUST/trusts",
                [
                    "trust": [
                        "trustor_user_id": .string(trustor.id), "trustee_user_id": login["token/user/id"],
                        "project_id": .string(scene.projectID), "roles": [["name": "member"]], "impersonation": false,
                    ]
                ], token: trustor.token)
            #expect(trust.status == 201, "\(trust.text)")
            let unscoped = try scene.token(login)
            func use() async throws -> Int {
                try await scene.cloud.call(
                    .post, "/auth/tokens",
                    [
                        "auth": [
                            "identity": ["methods": ["token"], "token": ["id": .string(unscoped)]],
                            "scope": ["OS-TRUST:trust": ["id": trust["trust/id"]]],
                        ]
                    ], token: .some(nil)
                ).status
            }
            #expect(try await use() == 201)
            let member = try await scene.cloud.roleID("member")
            try await scene.expect(
                204, .delete, "/projects/\(scene.projectID)/users/\(trustor.id)/roles/\(member)")
            #expect(try await use() == 401)
            #expect(try await scene.scope(unscoped, to: scene.projectID).status == 201, "its own they still are")
        }
    }

    // MARK: What is not there

    @Test func `other ways in say what to use`() async throws {
        try await withCloud { base in
            for (method, path) in [
                (.post, "/auth/OS-FEDERATION/saml2"), (.post, "/auth/OS-FEDERATION/saml2/ecp"),
                (.get, "/OS-FEDERATION/saml2/metadata"), (.get, "/auth/OS-FEDERATION/websso/openid?origin=x"),
                (.post, "/auth/OS-FEDERATION/identity_providers/sso/protocols/openid/websso"),
            ] as [(HTTPRequest.Method, String)] {
                let answer = try await base.call(method, path, token: .some(nil))
                #expect(answer.status == 501 && answer.text.contains("v3oidcaccesstoken"), "\(path): \(answer.text)")
            }
            let scene = try await FederationScene(base)
            try await scene.expect(
                201, .put, "\(FederationScene.path)/protocols/saml2", ["protocol": ["mapping_id": "m"]])
            let answer = try await scene.cloud.call(
                .get, "\(FederationScene.path)/protocols/saml2/auth", token: .some(nil))
            #expect(answer.status == 501)
        }
    }
}

extension Array {
    fileprivate func asyncMap<Result>(_ transform: (Element) async throws -> Result) async throws -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
