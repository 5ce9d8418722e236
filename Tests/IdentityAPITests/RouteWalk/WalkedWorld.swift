import CatalogIdentity
import HTTPTypes
import Identity
import IdentityAPI
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport

/// Somebody who calls every route.
struct WalkingCaller: Sendable {
    /// The column in the table.
    let name: String
    /// The user; of a caller without a good token, one that is there all the same.
    let user: String
    let token: String?
}

/// Two domains with one of everything in each, and callers of every role in every scope.
///
/// `domain-1` has the projects `project-1` and `project-1b`, and all callers but one; `domain-2` has `project-2` and
/// the caller `d2-manager`.
struct WalkedWorld: Sendable {
    static let roles = ["admin", "manager", "member", "reader", "service"]
    static let missing = String(repeating: "0", count: 32)

    let cloud: CloudScene
    private(set) var callers: [WalkingCaller] = []
    /// The identifiers that the API gave, by the names that they have here.
    private(set) var ids: [String: String] = [:]

    init(_ cloud: CloudScene) async throws {
        self.cloud = cloud
        for role in Self.roles { ids[role] = try await cloud.roleID(role) }
        try await seedPlaces()
        try await seedCatalog()
        for user in ["guest-1", "guest-2", "other-1", "none", "pb-member", "d2-manager"] { try await seedUser(user) }
        for scope in ["s", "d", "p"] { for role in Self.roles { try await seedUser("\(scope)-\(role)") } }
        try await seedGrants()
        try await cloud.cache.barrier()
        try await seedKeptByTheAPI()
        try await makeCallers()
    }

    /// The identifier of `name`: what the API gave, else the name itself.
    func id(_ name: String) -> String { ids[name] ?? name }

    /// Where a user is.
    static func domain(of user: String) -> String {
        user == "d2-manager" || user.hasSuffix("-2") ? "domain-2" : "domain-1"
    }

    // MARK: Things

    private func put<Spec: IdentitySpec>(_ specs: [(String, Spec)]) async throws {
        for part in specs.chunked(50) {
            let operations = try part.map { name, spec in
                try Stored(new: IdentityEntry<Spec>(name: name, created: cloud.clock.now, spec: spec))
                    .put()
            }
            _ = try await cloud.store.commit(Transaction(operations: operations))
        }
    }

    private func seedPlaces() async throws {
        var off = ProjectSpec(name: "off", domainID: nil, parentID: nil)
        off.isEnabled = false
        func project(_ name: String, _ domain: String) -> (String, ProjectSpec) {
            var spec = ProjectSpec(name: name, domainID: domain, parentID: domain)
            spec.tags = ["tag"]
            return (name, spec)
        }
        try await put([
            ("domain-1", ProjectSpec(name: "domain-1", domainID: nil, parentID: nil)),
            ("domain-2", ProjectSpec(name: "domain-2", domainID: nil, parentID: nil)), ("domain-off", off),
            project("project-1", "domain-1"), project("project-1b", "domain-1"), project("project-2", "domain-2"),
        ])
        try await put([
            ("group-1", GroupSpec(name: "group-1", domainID: "domain-1")),
            ("group-2", GroupSpec(name: "group-2", domainID: "domain-2")),
        ])
        try await put(
            [
                ("group-1", MembershipSpec(groupID: "group-1", userID: "guest-1")),
                ("group-2", MembershipSpec(groupID: "group-2", userID: "guest-2")),
            ].map { ($0.1.name, $0.1) })
        try await put([
            ("role-global", RoleSpec(name: "role-global")), ("role-prior", RoleSpec(name: "role-prior")),
            ("role-implied", RoleSpec(name: "role-implied")),
            ("role-1", RoleSpec(name: "role-1", domainID: "domain-1")),
            ("role-2", RoleSpec(name: "role-2", domainID: "domain-2")),
        ])
        let implication = RoleImplicationSpec(priorID: "role-prior", impliedID: "role-implied")
        try await put([(implication.name, implication)])
        let settings = DomainSettingsSpec(groups: ["identity": ["driver": "sql"]])
        try await put([("domain-1", settings), ("domain-2", settings)])
    }

