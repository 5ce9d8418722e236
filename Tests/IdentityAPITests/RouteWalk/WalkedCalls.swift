import APISupport
import HTTPTypes
import IdentityAPI
import Primitives

/// What of the world a call is about.
struct WalkedObject: Sendable {
    /// The word in the table.
    let label: String
    /// Whose things they are; nil: the caller's own.
    let user: String?
    let project: String
    let domain: String
    /// Ends the names of the group, role and guest: `-1`, `-2`; nil: there are none.
    let number: String?
    /// Values of parameters instead of those that come from the rest.
    var parameters: [String: String] = [:]

    static let own = WalkedObject(label: "own", user: nil, project: "project-1", domain: "domain-1", number: "1")
    static let domain = WalkedObject(
        label: "domain", user: "other-1", project: "project-1b", domain: "domain-1", number: "1")
    static let other = WalkedObject(
        label: "other", user: "guest-2", project: "project-2", domain: "domain-2", number: "2")
    static let missing = WalkedObject(
        label: "missing", user: WalkedWorld.missing, project: WalkedWorld.missing, domain: WalkedWorld.missing,
        number: nil)

    func with(_ label: String, _ parameters: [String: String]) -> WalkedObject {
        var copy = WalkedObject(
            label: "\(self.label),\(label)", user: user, project: project, domain: domain, number: number)
        copy.parameters = parameters
        return copy
    }
}

/// One call of one caller.
struct WalkedCall: Hashable, Sendable {
    let path: String
    let body: JSONValue?
    let subject: String?
}

/// A route or parameter that the walk knows nothing of yet.
struct UnknownToTheWalk: Error, CustomStringConvertible {
    let description: String
}

/// Makes the calls of a route.
struct WalkedCalls {
    let world: WalkedWorld

    /// The objects that a route is walked with, in the order of the table.
    static func objects(of route: APIRoute<IdentityBackend>) -> [WalkedObject] {
        let usual: [WalkedObject] = [.own, .domain, .other, .missing]
        switch "\(route.method) \(route.path)" {
        case "DELETE /v3/domains/{domain_id}":
            return usual + [WalkedObject.own.with("off", ["domain_id": "domain-off"])]
        case let name where name.contains("/v3/registered_limits/{"):
            return usual + [WalkedObject.own.with("unused", ["registered_limit_id": "registered-2"])]
        case let name where name.contains("/v3/limits/{"):
            return usual + [
                WalkedObject.own.with("of-domain", ["limit_id": "limit-d1"]),
                WalkedObject.other.with("of-domain", ["limit_id": "limit-d2"]),
            ]
        case let name where name.hasSuffix("/v3/roles/{role_id}"):
            return usual + [WalkedObject.own.with("role-member", ["role_id": "member"])]
        case let name where Self.isGrant(route) && name.contains("{role_id}"):
            return usual + [
                WalkedObject.domain.with("domain-role", ["role_id": "role-1"]),
                WalkedObject.other.with("domain-role", ["role_id": "role-2"]),
                WalkedObject.domain.with("role-admin", ["role_id": "admin"]),
                WalkedObject.own.with("user-gone", ["user_id": WalkedWorld.missing, "group_id": WalkedWorld.missing]),
            ]
        default: return usual
        }
    }

    /// The queries that a route is walked with, apart from none.
    static func queries(of route: APIRoute<IdentityBackend>) -> [String] {
        switch "\(route.method) \(route.path)" {
        case "GET /v3/users", "GET /v3/roles": ["", "?domain_id={domain_id}"]
        case "GET /v3/credentials": ["", "?user_id={user_id}"]
        case "GET /v3/role_assignments": ["", "?include_subtree=1&scope.project.id={project_id}"]
        case "GET /v3/OS-TRUST/trusts": ["", "?trustor_user_id={user_id}", "?trustee_user_id={user_id}"]
        default: [""]
        }
    }

    private static func isGrant(_ route: APIRoute<IdentityBackend>) -> Bool {
        guard route.path.contains("/roles") else { return false }
        return ["/v3/projects/", "/v3/domains/", "/v3/system/", "/v3/OS-INHERIT/"].contains { route.path.hasPrefix($0) }
    }

