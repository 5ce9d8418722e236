import HTTPTypes
import Identity
import IdentityAPI
import Primitives
import TestSupport
import Testing

/// What an operator sets for passwords and logins, as users meet it.
@Suite struct PasswordSettingsTests {
    private static let day: Duration = .seconds(86_400)

    private static func with(
        _ change: (inout PasswordRules) throws -> Void,
        _ body: @escaping @Sendable (CloudScene, _ user: String) async throws -> Void
    ) async throws {
        var settings = Authenticator.Settings()
        // The administrator's token is good for the whole test.
        settings.lifetime = .seconds(86_400 * 400)
        try change(&settings.passwordRules)
        try await withCloud(settings) { cloud in
            let user = try await cloud.make("/users", "user", ["name": "u", "password": "first-1"])
            try await body(cloud, user)
        }
    }

    private static func login(_ cloud: CloudScene, _ user: String, _ password: String) async throws -> Int {
        let named: JSONValue = ["user": ["id": .string(user), "password": .string(password)]]
        let identity: JSONValue = ["methods": ["password"], "password": named]
        return try await cloud.call(
            .post, "/auth/tokens", ["auth": ["identity": identity, "scope": "unscoped"]], token: .some(nil)
        ).status
    }

    private static func change(_ cloud: CloudScene, _ user: String, _ old: String, _ new: String) async throws -> Int {
        let passwords: JSONValue = ["original_password": .string(old), "password": .string(new)]
        return try await cloud.call(.post, "/users/\(user)/password", ["user": passwords], token: .some(nil)).status
    }

    @Test func `wrong passwords lock a user, at the login and where passwords are changed`() async throws {
        try await Self.with({
            $0.lockoutAttempts = 3
            $0.lockoutDuration = .seconds(60)
        }) { cloud, user async throws in
            for changes in [false, true] {
                for _ in 0..<3 {
                    let status =
                        changes
                        ? try await Self.change(cloud, user, "guess", "other-1")
                        : try await Self.login(cloud, user, "guess")
                    #expect(status == 401)
                }
                #expect(try await Self.login(cloud, user, "first-1") == 401, "it is locked")
                #expect(try await Self.change(cloud, user, "first-1", "other-1") == 401)
                cloud.clock.advance(by: .seconds(61))
                #expect(try await Self.login(cloud, user, "first-1") == 201)
            }
            for _ in 0..<3 { #expect(try await Self.login(cloud, user, "guess") == 401) }
            #expect(try await cloud.call(.patch, "/users/\(user)", ["user": ["enabled": true]]).status == 200)
            #expect(try await Self.login(cloud, user, "first-1") == 201, "an administrator has enabled it")
        }
    }

    @Test func `a password that has ended, or that an administrator has set, is changed first`() async throws {
        try await Self.with({
            $0.expiryDays = 90
            $0.changesUponFirstUse = true
        }) { cloud, user async throws in
            #expect(try await Self.login(cloud, user, "first-1") == 401)
            #expect(try await Self.change(cloud, user, "first-1", "second-1") == 204)
            #expect(try await Self.login(cloud, user, "second-1") == 201)
            cloud.clock.advance(by: Self.day * 91)
            #expect(try await Self.login(cloud, user, "second-1") == 401)
            #expect(try await Self.change(cloud, user, "wrong", "third-1") == 401)
            #expect(try await Self.change(cloud, user, "second-1", "third-1") == 204)
            #expect(try await Self.login(cloud, user, "third-1") == 201)
        }
    }

    @Test func `new passwords match the pattern, differ from the last ones and are used for a while`() async throws {
        try await Self.with({
            try $0.setPattern("^(?=.*[0-9]).{7,}$")
            $0.patternDescription = "a digit, and seven characters"
            $0.uniqueCount = 2
            $0.ageMinDays = 1
        }) { cloud, user async throws in
            #expect(try await Self.change(cloud, user, "first-1", "without") == 400)
            #expect(try await Self.change(cloud, user, "first-1", "first-1") == 400)
            #expect(try await Self.change(cloud, user, "first-1", "second-1") == 204)
            #expect(try await Self.change(cloud, user, "second-1", "third-1") == 400, "it is not a day old")
            cloud.clock.advance(by: Self.day)
            #expect(try await Self.change(cloud, user, "second-1", "first-1") == 400)
            #expect(try await Self.change(cloud, user, "second-1", "third-1") == 204)
            let weak = try await cloud.call(.post, "/users", ["user": ["name": "w", "password": "weak"]])
            #expect(weak.status == 400 && weak.text.contains("a digit, and seven characters"))
            let told = try await cloud.call(.get, "/domains/default/config/security_compliance")
            #expect(
                told["config/security_compliance"] == [
                    "password_regex": "^(?=.*[0-9]).{7,}$",
                    "password_regex_description": "a digit, and seven characters",
                ])
        }
    }

    @Test func `who was away for too long is off, whatever they show, until they are enabled`() async throws {
        try await Self.with({
            $0.inactiveDaysMax = 30
        }) { cloud, user async throws in
            let never = try await cloud.make("/users", "user", ["name": "never", "password": "first-1"])
            cloud.clock.advance(by: Self.day * 29)
            #expect(try await Self.login(cloud, user, "first-1") == 201)
            let token = try await cloud.token(userID: user, password: "first-1", scope: "unscoped")
            let exchange: JSONValue = [
                "auth": ["identity": ["methods": ["token"], "token": ["id": .string(token)]], "scope": "unscoped"]
            ]
            #expect(try await cloud.call(.post, "/auth/tokens", exchange, token: .some(nil)).status == 201)
            cloud.clock.advance(by: Self.day * 30)
            #expect(try await cloud.call(.post, "/auth/tokens", exchange, token: .some(nil)).status == 401)
            for user in [user, never] {
                #expect(try await Self.login(cloud, user, "first-1") == 401)
                #expect(try await cloud.call(.patch, "/users/\(user)", ["user": ["enabled": true]]).status == 200)
                #expect(try await Self.login(cloud, user, "first-1") == 201)
            }
        }
    }
}
