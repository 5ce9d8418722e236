import CatalogIdentity
import HTTPTypes
import IdentityAPI
import Primitives
import Testing

@testable import Identity

/// What a login costs tells nothing of whether there is such a user.
@Suite struct LoginWorkTests {
    private static func login(_ cloud: CloudScene, _ user: [String: JSONValue]) async throws -> CloudScene.Answer {
        try await cloud.call(
            .post, "/auth/tokens",
            ["auth": ["identity": ["methods": ["password"], "password": ["user": .object(user)]]]], token: .some(nil))
    }

    @Test func `every refused login computes one hash, whoever it is said to be`() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "off"])
            func user(_ name: String, _ more: [String: JSONValue] = [:]) async throws -> String {
                try await cloud.make("/users", "user", .object(["name": .string(name)].merging(more) { $1 }))
            }
            let known = try await user("known", ["password": "right"])
            _ = try await user("off", ["password": "right", "enabled": false])
            _ = try await user("without")
            _ = try await user("abroad", ["password": "right", "domain_id": .string(domain)])
            _ = try await cloud.call(.patch, "/domains/\(domain)", ["domain": ["enabled": false]])
            let home: JSONValue = ["id": "default"]
            let logins: [(words: String, user: [String: JSONValue])] = [
                ("a wrong password", ["name": "known", "domain": home]),
                ("a wrong password, by identifier", ["id": .string(known)]),
                ("no such user", ["name": "nobody", "domain": home]),
                ("no such identifier", ["id": "00000000000000000000000000000000"]),
                ("no such domain", ["name": "known", "domain": ["id": "nowhere"]]),
                ("no domain of this name", ["name": "known", "domain": ["name": "nowhere"]]),
                ("a user that is off", ["name": "off", "domain": home]),
                ("a user without a password", ["name": "without", "domain": home]),
                ("a domain that is off", ["name": "abroad", "domain": ["id": .string(domain)]]),
            ]
            var answers: Set<String> = []
            for (words, user) in logins {
                let before = cloud.backend.passwords.computationCount
                let answer = try await Self.login(cloud, user.merging(["password": "wrong"]) { $1 })
                #expect(answer.status == 401, "\(words)")
                #expect(cloud.backend.passwords.computationCount - before == 1, "\(words)")
                answers.insert(answer.text)
            }
            #expect(answers.count == 1, "\(answers)")
            let right = try await Self.login(cloud, ["id": .string(known), "password": "right"])
            #expect(right.status == 201)
        }
    }
}