    /// The call of `caller` for an object.
    func call(
        _ route: APIRoute<IdentityBackend>, _ query: String, _ object: WalkedObject, _ caller: WalkingCaller
    ) throws -> WalkedCall {
        var path = route.path + query
        while let start = path.firstIndex(of: "{"), let end = path[start...].firstIndex(of: "}") {
            let name = String(path[path.index(after: start)..<end])
            let value = try object.parameters[name] ?? value(of: name, route, object, caller)
            path.replaceSubrange(start...end, with: world.id(value))
        }
        let subject = route.path == "/v3/auth/tokens" && route.method != .post
        return WalkedCall(
            path: path, body: try body(route, object, caller), subject: subject ? token(object, caller) : nil)
    }

    private func token(_ object: WalkedObject, _ caller: WalkingCaller) -> String {
        switch object.label {
        case "own": caller.token ?? world.id("token-other-1")
        case "domain": world.id("token-other-1")
        case "other": world.id("token-guest-2")
        default: "gAAAA-not-a-token"
        }
    }

    private func value(
        of name: String, _ route: APIRoute<IdentityBackend>, _ object: WalkedObject, _ caller: WalkingCaller
    ) throws -> String {
        let user = object.user ?? caller.user
        guard let number = object.number else { return name == "value" ? "no-tag" : WalkedWorld.missing }
        let isNew = route.method == .put && route.path.hasSuffix("{\(name)}")
        switch name {
        case "user_id":
            return Self.isGrant(route) || route.path.hasPrefix("/v3/groups/") ? "guest-\(number)" : user
        case "project_id": return object.project
        case "domain_id": return object.domain
        case "group_id": return "group-\(number)"
        case "role_id":
            if route.path.hasPrefix("/v3/roles/") { return object.label == "own" ? "role-global" : "role-\(number)" }
            return "member"
        case "credential_id": return route.path.contains("OS-EC2") ? "ec2-\(user)" : "credential-\(user)"
        case "application_credential_id": return "appcredential-\(user)"
        case "access_rule_id": return "accessrule-\(user)"
        case "access_token_id": return "accesstoken-\(user)"
        case "trust_id": return "trust-\(user)"
        case "limit_id": return object.label == "domain" ? "limit-1b" : "limit-\(number)"
        case "prior_role_id": return "role-prior"
        case "implied_role_id": return isNew ? "role-global" : "role-implied"
        case "region_id": return isNew && !route.path.contains("OS-ENDPOINT-POLICY") ? "region-new" : "region-1"
        case "idp_id": return isNew ? "idp-new" : "idp-1"
        case "protocol_id": return isNew ? "protocol-new" : "protocol-1"
        case "mapping_id": return isNew ? "mapping-new" : "mapping-1"
        case "sp_id", "service_provider_id": return isNew ? "sp-new" : "sp-1"
        case "value": return isNew ? "tag-new" : "tag"
        case "group": return "identity"
        case "option": return "driver"
        case "service_id": return "service-1"
        case "endpoint_id": return "endpoint-1"
        case "endpoint_group_id": return "egroup-1"
        case "policy_id": return "policy-1"
        case "registered_limit_id": return "registered-1"
        case "consumer_id": return "consumer-1"
        case "request_token_id": return "request-1"
        default: throw UnknownToTheWalk(description: "the parameter {\(name)} of \(route.path)")
        }
    }

