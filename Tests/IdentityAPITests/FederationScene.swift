import HTTPTypes
import Identity
import IdentityAPI
import Primitives
import TestSupport

/// A cloud that takes the tokens of a provider: its users are in the domain `default`, and the group `ops` of there is a
/// member of the project `lab`.
struct FederationScene: Sendable {
    static let path = "/OS-FEDERATION/identity_providers/sso"
    static let login = "\(path)/protocols/openid/auth"
    /// As Keystone's guides write one: the user, and the groups that are there by the names that the provider gives.
    static let rules: JSONValue = [
        [
            "local": [
                ["user": ["name": "{0}", "id": "{1}", "email": "{2}"]],
                ["groups": "{3}", "domain": ["id": "default"]],
            ],
            "remote": [
                ["type": "OIDC-preferred_username"], ["type": "OIDC-sub"], ["type": "HTTP_OIDC_EMAIL"],
                ["type": "OIDC-groups"],
            ],
        ]
    ]

    let cloud: CloudScene
    let issuer: TestIssuer
    let projectID: String
    let groupID: String

    init(_ base: CloudScene, ttl: Int? = nil, rules: JSONValue = Self.rules, version: String = "1.0") async throws {
        let issuer = try TestIssuer()
        self.issuer = issuer
        var backend = base.backend
        backend.openID = OpenIDVerifier(
            settings: IssuerSettings([.init(url: TestIssuer.url, audiences: ["muster"])]), documents: issuer,
            clock: base.clock, report: { issuer.note($0) })
        cloud = base.with(backend)
        projectID = try await cloud.make("/projects", "project", ["name": "lab"])
        groupID = try await cloud.make("/groups", "group", ["name": "ops", "domain_id": "default"])
        let member = try await cloud.roleID("member")
        try await expect(204, .put, "/projects/\(projectID)/groups/\(groupID)/roles/\(member)")
        let ttl = ttl.map { JSONValue.integer(Int64($0)) } ?? .null
        try await expect(
            201, .put, Self.path,
            [
                "identity_provider": [
                    "enabled": true, "remote_ids": [.string(TestIssuer.url)], "domain_id": "default",
                    "authorization_ttl": ttl,
                ]
            ])
        try await expect(
            201, .put, "/OS-FEDERATION/mappings/m", ["mapping": ["rules": rules, "schema_version": .string(version)]])
        try await expect(201, .put, "\(Self.path)/protocols/openid", ["protocol": ["mapping_id": "m"]])
    }

    func expect(_ status: Int, _ method: HTTPRequest.Method, _ path: String, _ body: JSONValue? = nil) async throws {
        let answer = try await cloud.call(method, path, body)
        guard answer.status == status else { throw SceneError("\(method) \(path): \(answer.status) \(answer.text)") }
    }

    /// What Alice's token says; `more` adds to it, takes the place of what is there or, with null, takes it away.
    func claims(_ more: [String: JSONValue] = [:]) -> [String: JSONValue] {
        let now = cloud.clock.now.millisecondsSinceEpoch / 1000
        let usual: [String: JSONValue] = [
            "iss": .string(TestIssuer.url), "aud": ["other", "muster"], "sub": "u-1", "exp": .integer(now + 300),
            "iat": .integer(now), "preferred_username": "alice", "email": "alice@example.com",
            "groups": ["ops", "none"],
        ]
        return usual.merging(more) { $1 }.filter { $0.value != .null }
    }

    /// Logs in with these claims.
    func logIn(_ more: [String: JSONValue] = [:]) async throws -> CloudScene.Answer {
        try await present(try issuer.token(claims(more)))
    }

    /// Shows any text as the provider's token.
    func present(_ text: String) async throws -> CloudScene.Answer {
        try await cloud.call(.post, Self.login, token: .some(nil), headers: [.authorization: "Bearer \(text)"])
    }

    /// The token in an answer.
    func token(_ answer: CloudScene.Answer) throws -> String {
        guard let text = answer.headers[HTTPField.Name("X-Subject-Token")!] else { throw SceneError(answer.text) }
        return text
    }

    /// The answer to a token that is exchanged for one of a project.
    func scope(_ token: String, to projectID: String) async throws -> CloudScene.Answer {
        try await cloud.call(
            .post, "/auth/tokens",
            [
                "auth": [
                    "identity": ["methods": ["token"], "token": ["id": .string(token)]],
                    "scope": ["project": ["id": .string(projectID)]],
                ]
            ], token: .some(nil))
    }
}