    private func seedCatalog() async throws {
        try await put([("region-1", RegionSpec(id: "region-1"))])
        try await put([("service-1", CloudServiceSpec(type: "walk", name: "walk"))])
        try await put([
            (
                "endpoint-1",
                EndpointSpec(serviceID: "service-1", interface: "public", url: "http://e.example", regionID: "region-1")
            )
        ])
        try await put([("egroup-1", EndpointGroupSpec(name: "egroup-1", filters: ["service_id": "service-1"]))])
        let given = ["endpoint-1", "egroup-1"].map {
            ProjectEndpointSpec(projectID: "project-1", endpointID: $0, isGroup: $0 == "egroup-1")
        }
        try await put(given.map { ($0.name, $0) })
        try await put([("policy-1", PolicyDocumentSpec(type: "application/json", blob: "{}"))])
        let associations = [
            PolicyAssociationSpec(policyID: "policy-1", endpointID: "endpoint-1"),
            PolicyAssociationSpec(policyID: "policy-1", serviceID: "service-1"),
            PolicyAssociationSpec(policyID: "policy-1", serviceID: "service-1", regionID: "region-1"),
        ]
        try await put(associations.map { ($0.name, $0) })
        func registered(_ name: String) -> RegisteredLimitSpec {
            RegisteredLimitSpec(
                serviceID: "service-1", regionID: nil, resourceName: name, defaultLimit: 10, description: nil)
        }
        try await put([("registered-1", registered("cores")), ("registered-2", registered("disks"))])
        let first = RegisteredLimit(name: "registered-1", created: cloud.clock.now, spec: registered("cores"))
        func limit(project: String? = nil, domain: String? = nil) -> LimitSpec {
            LimitSpec(projectID: project, domainID: domain, registered: first, resourceLimit: 5, description: nil)
        }
        try await put([
            ("limit-1", limit(project: "project-1")), ("limit-1b", limit(project: "project-1b")),
            ("limit-2", limit(project: "project-2")), ("limit-d1", limit(domain: "domain-1")),
            ("limit-d2", limit(domain: "domain-2")),
        ])
        try await seedFederation()
    }

    private func seedFederation() async throws {
        let provider = IdentityProviderSpec(
            id: "idp-1", isEnabled: true, description: nil, remoteIDs: [], domainID: "domain-1")
        try await put([("idp-1", provider)])
        try await put([
            ("mapping-1", FederationMappingSpec(id: "mapping-1", rules: Self.mappingRules, formVersion: "1.0"))
        ])
        let spoken = FederationProtocolSpec(
            id: "protocol-1", providerID: "idp-1", mappingID: "mapping-1", remoteIDAttribute: nil)
        try await put([(spoken.name, spoken)])
        let cloudBeside = ServiceProviderSpec(
            id: "sp-1", isEnabled: true, description: nil, authURL: "https://a.example", spURL: "https://s.example",
            relayStatePrefix: "ss:mem:")
        try await put([("sp-1", cloudBeside)])
        try await put([("consumer-1", ConsumerSpec(description: nil))])
        let asked = ConsumerTokenSpec(consumerID: "consumer-1", projectID: "project-1", phase: .requested, expires: nil)
        try await put([("request-1", asked)])
    }

    static let mappingRules: JSONValue = [
        ["local": [["user": ["name": "{0}"]]], "remote": [["type": "REMOTE_USER"]]]
    ]

    // MARK: Users

    private func seedUser(_ name: String) async throws {
        try await put([(name, UserSpec(name: name, domainID: Self.domain(of: name)))])
        let member = id("member")
        try await put([
            (
                "appcredential-\(name)",
                ApplicationCredentialSpec(
                    userID: name, projectID: "project-1", name: "a", hash: "-", roleIDs: [member])
            )
        ])
        try await put([("accessrule-\(name)", AccessRuleSpec(userID: name, service: "walk", method: "GET", path: "/x"))]
        )
        try await put([
            (
                "trust-\(name)",
                TrustSpec(
                    trustorID: name, trusteeID: "guest-1", projectID: "project-1", roleIDs: [member],
                    isImpersonation: false)
            )
        ])
        try await put([
            (
                "accesstoken-\(name)",
                ConsumerTokenSpec(
                    consumerID: "consumer-1", projectID: "project-1", phase: .access(of: name, roleIDs: [member]),
                    expires: nil)
            )
        ])
    }