    private func body(
        _ route: APIRoute<IdentityBackend>, _ object: WalkedObject, _ caller: WalkingCaller
    ) throws -> JSONValue? {
        guard route.request != nil else { return nil }
        let user: JSONValue = .string(object.user ?? caller.user)
        let (domain, project): (JSONValue, JSONValue) = (.string(object.domain), .string(object.project))
        switch "\(route.method) \(route.path.dropFirst(3))" {
        case "POST /auth/tokens":
            return [
                "auth": [
                    "identity": ["methods": ["token"], "token": ["id": .string(caller.token ?? "none")]],
                    "scope": "unscoped",
                ]
            ]
        case "POST /ec2tokens", "POST /s3tokens": return world.signed
        case "POST /domains": return ["domain": ["name": "new"]]
        case "PATCH /domains/{domain_id}": return ["domain": ["description": "d"]]
        case "POST /projects": return ["project": ["name": "new", "domain_id": domain]]
        case "PATCH /projects/{project_id}": return ["project": ["description": "d"]]
        case "PUT /projects/{project_id}/tags": return ["tags": ["x"]]
        case "POST /users": return ["user": ["name": "new", "domain_id": domain]]
        case "PATCH /users/{user_id}": return ["user": ["description": "d"]]
        case "POST /users/{user_id}/password":
            return ["user": ["original_password": "wrong", "password": "new password"]]
        case "POST /groups": return ["group": ["name": "new", "domain_id": domain]]
        case "PATCH /groups/{group_id}": return ["group": ["description": "d"]]
        case "POST /roles":
            return ["role": object.label == "own" ? ["name": "new"] : ["name": "new", "domain_id": domain]]
        case "PATCH /roles/{role_id}": return ["role": ["description": "d"]]
        case "POST /credentials": return ["credential": ["user_id": user, "type": "cert", "blob": "b"]]
        case "PATCH /credentials/{credential_id}": return ["credential": ["blob": "c"]]
        case "POST /users/{user_id}/credentials/OS-EC2": return ["tenant_id": "project-1"]
        case "POST /users/{user_id}/application_credentials": return ["application_credential": ["name": "new"]]
        case "POST /OS-TRUST/trusts":
            return [
                "trust": [
                    "trustor_user_id": user, "trustee_user_id": "guest-1", "impersonation": false,
                    "project_id": "project-1", "roles": [["name": "reader"]],
                ]
            ]
        case let name where name.hasSuffix("/policies") || name.hasSuffix("/policies/{policy_id}"):
            return ["policy": ["type": "application/json", "blob": "{}"]]
        case let name where name.contains("/limits"):
            return try limitBody(name, project)
        case let name where name.contains("/OS-"):
            return try extensionBody(name)
        case let name where name.contains("/config"):
            let group: JSONValue = ["driver": "ldap"]
            let whole = !name.contains("{group}")
            return ["config": whole ? ["identity": group] : name.contains("{option}") ? group : ["identity": group]]
        default: return try catalogBody("\(route.method) \(route.path.dropFirst(3))")
        }
    }

    private func limitBody(_ name: String, _ project: JSONValue) throws -> JSONValue {
        switch name {
        case "POST /limits":
            [
                "limits": [
                    ["service_id": "service-1", "resource_name": "disks", "resource_limit": 1, "project_id": project]
                ]
            ]
        case "PATCH /limits/{limit_id}": ["limit": ["resource_limit": 6]]
        default: throw UnknownToTheWalk(description: "the body of \(name)")
        }
    }

    private func catalogBody(_ name: String) throws -> JSONValue {
        switch name {
        case "POST /regions", "PUT /regions/{region_id}", "PATCH /regions/{region_id}": ["region": ["description": "d"]]
        case "POST /services": ["service": ["type": "new"]]
        case "PATCH /services/{service_id}": ["service": ["description": "d"]]
        case "POST /endpoints":
            ["endpoint": ["service_id": "service-1", "interface": "admin", "url": "http://n.example"]]
        case "PATCH /endpoints/{endpoint_id}": ["endpoint": ["url": "http://n.example"]]
        case "POST /registered_limits":
            ["registered_limits": [["service_id": "service-1", "resource_name": "new", "default_limit": 1]]]
        case "PATCH /registered_limits/{registered_limit_id}": ["registered_limit": ["default_limit": 2]]
        default: throw UnknownToTheWalk(description: "the body of \(name)")
        }
    }

    private func extensionBody(_ name: String) throws -> JSONValue {
        switch name {
        case "POST /OS-EP-FILTER/endpoint_groups":
            ["endpoint_group": ["name": "new", "filters": ["service_id": "service-1"]]]
        case "PATCH /OS-EP-FILTER/endpoint_groups/{endpoint_group_id}": ["endpoint_group": ["name": "new"]]
        case "POST /OS-OAUTH1/consumers", "PATCH /OS-OAUTH1/consumers/{consumer_id}": ["consumer": ["description": "d"]]
        case "PUT /OS-OAUTH1/authorize/{request_token_id}": ["roles": [["name": "reader"]]]
        case "PUT /OS-FEDERATION/identity_providers/{idp_id}", "PATCH /OS-FEDERATION/identity_providers/{idp_id}":
            ["identity_provider": ["enabled": true]]
        case let name where name.hasSuffix("/protocols/{protocol_id}"): ["protocol": ["mapping_id": "mapping-1"]]
        case let name where name.hasSuffix("/mappings/{mapping_id}"): ["mapping": ["rules": WalkedWorld.mappingRules]]
        case let name where name.contains(" /OS-FEDERATION/service_providers/"):
            ["service_provider": ["auth_url": "https://n.example", "sp_url": "https://m.example"]]
        default: throw UnknownToTheWalk(description: "the body of \(name)")
        }
    }
}
