import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let roleNoun = Noun<RoleSpec>(member: "role", collection: "roles", path: "/v3/roles") { role in
        [
            "name": .string(role.spec.name), "domain_id": .optional(role.spec.domainID),
            "description": .optional(role.spec.description), "options": Immutability.options(role.spec.isImmutable),
        ].over(role.spec.extra)
    }

    private static let roleMembers: [String: Schema] = [
        "name": .string(min: 1, max: 255, form: .notBlank), "description": Schema.string().orNull,
        "domain_id": Schema.string(max: 64).orNull, "options": Immutability.schema,
    ]
    static let roleAnswer = roleNoun.schema(
        ["name": .string(), "domain_id": Schema.string().orNull],
        required: ["name", "domain_id"])
    static let roleElement = roleAnswer.element
    static let rolesAnswer = roleAnswer.list("roles")

    /// The rule of a call that concerns a role of a domain is another one.
    private static func demand(_ call: IdentityCall, _ verb: String) throws {
        let role = try call.existingRole()
        let target = PolicyTarget(["target": .object(roleNoun.target(role))])
        try call.demand(role.spec.domainID == nil ? "identity:\(verb)_role" : "identity:\(verb)_domain_role", target)
    }

    static let roleRoutes: [IdentityRoute] = [
        IdentityRoute(.get, "/v3/roles", .token, "Lists roles.", response: rolesAnswer) { call in
            let domain = call.query["domain_id"].flatMap { $0.isEmpty ? nil : $0 }
            try call.demand(domain == nil ? "identity:list_roles" : "identity:list_domain_roles")
            return try roleNoun.list(call.directory.now.all(UserRole.self).filter { $0.spec.domainID == domain }, call)
        },
        IdentityRoute(
            .post, "/v3/roles", .token, "Makes a role.",
            request: .object(["role": .object(roleMembers, required: ["name"])], required: ["role"]),
            response: roleAnswer
        ) { try await $0.createRole() },
        IdentityRoute(.get, "/v3/roles/{role_id}", .token, "Shows a role.", response: roleAnswer) { call in
            try demand(call, "get")
            return roleNoun.answer(try call.existingRole(), call)
        },
        IdentityRoute(
            .patch, "/v3/roles/{role_id}", .token, "Changes a role.",
            request: .object(["role": .object(roleMembers, minCount: 1)], required: ["role"]), response: roleAnswer,
            status: .ok
        ) { call in
            try demand(call, "update")
            return try await call.updateRole()
        },
        IdentityRoute(.delete, "/v3/roles/{role_id}", .token, "Deletes a role.") { call in
            try demand(call, "delete")
            return try await call.deleteRole()
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    private static var roleMembers: Set<String> { ["id", "name", "domain_id", "description", "options", "links"] }

    func existingRole(_ parameter: String = "role_id") throws -> UserRole {
        let id = self.parameter(parameter)
        guard let role = directory.role(id) else { throw APIError.missing("role", id) }
        return role
    }

    private func checkRoleName(_ name: String, in domain: String?, _ directory: IdentityDirectory) throws {
        guard directory.role(named: name, in: domain) == nil else {
            throw APIError.duplicate("role", "Duplicate entry found with name \(name)")
        }
    }

    fileprivate func createRole() async throws -> APIAnswer {
        let given = object("role")
        let name = given["name"]?.string ?? ""
        let domain = given["domain_id"]?.string
        try demand(
            domain == nil ? "identity:create_role" : "identity:create_domain_role",
            PolicyTarget(["target": ["role": .object(given)]]))
        let id = backend.newID()
        let role = try await change("identity:create_role", UserRole.key(id)) { directory in
            if let domain, directory.domain(domain) == nil { throw APIError.missing("domain", domain) }
            try checkRoleName(name, in: domain, directory)
            var spec = RoleSpec(name: name, domainID: domain)
            spec.description = given["description"]?.string
            if let value = Immutability.given(given) { spec.isImmutable = value }
            spec.extra = given.others(than: Self.roleMembers)
            let role = UserRole(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(role)
            try plan.take(.role(name, domain: domain), for: id, at: backend.clock.now)
            if let domain { plan.needs(Project.self, domain, in: directory) }
            return (plan, role)
        }
        return KeystoneAPI.roleNoun.answer(role, self)
    }

    fileprivate func updateRole() async throws -> APIAnswer {
        let given = object("role")
        let role = try existingRole()
        let changed = try await change("identity:update_role", role.key) { directory in
            guard var stored = directory.now.stored(UserRole.self, role.metadata.name) else {
                throw APIError.missing("role", role.id)
            }
            let before = stored.value.spec
            if before.isImmutable == true, !(Immutability.given(given).map { $0 != true } ?? false) {
                throw APIError.immutable("role", role.id)
            }
            if let domain = given["domain_id"], domain != .optional(before.domainID) {
                throw APIError.badRequest("The domain of a role cannot be changed.")
            }
            if let value = given["description"] { stored.value.spec.description = value.string }
            if let value = Immutability.given(given) { stored.value.spec.isImmutable = value }
            stored.value.spec.extra = Extra.updated(stored.value.spec.extra, by: given, known: Self.roleMembers)
            var plan = IdentityPlan()
            if let name = given["name"]?.string, name != before.name {
                try checkRoleName(name, in: before.domainID, directory)
                stored.value.spec.name = name
                plan.free(.role(before.name, domain: before.domainID))
                try plan.take(.role(name, domain: before.domainID), for: role.id, at: backend.clock.now)
            }
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.roleNoun.answer(changed, self)
    }

    /// Takes the role from all assignments that have others too, then deletes it with the rest.
    fileprivate func deleteRole() async throws -> APIAnswer {
        let role = try existingRole()
        guard role.spec.isImmutable != true else { throw APIError.immutable("role", role.id) }
        while true {
            let isDone = try await change("identity:delete_role", role.key) { directory in
                let mixed = directory.now.all(Assignment.self).filter { assignment in
                    let roles = Set(assignment.spec.roles.map(\.roleID))
                    return roles.contains(role.id) && roles.count > 1
                }
                var plan = IdentityPlan()
                for assignment in mixed.prefix(StoreLimits.operationCountMax - 1) {
                    guard var stored = directory.now.stored(Assignment.self, assignment.metadata.name) else { continue }
                    stored.value.spec.roles.removeAll { $0.roleID == role.id }
                    try plan.update(stored)
                }
                return (plan, mixed.isEmpty)
            }
            if isDone { break }
        }
        try await delete("identity:delete_role", role.key) { directory in
            directory.role(role.id).map { directory.dependents(of: $0) } ?? Dependents()
        }
        return .empty
    }
}
