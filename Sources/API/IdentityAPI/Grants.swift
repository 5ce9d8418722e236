import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

/// One family of routes that give an actor roles on a target.
private struct GrantPlace: Sendable {
    enum Holder: String { case users, groups }
    enum Ground: String { case projects, domains, system }

    let holder: Holder
    let ground: Ground
    let isInherited: Bool

    var actorParameter: String { holder == .users ? "user_id" : "group_id" }
    var groundParameter: String { ground == .projects ? "project_id" : "domain_id" }

    /// The path of all roles.
    var path: String {
        switch ground {
        case .system: "/v3/system/\(holder.rawValue)/{\(actorParameter)}/roles"
        case .projects, .domains:
            "/v3/\(isInherited ? "OS-INHERIT/" : "")\(ground.rawValue)/{\(groundParameter)}/\(holder.rawValue)/{\(actorParameter)}/roles"
        }
    }
    var listPath: String { isInherited ? path + "/inherited_to_projects" : path }
    var rolePath: String { path + "/{role_id}" + (isInherited ? "/inherited_to_projects" : "") }

    /// `identity:create_grant`, or `identity:create_system_grant_for_user`.
    func rule(_ verb: String, isPlural: Bool = false) -> String {
        guard ground == .system else { return "identity:\(verb)_grant\(isPlural ? "s" : "")" }
        return "identity:\(verb)_system_grant\(isPlural ? "s" : "")_for_\(holder == .users ? "user" : "group")"
    }

    func actor(_ call: IdentityCall) -> AssignmentSpec.Actor {
        let id = call.parameter(actorParameter)
        return holder == .users ? .user(id) : .group(id)
    }

    func target(_ call: IdentityCall) -> AssignmentSpec.Target {
        switch ground {
        case .system: .system
        case .projects: .project(call.parameter("project_id"))
        case .domains: .domain(call.parameter("domain_id"))
        }
    }

    /// What rules see. What is missing is left out where `isLenient`, else answered with 404; of the actor the same where
    /// `isActorLenient`, so that what a deleted one has had can be taken away.
    func policyTarget(_ call: IdentityCall, isLenient: Bool, isActorLenient: Bool = false) throws -> PolicyTarget {
        var target: [String: JSONValue] = [:]
        if call.parameters["role_id"] != nil {
            if let role = call.directory.role(call.parameter("role_id")) {
                target.merge(KeystoneAPI.roleNoun.target(role)) { $1 }
            } else if !isLenient {
                throw APIError.missing("role", call.parameter("role_id"))
            }
        }
        let id = call.parameter(actorParameter)
        let actor =
            holder == .users
            ? KeystoneAPI.userNoun.target(call.directory.user(id))
            : KeystoneAPI.groupNoun.target(call.directory.group(id))
        guard !actor.isEmpty || isLenient || isActorLenient else {
            throw APIError.missing(holder == .users ? "user" : "group", id)
        }
        target.merge(actor) { $1 }
        switch ground {
        case .system: break
        case .projects:
            let id = call.parameter("project_id")
            let project = call.directory.project(id)
            guard project != nil || isLenient else { throw APIError.missing("project", id) }
            target.merge(KeystoneAPI.projectNoun.target(project)) { $1 }
        case .domains:
            let id = call.parameter("domain_id")
            let domain = call.directory.domain(id)
            guard domain != nil || isLenient else { throw APIError.missing("domain", id) }
            target.merge(KeystoneAPI.domainNoun.target(domain)) { $1 }
        }
        return PolicyTarget(["target": .object(target)])
    }

    /// Throws `APIError` 404 for what is not there.
    func check(_ call: IdentityCall, isActorLenient: Bool = false) throws {
        _ = try policyTarget(call, isLenient: false, isActorLenient: isActorLenient)
    }
}

extension KeystoneAPI {
    static let grantRoutes: [IdentityRoute] = places.flatMap(routes)

    private static let places: [GrantPlace] = [GrantPlace.Holder.users, .groups].flatMap { holder in
        [
            GrantPlace(holder: holder, ground: .projects, isInherited: false),
            GrantPlace(holder: holder, ground: .domains, isInherited: false),
            GrantPlace(holder: holder, ground: .system, isInherited: false),
            GrantPlace(holder: holder, ground: .projects, isInherited: true),
            GrantPlace(holder: holder, ground: .domains, isInherited: true),
        ]
    }