    private func seedGrants() async throws {
        func grant(
            _ actor: AssignmentSpec.Actor, _ target: AssignmentSpec.Target, _ role: String, inherited: Bool = false
        )
            -> (String, AssignmentSpec)
        {
            var roles = [AssignmentSpec.Grant(roleID: id(role))]
            if inherited { roles.append(AssignmentSpec.Grant(roleID: id(role), isInherited: true)) }
            return (AssignmentSpec.name(actor, target), AssignmentSpec(actor: actor, target: target, roles: roles))
        }
        var grants: [(String, AssignmentSpec)] = []
        for role in Self.roles {
            grants.append(grant(.user("s-\(role)"), .system, role))
            grants.append(grant(.user("d-\(role)"), .domain("domain-1"), role))
            grants.append(grant(.user("p-\(role)"), .project("project-1"), role))
        }
        grants.append(grant(.user("pb-member"), .project("project-1b"), "member"))
        grants.append(grant(.user("d2-manager"), .domain("domain-2"), "manager"))
        for number in ["1", "2"] {
            for actor in [AssignmentSpec.Actor.user("guest-\(number)"), .group("group-\(number)")] {
                grants.append(grant(actor, .system, "member"))
                grants.append(grant(actor, .domain("domain-\(number)"), "member", inherited: true))
                grants.append(grant(actor, .project("project-\(number)"), "member", inherited: true))
            }
        }
        grants.append(grant(.user("guest-1"), .project("project-1b"), "member", inherited: true))
        grants.append(grant(.group("group-1"), .project("project-1b"), "member", inherited: true))
        try await put(grants)
    }

    /// What has a secret is made by the API itself.
    private mutating func seedKeptByTheAPI() async throws {
        let system = try await cloud.token(scope: ["system": ["all": true]])
        let users =
            ["guest-1", "guest-2", "other-1", "none", "pb-member", "d2-manager"]
            + ["s", "d", "p"].flatMap { scope in Self.roles.map { "\(scope)-\($0)" } }
        for user in users {
            let kept = try await cloud.call(
                .post, "/credentials", ["credential": ["user_id": .string(user), "type": "cert", "blob": "b"]],
                token: system)
            ids["credential-\(user)"] = kept["credential/id"].string
            let key = try await cloud.call(
                .post, "/users/\(user)/credentials/OS-EC2", ["tenant_id": "project-1"], token: system)
            ids["ec2-\(user)"] = key["credential/access"].string
            guard kept.status == 201, key.status == 201, ids["ec2-\(user)"] != nil else {
                throw SceneError("\(user): \(kept.text) \(key.text)")
            }
        }
    }

    // MARK: Callers

    private func seal(_ user: String, _ scope: TokenPayload.Scope, from start: Duration = .zero, audit: String? = nil)
        throws
        -> String
    {
        let issued = cloud.clock.now.advanced(by: start)
        let audit = audit ?? "audit-\(user)-\(start)"
        let payload = TokenPayload(
            userID: user, methods: ["password"], scope: scope, issued: issued,
            expires: issued.advanced(by: .seconds(3600)), auditID: audit, auditChainID: audit)
        return try cloud.backend.tokens.sealer.seal(payload, random: .system)
    }

    private mutating func makeCallers() async throws {
        try await put([
            (
                "audit-revoked",
                RevocationSpec(revoked: cloud.clock.now, expires: cloud.clock.now.advanced(by: .seconds(7200)))
            )
        ])
        try await cloud.cache.barrier()
        callers = [
            WalkingCaller(name: "no-token", user: "s-admin", token: nil),
            WalkingCaller(name: "garbage", user: "s-admin", token: "gAAAA-not-a-token"),
            WalkingCaller(name: "expired", user: "s-admin", token: try seal("s-admin", .system, from: .seconds(-3601))),
            WalkingCaller(
                name: "revoked", user: "s-admin", token: try seal("s-admin", .system, audit: "audit-revoked")),
            WalkingCaller(name: "unscoped", user: "none", token: try seal("none", .unscoped)),
        ]
        for (letter, scope) in [
            ("s", TokenPayload.Scope.system), ("d", .domain("domain-1")), ("p", .project("project-1")),
        ] {
            for role in Self.roles {
                let user = "\(letter)-\(role)"
                callers.append(WalkingCaller(name: user, user: user, token: try seal(user, scope)))
            }
        }
        callers.append(
            WalkingCaller(name: "pb-member", user: "pb-member", token: try seal("pb-member", .project("project-1b"))))
        callers.append(
            WalkingCaller(name: "d2-manager", user: "d2-manager", token: try seal("d2-manager", .domain("domain-2"))))
        ids["token-other-1"] = try seal("other-1", .unscoped)
        ids["token-guest-2"] = try seal("guest-2", .unscoped)
    }
}

extension Array {
    /// The elements in order, `size` at a time.
    fileprivate func chunked(_ size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}
