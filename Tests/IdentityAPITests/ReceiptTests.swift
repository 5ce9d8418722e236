import HTTPTypes
import Identity
import IdentityAPI
import Primitives
import ReconcileRuntime
import TestSupport
import Testing

/// Users who have to show more than one method.
@Suite struct ReceiptTests {
    private static let receipt = HTTPField.Name("Openstack-Auth-Receipt")!
    private static let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

    private static func login(_ user: String, _ methods: [String], passcode: String = "") -> JSONValue {
        let proofs: [String: JSONValue] = [
            "password": ["user": ["id": .string(user), "password": "a long password"]],
            "totp": ["user": ["id": .string(user), "passcode": .string(passcode)]],
        ]
        let identity = proofs.filter { methods.contains($0.key) }
            .merging(["methods": .array(methods.map { .string($0) })]) { $1 }
        return ["auth": ["identity": .object(identity), "scope": "unscoped"]]
    }

    /// A user with a password and one-time passwords, who needs both.
    private static func user(_ cloud: CloudScene, _ name: String) async throws -> String {
        let rules: JSONValue = [["password", "totp"]]
        let user = try await cloud.make(
            "/users", "user",
            [
                "name": .string(name), "password": "a long password", "domain_id": "default",
                "options": ["multi_factor_auth_rules": rules],
            ])
        _ = try await cloud.make(
            "/credentials", "credential", ["type": "totp", "user_id": .string(user), "blob": .string(secret)])
        return user
    }

    @Test func `a login is ended with the receipt of its first half, in either order`() async throws {
        try await withCloud { cloud in
            let user = try await Self.user(cloud, "u")
            for methods in [["password", "totp"], ["totp", "password"]] {
                cloud.clock.advance(by: .seconds(60))
                let code = try TOTP(secret: Self.secret).passcode(at: cloud.clock.now)
                let half = try await cloud.call(
                    .post, "/auth/tokens", Self.login(user, [methods[0]], passcode: code), token: .some(nil))
                #expect(half.status == 401)
                #expect(half["receipt/methods"] == [.string(methods[0])])
                #expect(half["receipt/user/id"].string == user)
                #expect(half["receipt/user/domain/name"] == "Default")
                #expect(half["required_auth_methods"] == [["password", "totp"]])
                let receipt = try #require(half.headers[Self.receipt])
                let whole = try await cloud.call(
                    .post, "/auth/tokens", Self.login(user, [methods[1]], passcode: code), token: .some(nil),
                    headers: [Self.receipt: receipt])
                #expect(whole.status == 201)
                #expect(Set(whole["token/methods"].array ?? []) == ["password", "totp"])
                #expect(whole.headers[Self.receipt] == nil)
            }
            cloud.clock.advance(by: .seconds(60))
            let code = try TOTP(secret: Self.secret).passcode(at: cloud.clock.now)
            let both = Self.login(user, ["password", "totp"], passcode: code)
            #expect(try await cloud.call(.post, "/auth/tokens", both, token: .some(nil)).status == 201)
            let off: JSONValue = ["user": ["options": ["multi_factor_auth_enabled": false]]]
            #expect(try await cloud.call(.patch, "/users/\(user)", off).status == 200)
            let one = Self.login(user, ["password"])
            #expect(try await cloud.call(.post, "/auth/tokens", one, token: .some(nil)).status == 201)
        }
    }

    @Test func `a receipt is good for its user, for five minutes and for no other call`() async throws {
        try await withCloud { cloud in
            let (user, other) = (try await Self.user(cloud, "u"), try await Self.user(cloud, "other"))
            func half(_ user: String, _ receipt: String?) async throws -> CloudScene.Answer {
                try await cloud.call(
                    .post, "/auth/tokens", Self.login(user, ["password"]), token: .some(nil),
                    headers: receipt.map { [Self.receipt: $0] } ?? [:])
            }
            let receipt = try #require(try await half(user, nil).headers[Self.receipt])
            #expect(try await half(user, receipt).headers[Self.receipt] != nil, "the password twice is one method")
            #expect(try await half(other, receipt).headers[Self.receipt] == nil, "it is another user's")
            #expect(try await half(user, cloud.admin).headers[Self.receipt] == nil, "a token is no receipt")
            #expect(try await cloud.call(.get, "/regions", token: receipt).status == 401, "a receipt is no token")
            func end(after time: Duration) async throws -> Int {
                cloud.clock.advance(by: time)
                let code = try TOTP(secret: Self.secret).passcode(at: cloud.clock.now)
                return try await cloud.call(
                    .post, "/auth/tokens", Self.login(user, ["totp"], passcode: code), token: .some(nil),
                    headers: [Self.receipt: receipt]
                ).status
            }
            #expect(try await end(after: .seconds(299)) == 201)
            #expect(try await end(after: .seconds(1)) == 401)
        }
    }

    @Test func `a receipt is void once the password was changed`() async throws {
        try await withCloud { cloud in
            let user = try await Self.user(cloud, "u")
            let half = try await cloud.call(
                .post, "/auth/tokens", Self.login(user, ["password"]), token: .some(nil))
            let receipt = try #require(half.headers[Self.receipt])
            cloud.clock.advance(by: .seconds(1))
            #expect(try await cloud.call(.patch, "/users/\(user)", ["user": ["password": "another one"]]).status == 200)
            let code = try TOTP(secret: Self.secret).passcode(at: cloud.clock.now)
            let answer = try await cloud.call(
                .post, "/auth/tokens", Self.login(user, ["totp"], passcode: code), token: .some(nil),
                headers: [Self.receipt: receipt])
            #expect(answer.status == 401)
        }
    }
}