    private static func routes(_ place: GrantPlace) -> [IdentityRoute] {
        let isLenient = place.isInherited
        var routes = [
            IdentityRoute(
                .put, place.rolePath, .rule(place.rule("create")), "Gives a role.", status: .noContent,
                target: { try place.policyTarget($0, isLenient: isLenient) }
            ) { call in
                try place.check(call)
                try await call.grant(place)
                return .empty
            },
            IdentityRoute(
                .get, place.rolePath, .rule(place.rule("check")), "Says whether a role was given.",
                target: { try place.policyTarget($0, isLenient: isLenient) }
            ) { call in
                try place.check(call)
                _ = try call.granted(place)
                return .empty
            },
            IdentityRoute(
                .delete, place.rolePath, .rule(place.rule("revoke")), "Takes a role away.",
                target: { try place.policyTarget($0, isLenient: isLenient, isActorLenient: true) }
            ) { call in
                try place.check(call, isActorLenient: true)
                try await call.revoke(place)
                return .empty
            },
        ]
        guard !place.isInherited || place.ground == .domains else { return routes }
        routes.append(
            IdentityRoute(
                .get, place.listPath, .rule(place.rule("list", isPlural: true)), "Lists the roles that were given.",
                response: rolesAnswer, target: { try place.policyTarget($0, isLenient: isLenient) }
            ) { call in
                try place.check(call)
                let found = call.directory.assignment(of: place.actor(call), on: place.target(call))
                let ids = (found?.spec.roles ?? []).filter { $0.isInherited == place.isInherited }.map(\.roleID)
                return try roleNoun.list(ids.compactMap { call.directory.role($0) }, call)
            })
        return routes
    }
}

extension APICall where Backend == IdentityBackend {
    fileprivate func granted(_ place: GrantPlace) throws -> Assignment {
        let role = try existingRole()
        let grant = AssignmentSpec.Grant(roleID: role.id, isInherited: place.isInherited)
        guard let found = directory.assignment(of: place.actor(self), on: place.target(self)),
            found.spec.roles.contains(grant)
        else { throw APIError.notFound("Could not find role assignment with role: \(role.id).") }
        return found
    }

    fileprivate func grant(_ place: GrantPlace) async throws {
        let role = try existingRole()
        let (actor, target) = (place.actor(self), place.target(self))
        let grant = AssignmentSpec.Grant(roleID: role.id, isInherited: place.isInherited)
        let name = AssignmentSpec.name(actor, target)
        try checkDomain(of: role, place)
        try await change("\(place.rule("create"))", Assignment.key(name)) { directory in
            try place.check(self)
            var plan = IdentityPlan()
            if var stored = directory.now.stored(Assignment.self, name) {
                guard !stored.value.spec.roles.contains(grant) else { return (plan, ()) }
                guard stored.value.spec.roles.count < AssignmentSpec.roleCountMax else {
                    throw APIError.forbidden(
                        "Nobody can have more than \(AssignmentSpec.roleCountMax) roles in one place.")
                }
                stored.value.spec.roles.append(grant)
                stored.value.spec.roles.sort {
                    ($0.roleID, $0.isInherited ? 1 : 0) < ($1.roleID, $1.isInherited ? 1 : 0)
                }
                try plan.update(stored)
            } else {
                let spec = AssignmentSpec(actor: actor, target: target, roles: [grant])
                try plan.create(Assignment(name: name, created: backend.clock.now, spec: spec))
            }
            plan.needs(UserRole.self, role.id, in: directory)
            switch actor {
            case .user(let id): plan.needs(User.self, id, in: directory)
            case .group(let id): plan.needs(Group.self, id, in: directory)
            }
            switch target {
            case .project(let id), .domain(let id): plan.needs(Project.self, id, in: directory)
            case .system: break
            }
            return (plan, ())
        }
    }

    /// A domain's role is given in that domain's projects only, and never on the system.
    private func checkDomain(of role: UserRole, _ place: GrantPlace) throws {
        guard let domain = role.spec.domainID else { return }
        switch place.target(self) {
        case .system: throw APIError.badRequest("The role \(role.id) is of a domain and cannot be given on the system.")
        // As in Keystone: what it implies is all that it gives there.
        case .domain: break
        case .project(let id):
            guard let project = directory.project(id), (project.spec.domainID ?? project.id) == domain else {
                throw APIError.forbidden("The role \(role.id) is of another domain than the project \(id).")
            }
        }
    }

    fileprivate func revoke(_ place: GrantPlace) async throws {
        let role = try existingRole()
        let (actor, target) = (place.actor(self), place.target(self))
        let grant = AssignmentSpec.Grant(roleID: role.id, isInherited: place.isInherited)
        let name = AssignmentSpec.name(actor, target)
        try await change(place.rule("revoke"), Assignment.key(name)) { directory in
            guard var stored = directory.now.stored(Assignment.self, name), stored.value.spec.roles.contains(grant)
            else {
                throw APIError.notFound("Could not find role assignment with role: \(role.id).")
            }
            stored.value.spec.roles.removeAll { $0 == grant }
            var plan = IdentityPlan()
            if stored.value.spec.roles.isEmpty {
                try plan.delete(stored)
            } else {
                try plan.update(stored)
            }
            return (plan, ())
        }
    }
}

extension AssignmentSpec {
    /// The most roles of one actor on one target.
    static let roleCountMax = 128
}
