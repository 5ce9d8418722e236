import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let trustAnswer: Schema = .object(
        [
            "trust": .object(
                [
                    "id": .string(), "trustor_user_id": .string(), "trustee_user_id": .string(),
                    "impersonation": .boolean, "project_id": Schema.string().orNull,
                    "expires_at": Schema.string(form: .time).orNull, "remaining_uses": Schema.integer(min: 0).orNull,
                    "redelegated_trust_id": Schema.string().orNull, "redelegation_count": .integer(min: 0),
                    "deleted_at": .null, "roles": .array(of: roleElement), "roles_links": .links, "links": .links,
                ],
                required: [
                    "id", "trustor_user_id", "trustee_user_id", "impersonation", "project_id", "expires_at",
                    "remaining_uses", "redelegated_trust_id", "redelegation_count", "links",
                ])
        ], required: ["trust"])

    /// A trust that is not there, ended or is used up is not found by anybody.
    private static func ofPathTrust(_ call: IdentityCall) throws -> PolicyTarget {
        let trust = try call.existingTrust()
        return PolicyTarget([
            "trust_id": .string(trust.id),
            "target": [
                "trust": [
                    "id": .string(trust.id), "trustor_user_id": .string(trust.spec.trustorID),
                    "trustee_user_id": .string(trust.spec.trusteeID), "project_id": .optional(trust.spec.projectID),
                ]
            ],
        ])
    }

    static let trustRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-TRUST/trusts", .token, "Lists trusts.",
            response: trustAnswer.list("trusts")
        ) { try $0.listTrusts() },
        IdentityRoute(
            .post, "/v3/OS-TRUST/trusts", .rule("identity:create_trust"), "Makes a trust.",
            request: .object(
                [
                    "trust": .object(
                        [
                            "trustor_user_id": .string(max: 64), "trustee_user_id": .string(max: 64),
                            "impersonation": .boolean, "project_id": Schema.string(max: 64).orNull,
                            "remaining_uses": Schema.integer(min: 1).orNull, "expires_at": Schema.string().orNull,
                            "allow_redelegation": Schema.boolean.orNull,
                            "redelegation_count": Schema.integer(min: 0).orNull,
                            "roles": .array(of: .object(["id": .string(), "name": .string()], minCount: 1), max: 64),
                        ], required: ["trustor_user_id", "trustee_user_id", "impersonation"])
                ], required: ["trust"]), response: trustAnswer,
            target: { PolicyTarget(["target": ["trust": .object($0.object("trust"))]]) }
        ) { try await $0.createTrust() },
        IdentityRoute(
            .get, "/v3/OS-TRUST/trusts/{trust_id}", .rule("identity:get_trust"), "Shows a trust.",
            response: trustAnswer, target: ofPathTrust
        ) { call in
            try call.refuseDelegatedMethod()
            return .json(["trust": call.render(try call.existingTrust(), hasRoles: true)])
        },
        IdentityRoute(
            .delete, "/v3/OS-TRUST/trusts/{trust_id}", .rule("identity:delete_trust"),
            "Ends a trust, and those that hand it on.", target: ofPathTrust
        ) { call in
            try call.refuseDelegatedMethod()
            let trust = try call.existingTrust()
            try await call.delete("identity:delete_trust", trust.key) { $0.dependents(of: trust) }
            return .empty
        },
        IdentityRoute(
            .get, "/v3/OS-TRUST/trusts/{trust_id}/roles", .rule("identity:list_roles_for_trust"),
            "Lists a trust's roles.", response: rolesAnswer, target: ofPathTrust
        ) { call in
            try call.refuseDelegatedMethod()
            let roles = try call.existingTrust().spec.roleIDs.compactMap { call.directory.role($0) }
            return try roleNoun.list(roles, call)
        },
        IdentityRoute(
            .get, "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}", .rule("identity:get_role_for_trust"),
            "Shows a role of a trust.", response: roleAnswer, target: ofPathTrust
        ) { call in
            try call.refuseDelegatedMethod()
            let id = call.parameter("role_id")
            guard try call.existingTrust().spec.roleIDs.contains(id), let role = call.directory.role(id) else {
                throw APIError.missing("role", id)
            }
            return roleNoun.answer(role, call)
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func existingTrust() throws -> Trust {
        let id = parameter("trust_id")
        let now = backend.clock.now
        guard let trust = directory.entry(Trust.self, id), trust.spec.expires.map({ now < $0 }) ?? true,
            trust.spec.remainingUses.map({ $0 > 0 }) ?? true
        else { throw APIError.missing("trust", id) }
        return trust
    }

    /// A token of a trust may look at trusts, one of an application credential or an access token not.
    fileprivate func refuseDelegatedMethod() throws {
        guard caller.token?.trust == nil else { return }
        try refuseDelegated("Trusts", exceptApplicationCredentials: true)
        try refuseRestricted()
    }

    fileprivate func listTrusts() throws -> APIAnswer {
        let trusts: [Trust]
        if let id = query["trustor_user_id"] {
            try demand(
                "identity:list_trusts_for_trustor",
                PolicyTarget(["target": ["trust": ["trustor_user_id": .string(id)]]]))
            trusts = directory.trusts(by: id)
        } else if let id = query["trustee_user_id"] {
            try demand(
                "identity:list_trusts_for_trustee",
                PolicyTarget(["target": ["trust": ["trustee_user_id": .string(id)]]]))
            trusts = directory.trusts(for: id)
        } else {
            try demand("identity:list_trusts")
            trusts = directory.now.all(Trust.self)
        }
        try refuseDelegatedMethod()
        return try list("trusts", path: "/v3/OS-TRUST/trusts", trusts.map { render($0, hasRoles: false) })
    }

    fileprivate func render(_ trust: Trust, hasRoles: Bool) -> JSONValue {
        let spec = trust.spec
        var members: [String: JSONValue] = [
            "id": .string(trust.id), "trustor_user_id": .string(spec.trustorID),
            "trustee_user_id": .string(spec.trusteeID), "project_id": .optional(spec.projectID),
            "impersonation": .bool(spec.isImpersonation), "expires_at": .optional(spec.expires?.keystone),
            "remaining_uses": spec.remainingUses.map { .integer(Int64($0)) } ?? nil, "deleted_at": nil,
            "redelegated_trust_id": .optional(spec.redelegatedTrustID),
            "redelegation_count": .integer(Int64(spec.redelegationCount)),
            "links": ["self": .string("\(base)/v3/OS-TRUST/trusts/\(trust.id)")],
        ]
        guard hasRoles else { return .object(members.over(spec.extra)) }
        members["roles"] = .array(
            spec.roleIDs.compactMap { directory.role($0) }.map { KeystoneAPI.roleNoun.render($0, base: base) })
        members["roles_links"] = [
            "self": .string("\(base)/v3/OS-TRUST/trusts/\(trust.id)/roles"), "next": nil, "previous": nil,
        ]
        return .object(members.over(spec.extra))
    }

    private static var trustMembers: Set<String> {
        [
            "id", "trustor_user_id", "trustee_user_id", "project_id", "impersonation", "expires_at", "remaining_uses",
            "deleted_at", "redelegated_trust_id", "redelegation_count", "allow_redelegation", "roles", "links",
            "roles_links",
        ]
    }

    /// The most times that a trust may be handed on.
    private static var redelegationMax: Int { 3 }

    fileprivate func createTrust() async throws -> APIAnswer {
        let given = object("trust")
        try refuseDelegatedMethod()
        let trustor = given["trustor_user_id"]?.string ?? ""
        let trustee = given["trustee_user_id"]?.string ?? ""
        let project = given["project_id"]?.string
        guard caller.credentials.userID == trustor else {
            throw APIError.forbidden("The authenticated user should match the trustor.")
        }
        var roles: [String] = []
        for reference in given["roles"]?.array ?? [] { roles.append(try roleID(reference)) }
        guard project == nil || !roles.isEmpty else {
            throw APIError.forbidden("At least one role should be specified.")
        }
        let spec = try handedOn(
            TrustSpec(
                trustorID: trustor, trusteeID: trustee, projectID: project, roleIDs: roles,
                isImpersonation: given["impersonation"]?.bool ?? false,
                expires: try given["expires_at"]?.string.map { try future($0) },
                remainingUses: given["remaining_uses"]?.integer,
                allowsRedelegation: given["allow_redelegation"]?.bool ?? false,
                redelegationCount: 0), given)
        let id = backend.newID()
        let trust = try await change("identity:create_trust", Trust.key(id)) { directory in
            guard directory.user(trustee) != nil else { throw APIError.missing("user", trustee) }
            try checkRoles(spec, directory)
            var plan = IdentityPlan()
            let trust = Trust(name: id, created: backend.clock.now, spec: spec)
            try plan.create(trust)
            plan.needs(User.self, trustor, in: directory)
            plan.needs(User.self, trustee, in: directory)
            if let project { plan.needs(Project.self, project, in: directory) }
            if let parent = spec.redelegatedTrustID { plan.needs(Trust.self, parent, in: directory) }
            return (plan, trust)
        }
        return .json(["trust": render(trust, hasRoles: true)])
    }

    /// The trustor, of a chain the first one, must have the roles.
    private func checkRoles(_ spec: TrustSpec, _ directory: IdentityDirectory) throws {
        guard let project = spec.projectID else { return }
        guard directory.project(project) != nil else { throw APIError.missing("project", project) }
        var origin = spec
        while let id = origin.redelegatedTrustID, let parent = directory.entry(Trust.self, id) { origin = parent.spec }
        let held = directory.effectiveRoleIDs(
            of: origin.trustorID, in: .project(project), at: backend.clock.now)
        for role in spec.roleIDs where !held.contains(role) { throw APIError.missing("role", role) }
    }

    /// A trust that is made with a token of a trust hands that one on, and gives no more than it has.
    private func handedOn(_ spec: TrustSpec, _ given: [String: JSONValue]) throws -> TrustSpec {
        var spec = spec
        spec.extra = given.others(than: Self.trustMembers)
        let asked = given["redelegation_count"]?.integer
        guard let parent = caller.token?.trust else {
            guard !spec.allowsRedelegation || spec.remainingUses == nil else {
                throw APIError.badRequest("remaining_uses must not be set if redelegation is allowed.")
            }
            if let asked, asked > Self.redelegationMax {
                throw APIError.forbidden(
                    "A redelegation_count of \(asked) is greater than the allowed \(Self.redelegationMax).")
            }
            spec.redelegationCount = spec.allowsRedelegation ? asked ?? Self.redelegationMax : 0
            return spec
        }
        guard parent.spec.allowsRedelegation, parent.spec.redelegationCount > 0 else {
            throw APIError.forbidden("The trust \(parent.id) must not be handed on.")
        }
        guard spec.remainingUses == nil else {
            throw APIError.badRequest("remaining_uses must not be set if redelegation is allowed.")
        }
        guard parent.spec.isImpersonation || !spec.isImpersonation else {
            throw APIError.forbidden("Impersonation is not allowed because the trust that is handed on has none.")
        }
        guard Set(spec.roleIDs).isSubset(of: directory.withImplied(Set(parent.spec.roleIDs))) else {
            throw APIError.forbidden("Some of the requested roles are not in the trust that is handed on.")
        }
        guard spec.projectID == parent.spec.projectID else {
            throw APIError.forbidden("A trust is handed on for its own project only.")
        }
        if let end = parent.spec.expires {
            guard let asked = spec.expires, asked <= end else {
                throw APIError.forbidden("The trust would last longer than the one that is handed on.")
            }
        }
        let most = parent.spec.redelegationCount - 1
        if let asked, asked > most {
            throw APIError.forbidden("A redelegation_count of \(asked) is greater than the allowed \(most).")
        }
        spec.redelegationCount = asked ?? most
        spec.allowsRedelegation = spec.allowsRedelegation && spec.redelegationCount > 0
        spec.redelegatedTrustID = parent.id
        return spec
    }
}
