import HTTPTypes
import Primitives
import Testing

@Suite struct FederationTests {
    private let providers = "/OS-FEDERATION/identity_providers"
    private let mappings = "/OS-FEDERATION/mappings"

    @Test func aProviderWithoutADomainGetsItsOwn() async throws {
        try await withCloud { cloud in
            let made = try await cloud.call(
                .put, "\(providers)/sso", ["identity_provider": ["remote_ids": ["https://sso"]]])
            #expect(made.status == 201)
            #expect(made["identity_provider/enabled"] == false)
            let domain = made["identity_provider/domain_id"].string ?? ""
            let shown = try await cloud.call(.get, "/domains/\(domain)")
            #expect(shown["domain/name"].string == domain)
            #expect(
                made["identity_provider/links/protocols"].string?.hasSuffix("/identity_providers/sso/protocols") == true
            )
            #expect(try await cloud.call(.put, "\(providers)/sso", ["identity_provider": [:]]).status == 409)
            let count = try await cloud.call(.get, "/domains")["domains"].array?.count
            #expect(count == 2, "a refused provider leaves no domain behind")
        }
    }

    @Test func aRemoteIDIsOneProviders() async throws {
        try await withCloud { cloud in
            func put(_ id: String, _ remote: JSONValue) async throws -> Int {
                try await cloud.call(.put, "\(providers)/\(id)", ["identity_provider": ["remote_ids": remote]]).status
            }
            #expect(try await put("one", ["a", "b"]) == 201)
            #expect(try await put("two", ["b"]) == 409)
            #expect(try await put("two", ["c", "c"]) == 400)
            #expect(try await put("two", ["c"]) == 201)
            let taken = try await cloud.call(.patch, "\(providers)/two", ["identity_provider": ["remote_ids": ["a"]]])
            #expect(taken.status == 409)
            let given = try await cloud.call(.patch, "\(providers)/one", ["identity_provider": ["remote_ids": ["b"]]])
            #expect(given.status == 200)
            let free = try await cloud.call(.patch, "\(providers)/two", ["identity_provider": ["remote_ids": ["a"]]])
            #expect(free["identity_provider/remote_ids"] == ["a"])
            #expect(try await cloud.call(.delete, "\(providers)/two").status == 204)
            #expect(try await put("three", ["a"]) == 201)
        }
    }

    @Test func badProvidersAreRefused() async throws {
        try await withCloud { cloud in
            for (id, body, status) in [
                ("sso", ["color": "red"] as JSONValue, 400), ("sso", ["domain_id": "nowhere"], 404),
                ("sso", ["enabled": "yes"], 400), ("sso", ["authorization_ttl": -1], 400),
                (String(repeating: "x", count: 65), [:], 400),
            ] {
                let answer = try await cloud.call(.put, "\(providers)/\(id)", ["identity_provider": body])
                #expect(answer.status == status, "\(body): \(answer.text)")
            }
            #expect(try await cloud.call(.patch, "\(providers)/sso", ["identity_provider": [:]]).status == 400)
            #expect(
                try await cloud.call(.patch, "\(providers)/sso", ["identity_provider": ["enabled": true]]).status == 404
            )
        }
    }

    private func rule(_ local: JSONValue, _ remote: JSONValue) -> JSONValue {
        [["local": [local], "remote": [remote]]]
    }

    @Test func mappingsHaveTheirFormsRules() async throws {
        try await withCloud { cloud in
            let user: JSONValue = ["user": ["name": "{0}"]]
            let project: JSONValue = [
                "projects": [["name": "p", "roles": [["name": "member"]], "domain": ["id": "d"]]]
            ]
            for (version, rules, status) in [
                ("1.0", rule(user, ["type": "REMOTE_USER"]), 201),
                ("1.0", rule(user, ["type": "G", "any_one_of": ["a"], "regex": true]), 201),
                ("1.0", rule(user, ["type": "G", "any_one_of": ["a"], "not_any_of": ["b"]]), 400),
                ("1.0", rule(["user": ["type": "strange"]], ["type": "REMOTE_USER"]), 400),
                ("1.0", rule(project, ["type": "REMOTE_USER"]), 400),
                ("2.0", rule(project, ["type": "REMOTE_USER"]), 201),
                ("2.0", rule(["projects_json": "{0}"], ["type": "P"]), 400),
                ("3.0", rule(["projects_json": "{0}"], ["type": "P"]), 201),
                ("1.0", rule(["group": ["name": "g"]], ["type": "P"]), 400), ("1.0", [], 400),
                ("1.0", [["local": [user], "remote": []]], 400), ("4.0", rule(user, ["type": "REMOTE_USER"]), 400),
            ] as [(String, JSONValue, Int)] {
                let answer = try await cloud.call(
                    .put, "\(mappings)/m", ["mapping": ["rules": rules, "schema_version": .string(version)]])
                #expect(answer.status == status, "\(version) \(rules): \(answer.text)")
                if status == 201 { #expect(try await cloud.call(.delete, "\(mappings)/m").status == 204) }
            }
            #expect(try await cloud.call(.put, "\(mappings)/m", ["mapping": [:]]).status == 400)
        }
    }

    @Test func aProtocolNeedsItsMappingAndGoesWithItsProvider() async throws {
        try await withCloud { cloud in
            _ = try await cloud.call(.put, "\(providers)/sso", ["identity_provider": [:]])
            let path = "\(providers)/sso/protocols/saml2"
            let body: JSONValue = ["protocol": ["mapping_id": "m"]]
            #expect(try await cloud.call(.put, path, body).status == 400, "there is no mapping")
            let rules = rule(["user": ["name": "{0}"]], ["type": "REMOTE_USER"])
            _ = try await cloud.call(.put, "\(mappings)/m", ["mapping": ["rules": rules]])
            #expect(try await cloud.call(.put, "\(providers)/other/protocols/saml2", body).status == 404)
            #expect(try await cloud.call(.put, path, body).status == 201)
            #expect(try await cloud.call(.put, path, body).status == 409)
            #expect(try await cloud.call(.patch, path, ["protocol": ["mapping_id": "n"]]).status == 400)
            let listed = try await cloud.call(.get, "\(providers)/sso/protocols")
            #expect(listed["protocols/0/idp_id"] == "sso")
            #expect(listed["protocols/0/links/self"] == "https://cloud.example:9443/identity/v3\(path)")
            #expect(try await cloud.call(.delete, "\(providers)/sso").status == 204)
            #expect(try await cloud.call(.get, path).status == 404)
        }
    }

    @Test func serviceProvidersNeedAddresses() async throws {
        try await withCloud { cloud in
            let path = "/OS-FEDERATION/service_providers/far"
            #expect(try await cloud.call(.put, path, ["service_provider": ["auth_url": "https://far"]]).status == 400)
            let wrong: JSONValue = ["service_provider": ["auth_url": "far", "sp_url": "https://far"]]
            #expect(try await cloud.call(.put, path, wrong).status == 400)
            let right: JSONValue = ["service_provider": ["auth_url": "https://far/v3", "sp_url": "https://far/sp"]]
            let made = try await cloud.call(.put, path, right)
            #expect(made.status == 201)
            #expect(made["service_provider/relay_state_prefix"] == "ss:mem:")
            #expect(try await cloud.call(.put, path, right).status == 409)
        }
    }
}
