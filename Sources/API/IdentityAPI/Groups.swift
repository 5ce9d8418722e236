import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let groupNoun = Noun<GroupSpec>(member: "group", collection: "groups", path: "/v3/groups") { group in
        [
            "name": .string(group.spec.name), "domain_id": .string(group.spec.domainID),
            "description": .string(group.spec.description),
        ].over(group.spec.extra)
    }

    private static let groupMembers: [String: Schema] = [
        "name": .string(min: 1, max: 64, form: .notBlank), "description": Schema.string().orNull,
        "domain_id": .string(max: 64),
    ]
    static let groupAnswer = groupNoun.schema(
        ["name": .string(), "domain_id": .string(), "description": .string()],
        required: ["name", "domain_id"])

    private static func ofPathGroup(_ call: IdentityCall) -> PolicyTarget {
        var target = groupNoun.target(call.directory.group(call.parameter("group_id")))
        for (name, value) in userNoun.target(call.directory.user(call.parameter("user_id"))) { target[name] = value }
        return PolicyTarget([
            "group_id": .string(call.parameter("group_id")), "user_id": .string(call.parameter("user_id")),
            "target": .object(target),
        ])
    }

    static let groupRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/groups", .rule("identity:list_groups"), "Lists groups.",
            response: groupAnswer.list("groups"),
            target: { call in
                guard let id = call.caller.credentials.domainID else { return PolicyTarget() }
                return PolicyTarget(["target": ["group": ["domain_id": .string(id)]]])
            }
        ) { call in
            let domain = call.caller.credentials.domainID ?? call.query["domain_id"]
            let groups = domain.map { call.directory.groups(in: $0) } ?? call.directory.now.all(Group.self)
            return try groupNoun.list(groups.filter { call.directory.domain($0.spec.domainID) != nil }, call)
        },
        IdentityRoute(
            .post, "/v3/groups", .rule("identity:create_group"), "Makes a group.",
            request: .object(["group": .object(groupMembers, required: ["name"])], required: ["group"]),
            response: groupAnswer,
            target: { PolicyTarget(["target": ["group": .object($0.object("group"))]]) }
        ) { try await $0.createGroup() },
        IdentityRoute(
            .get, "/v3/groups/{group_id}", .rule("identity:get_group"), "Shows a group.", response: groupAnswer,
            target: ofPathGroup
        ) { groupNoun.answer(try $0.existingGroup(), $0) },
        IdentityRoute(
            .patch, "/v3/groups/{group_id}", .rule("identity:update_group"), "Changes a group.",
            request: .object(["group": .object(groupMembers, minCount: 1)], required: ["group"]),
            response: groupAnswer, status: .ok, target: ofPathGroup
        ) { try await $0.updateGroup() },
        IdentityRoute(
            .delete, "/v3/groups/{group_id}", .rule("identity:delete_group"), "Deletes a group.",
            target: { call in
                _ = try call.existingGroup()
                return ofPathGroup(call)
            }
        ) { call in
            let group = try call.existingGroup()
            try await call.delete("identity:delete_group", group.key) { directory in
                directory.group(group.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
        IdentityRoute(
            .get, "/v3/groups/{group_id}/users", .rule("identity:list_users_in_group"), "Lists who is in a group.",
            response: userAnswer.list("users"), target: ofPathGroup
        ) { call in
            let group = try call.existingGroup()
            let users = call.directory.memberships(of: group.id).compactMap { call.directory.user($0.spec.userID) }
            return try userNoun.list(
                try UserFilters.apply(call, users.filter { call.isInDomainScope($0.spec.domainID) }), call,
                ignoring: UserFilters.names)
        },
        IdentityRoute(
            .put, "/v3/groups/{group_id}/users/{user_id}", .rule("identity:add_user_to_group"),
            "Takes a user into a group.", status: .noContent, target: ofPathGroup
        ) { try await $0.addMember() },
        IdentityRoute(
            .get, "/v3/groups/{group_id}/users/{user_id}", .rule("identity:check_user_in_group"),
            "Says whether a user is in a group.", target: ofPathGroup
        ) { call in
            _ = try call.membership()
            return .empty
        },
        IdentityRoute(
            .delete, "/v3/groups/{group_id}/users/{user_id}", .rule("identity:remove_user_from_group"),
            "Takes a user out of a group.", target: ofPathGroup
        ) { call in
            let found = try call.membership()
            try await call.change("identity:remove_user_from_group", found.key) { _ in
                var plan = IdentityPlan()
                plan.delete(found)
                return (plan, ())
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    private static var groupMembers: Set<String> { ["id", "name", "domain_id", "description", "links"] }

    fileprivate func existingGroup() throws -> Group {
        let id = parameter("group_id")
        guard let group = directory.group(id) else { throw APIError.missing("group", id) }
        return group
    }

    fileprivate func membership() throws -> Membership {
        let (group, user) = (try existingGroup(), try existingUser())
        let name = MembershipSpec(groupID: group.id, userID: user.id).name
        guard let found = directory.now.get(Membership.self, name) else {
            throw APIError.notFound("User '\(user.id)' not found in group '\(group.id)'.")
        }
        return found
    }

    fileprivate func addMember() async throws -> APIAnswer {
        let (group, user) = (try existingGroup(), try existingUser())
        let spec = MembershipSpec(groupID: group.id, userID: user.id)
        try await change("identity:add_user_to_group", Membership.key(spec.name)) { directory in
            var plan = IdentityPlan()
            guard directory.group(group.id) != nil else { throw APIError.missing("group", group.id) }
            guard directory.user(user.id) != nil else { throw APIError.missing("user", user.id) }
            guard directory.now.get(Membership.self, spec.name) == nil else { return (plan, ()) }
            try plan.create(Membership(name: spec.name, created: backend.clock.now, spec: spec))
            plan.needs(Group.self, group.id, in: directory)
            plan.needs(User.self, user.id, in: directory)
            return (plan, ())
        }
        return .empty
    }

    fileprivate func createGroup() async throws -> APIAnswer {
        let given = object("group")
        let name = given["name"]?.string ?? ""
        let domainID = domainOfNew(given) ?? "default"
        let id = backend.newID()
        let group = try await change("identity:create_group", Group.key(id)) { directory in
            guard directory.domain(domainID) != nil else { throw APIError.missing("domain", domainID) }
            try checkGroupName(name, in: domainID, directory)
            var spec = GroupSpec(name: name, domainID: domainID)
            spec.description = given["description"]?.string ?? ""
            spec.extra = given.others(than: Self.groupMembers)
            let group = Group(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(group)
            try plan.take(.group(name, domain: domainID), for: id, at: backend.clock.now)
            plan.needs(Project.self, domainID, in: directory)
            return (plan, group)
        }
        return KeystoneAPI.groupNoun.answer(group, self)
    }

    private func checkGroupName(_ name: String, in domain: String, _ directory: IdentityDirectory) throws {
        guard !directory.groups(in: domain).contains(where: { $0.spec.name == name }) else {
            throw APIError.duplicate("group", "Duplicate entry found with name \(name) at domain ID \(domain)")
        }
    }

    fileprivate func updateGroup() async throws -> APIAnswer {
        let given = object("group")
        let group = try existingGroup()
        let changed = try await change("identity:update_group", group.key) { directory in
            guard var stored = directory.now.stored(Group.self, group.metadata.name) else {
                throw APIError.missing("group", group.id)
            }
            let before = stored.value.spec
            if let domain = given["domain_id"]?.string, domain != before.domainID {
                throw APIError.forbidden("The domain of a group cannot be changed.")
            }
            if let value = given["description"] { stored.value.spec.description = value.string ?? "" }
            stored.value.spec.extra = Extra.updated(stored.value.spec.extra, by: given, known: Self.groupMembers)
            var plan = IdentityPlan()
            if let name = given["name"]?.string, name != before.name {
                try checkGroupName(name, in: before.domainID, directory)
                stored.value.spec.name = name
                plan.free(.group(before.name, domain: before.domainID))
                try plan.take(.group(name, domain: before.domainID), for: group.id, at: backend.clock.now)
            }
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.groupNoun.answer(changed, self)
    }
}
