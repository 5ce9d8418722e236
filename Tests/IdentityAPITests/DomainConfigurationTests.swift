import HTTPTypes
import Primitives
import Testing

@Suite struct DomainConfigurationTests {
    private let path = "/domains/default/config"

    @Test func aSecretIsSealedAndNeverShown() async throws {
        try await withCloud { cloud in
            let config: JSONValue = ["config": ["ldap": ["url": "ldap://x", "password": "hunter2"]]]
            let made = try await cloud.call(.put, path, config)
            #expect(made.status == 201)
            #expect(made.json == ["config": ["ldap": ["url": "ldap://x"]]])
            for part in ["", "/ldap"] { #expect(!(try await cloud.call(.get, path + part)).text.contains("hunter2")) }
            #expect(try await cloud.call(.get, "\(path)/ldap/password").status == 404)
            #expect(try await cloud.secrets("domainsetting.").values.elementsEqual(["hunter2"]))
            let changed = try await cloud.call(.patch, "\(path)/ldap/password", ["config": ["password": "hunter3"]])
            #expect(changed.status == 200)
            #expect(try await cloud.secrets("domainsetting.").values.elementsEqual(["hunter3"]))
            #expect(try await cloud.call(.put, path, ["config": ["ldap": ["url": "ldap://y"]]]).status == 200)
            #expect(try await cloud.secrets("domainsetting.").isEmpty, "what is not set any more is not kept")
        }
    }

    @Test func secretsGoWithTheConfigurationAndTheDomain() async throws {
        try await withCloud { cloud in
            let domain = try await cloud.make("/domains", "domain", ["name": "d"])
            let config: JSONValue = ["config": ["ldap": ["password": "hunter2"]]]
            #expect(try await cloud.call(.put, "/domains/\(domain)/config", config).status == 201)
            #expect(try await cloud.call(.delete, "/domains/\(domain)/config/ldap/password").status == 204)
            #expect(try await cloud.secrets("domainsetting.").isEmpty)
            #expect(try await cloud.call(.put, "/domains/\(domain)/config", config).status == 201)
            #expect(try await cloud.call(.patch, "/domains/\(domain)", ["domain": ["enabled": false]]).status == 200)
            #expect(try await cloud.call(.delete, "/domains/\(domain)").status == 204)
            #expect(try await cloud.secrets("domainsetting.").isEmpty)
        }
    }

    @Test func whatADomainCannotHaveIsRefused() async throws {
        try await withCloud { cloud in
            for (body, status) in [
                (["config": [:]] as JSONValue, 403), (["config": ["kvm": ["x": 1]]], 403),
                (["config": ["ldap": ["color": "red"]]], 403), (["config": ["ldap": "x"]], 403),
                (["config": ["ldap": [:]]], 403), (["config": "x"], 400), ([:], 400),
            ] {
                let answer = try await cloud.call(.put, path, body)
                #expect(answer.status == status, "\(body): \(answer.text)")
            }
            #expect(try await cloud.call(.get, path).status == 404)
            #expect(try await cloud.call(.get, "\(path)/kvm").status == 403)
            #expect(
                try await cloud.call(.put, "/domains/nowhere/config", ["config": ["ldap": ["url": "x"]]]).status == 404)
        }
    }

    @Test func aPartIsChangedAndNothingElse() async throws {
        try await withCloud { cloud in
            _ = try await cloud.call(
                .put, path, ["config": ["ldap": ["url": "a", "suffix": "b"], "identity": ["driver": "c"]]])
            let driver: JSONValue = ["config": ["driver": "x"]]
            #expect(try await cloud.call(.patch, "\(path)/identity/list_limit", driver).status == 403)
            #expect(try await cloud.call(.patch, "\(path)/identity", ["config": ["ldap": ["url": "z"]]]).status == 403)
            let absent = try await cloud.call(.patch, "\(path)/identity/list_limit", ["config": ["list_limit": 3]])
            #expect(absent.status == 404, "a part that is not there cannot be changed")
            let changed = try await cloud.call(.patch, "\(path)/identity/driver", driver)
            #expect(changed.json == ["config": ["ldap": ["url": "a", "suffix": "b"], "identity": ["driver": "x"]]])
            #expect(try await cloud.call(.delete, "\(path)/ldap/url").status == 204)
            #expect(try await cloud.call(.delete, "\(path)/ldap/url").status == 404)
            #expect(try await cloud.call(.get, "\(path)/ldap").json == ["config": ["ldap": ["suffix": "b"]]])
            #expect(try await cloud.call(.delete, path).status == 204)
            #expect(try await cloud.call(.get, path).status == 404)
        }
    }

    @Test func onlyTheDefaultDomainsPasswordRulesAreTold() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let other = try await cloud.make("/domains", "domain", ["name": "d"])
            let reader = try await cloud.user(role: "reader", in: project).token
            let rules = "security_compliance"
            #expect(try await cloud.call(.get, "\(path)/\(rules)", token: reader).status == 200)
            #expect(try await cloud.call(.get, "\(path)/\(rules)/password_regex", token: reader).status == 200)
            #expect(try await cloud.call(.get, "\(path)/\(rules)/lockout_duration", token: reader).status == 403)
            let (there, missing) = (
                try await cloud.call(.get, "/domains/\(other)/config/\(rules)", token: reader),
                try await cloud.call(.get, "/domains/nowhere/config/\(rules)", token: reader)
            )
            #expect(there.status == 403 && there.text == missing.text)
            #expect(try await cloud.call(.get, path, token: reader).status == 403)
        }
    }
}
