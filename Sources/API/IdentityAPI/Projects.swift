import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let projectNoun = Noun<ProjectSpec>(member: "project", collection: "projects", path: "/v3/projects") {
        project in
        [
            "name": .string(project.spec.name), "enabled": .bool(project.spec.isEnabled),
            "description": .string(project.spec.description ?? ""),
            "tags": .array(project.spec.tags.map { .string($0) }),
            "options": Immutability.options(project.spec.isImmutable), "is_domain": .bool(project.spec.isDomain),
            "domain_id": .optional(project.spec.domainID), "parent_id": .optional(project.spec.parentID),
        ].over(project.spec.extra)
    }

    private static let projectMembers: [String: Schema] = [
        "name": .string(min: 1, max: 64, form: .notBlank), "description": .string().orNull, "enabled": .boolean,
        "domain_id": .string(max: 64).orNull, "parent_id": .string(max: 64).orNull, "is_domain": .boolean,
        "tags": ProjectTags.schema, "options": Immutability.schema,
    ]
    static let projectAnswer = projectNoun.schema(
        [
            "name": .string(), "enabled": .boolean, "description": .string(),
            "domain_id": .string().orNull, "parent_id": .string().orNull, "is_domain": .boolean,
            "tags": .array(of: .string()),
        ], required: ["name", "enabled", "domain_id", "parent_id", "is_domain", "tags"])
    static let projectsAnswer = projectAnswer.list("projects")

    static func ofPathProject(_ call: IdentityCall) -> PolicyTarget {
        let id = call.parameter("project_id")
        return PolicyTarget([
            "project_id": .string(id), "target": .object(projectNoun.target(call.directory.project(id))),
        ])
    }

    static let projectRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/projects", .rule("identity:list_projects"), "Lists projects.", response: projectsAnswer,
            target: ofDomainScope
        ) { try $0.listProjects() },
        IdentityRoute(
            .post, "/v3/projects", .rule("identity:create_project"), "Makes a project.",
            request: .object(["project": .object(projectMembers, required: ["name"])], required: ["project"]),
            response: projectAnswer,
            target: { PolicyTarget(["target": ["project": .object($0.object("project"))]]) }
        ) { try await $0.createProject() },
        IdentityRoute(
            .get, "/v3/projects/{project_id}", .rule("identity:get_project"), "Shows a project.",
            query: [
                QueryParameter("parents_as_list", .any, "With the projects above that the caller has a role in."),
                QueryParameter("parents_as_ids", .any, "With the identifiers of the projects above."),
                QueryParameter("subtree_as_list", .any, "With the projects below that the caller has a role in."),
                QueryParameter("subtree_as_ids", .any, "With the identifiers of the projects below."),
                QueryParameter("include_limits", .any, "With the limits of the projects in such a list."),
            ],
            response: projectAnswer, target: ofPathProject
        ) { try $0.showProject() },
        IdentityRoute(
            .patch, "/v3/projects/{project_id}", .rule("identity:update_project"), "Changes a project.",
            request: .object(["project": .object(projectMembers, minCount: 1)], required: ["project"]),
            response: projectAnswer, status: .ok, target: ofPathProject
        ) { try await $0.updateProject() },
        IdentityRoute(
            .delete, "/v3/projects/{project_id}", .rule("identity:delete_project"), "Deletes a project.",
            target: ofPathProject
        ) { call in
            let id = call.parameter("project_id")
            guard let project = call.directory.project(id) else { throw APIError.missing("project", id) }
            guard project.spec.isImmutable != true else { throw APIError.immutable("project", id) }
            guard !project.spec.isDomain || !project.spec.isEnabled else {
                throw APIError.forbidden("Cannot delete project \(id) since it is a domain that is enabled.")
            }
            guard project.spec.isDomain || call.directory.children(of: id).isEmpty else {
                throw APIError.forbidden(
                    "Cannot delete the project \(id) since it is not a leaf in the hierarchy. Delete its children first."
                )
            }
            try await call.deleteTree("identity:delete_project", project)
            return .empty
        },
        IdentityRoute(
            .get, "/v3/projects/{project_id}/tags", .rule("identity:list_project_tags"), "Lists a project's tags.",
            response: .object(["tags": ProjectTags.schema], required: ["tags"]), target: ofPathProject
        ) { call in try call.tags() },
        IdentityRoute(
            .put, "/v3/projects/{project_id}/tags", .rule("identity:update_project_tags"), "Sets a project's tags.",
            request: .object(["tags": ProjectTags.schema], required: ["tags"], others: nil),
            response: .object(["tags": ProjectTags.schema], required: ["tags"]), status: .ok, target: ofPathProject
        ) { call in
            let tags = call.body["tags"]?.array?.compactMap(\.string) ?? []
            try await call.changeTags("identity:update_project_tags") { $0 = tags }
            return try call.tags()
        },
        IdentityRoute(
            .delete, "/v3/projects/{project_id}/tags", .rule("identity:delete_project_tags"),
            "Takes all tags from a project.", target: ofPathProject
        ) { call in
            try await call.changeTags("identity:delete_project_tags") { $0 = [] }
            return .empty
        },
        IdentityRoute(
            .get, "/v3/projects/{project_id}/tags/{value}", .rule("identity:get_project_tag"),
            "Says whether a project has a tag.", target: ofPathProject
        ) { call in
            let tag = call.parameter("value")
            guard try call.existingProject().spec.tags.contains(tag) else { throw APIError.missing("project tag", tag) }
            return .empty
        },
        IdentityRoute(
            .put, "/v3/projects/{project_id}/tags/{value}", .rule("identity:create_project_tag"),
            "Gives a project a tag.", status: .created, target: ofPathProject
        ) { call in
            let tag = call.parameter("value")
            if let fault = ProjectTags.tag.fault(in: .string(tag)) { throw APIError.badRequest(fault.message) }
            try await call.changeTags("identity:create_project_tag") { if !$0.contains(tag) { $0.append(tag) } }
            return APIAnswer(headers: [
                .location: "\(call.base)/v3/projects/\(call.parameter("project_id"))/tags/\(tag.percentEncoded)"
            ])
        },
        IdentityRoute(
            .delete, "/v3/projects/{project_id}/tags/{value}", .rule("identity:delete_project_tag"),
            "Takes a tag from a project.", target: ofPathProject
        ) { call in
            let tag = call.parameter("value")
            guard try call.existingProject().spec.tags.contains(tag) else { throw APIError.missing("project tag", tag) }
            try await call.changeTags("identity:delete_project_tag") { $0.removeAll { $0 == tag } }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    func existingProject() throws -> Project {
        let id = parameter("project_id")
        guard let project = directory.project(id) else { throw APIError.missing("project", id) }
        return project
    }

    fileprivate func tags() throws -> APIAnswer {
        .json(["tags": .array(try existingProject().spec.tags.map { .string($0) })])
    }

    fileprivate func changeTags(_ verb: String, _ change: (inout [String]) -> Void) async throws {
        let id = parameter("project_id")
        try await self.change(verb, Project.key(id)) { directory in
            guard var stored = directory.now.stored(Project.self, CatalogName.of(id)), directory.project(id) != nil
            else {
                throw APIError.missing("project", id)
            }
            guard stored.value.spec.isImmutable != true else { throw APIError.immutable("project", id) }
            var tags = stored.value.spec.tags
            change(&tags)
            try ProjectTags.check(tags)
            guard tags.count <= ProjectTags.countMax else {
                throw APIError.badRequest("A project has at most \(ProjectTags.countMax) tags.")
            }
            stored.value.spec.tags = tags.sorted()
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, ())
        }
    }

    fileprivate func listProjects() throws -> APIAnswer {
        let directory = directory
        var names: Set<String> = ["tags", "tags-any", "not-tags", "not-tags-any", "is_domain"]
        var projects: [Project]
        if query.flag("is_domain") {
            projects = directory.domains
        } else if let parent = query["parent_id"] {
            projects = directory.children(of: parent)
        } else if let domain = caller.credentials.domainID ?? query["domain_id"] {
            projects = directory.projects(in: domain)
            if query["domain_id"] == domain { names.insert("domain_id") }
        } else {
            projects = directory.now.all(Project.self).filter { !$0.spec.isDomain }
        }
        if let own = caller.credentials.domainID { projects.removeAll { ($0.spec.domainID ?? $0.id) != own } }
        projects.removeAll { $0.spec.deleting != nil }
        projects = directory.inLivingDomains(projects) { $0.spec.domainID ?? $0.id }
        try filterByTags(&projects)
        return try KeystoneAPI.projectNoun.list(projects, self, ignoring: names)
    }

    private func filterByTags(_ projects: inout [Project]) throws {
        func asked(_ name: String) -> Set<String>? {
            query[name].map { Set($0.split(separator: ",").map(String.init)) }
        }
        let (all, any, notAll, notAny) = (asked("tags"), asked("tags-any"), asked("not-tags"), asked("not-tags-any"))
        guard all != nil || any != nil || notAll != nil || notAny != nil else { return }
        projects.removeAll { project in
            let tags = Set(project.spec.tags)
            if let all, !all.isSubset(of: tags) { return true }
            if let any, any.isDisjoint(with: tags) { return true }
            if let notAll, notAll.isSubset(of: tags) { return true }
            if let notAny, !notAny.isDisjoint(with: tags) { return true }
            return false
        }
    }

    /// The domain of a new project: as said, its parent's, or that of the caller's scope.
    func domainOfNewProject(_ given: [String: JSONValue]) -> String? {
        if let said = given["domain_id"]?.string { return said }
        if let parent = given["parent_id"]?.string, let found = directory.project(parent) {
            return found.spec.domainID ?? found.id
        }
        let who = caller.credentials
        return who.domainID ?? who.projectDomainID ?? who.userDomainID
    }

    fileprivate func createProject() async throws -> APIAnswer {
        let given = object("project")
        let name = given["name"]?.string ?? ""
        if given["is_domain"]?.bool == true {
            throw APIError.badRequest("Make a domain by POST /v3/domains.")
        }
        let id = backend.newID()
        let project = try await change("identity:create_project", Project.key(id)) { directory in
            let domainID = domainOfNewProject(given) ?? "default"
            guard let domain = directory.domain(domainID) else {
                throw APIError.badRequest("Could not find domain: \(domainID.printable(limit: 64)).")
            }
            let parentID = given["parent_id"]?.string ?? domainID
            guard let parent = directory.project(parentID) else {
                throw APIError.badRequest("Could not find project: \(parentID.printable(limit: 64)).")
            }
            guard parent.id == domainID || parent.spec.domainID == domainID else {
                throw APIError.badRequest("The parent project \(parentID) is in another domain than \(domainID).")
            }
            guard directory.ancestors(of: parent).count < ProjectTree.depthMax else {
                throw APIError.forbidden("The project would lie deeper than \(ProjectTree.depthMax) levels.")
            }
            for above in [parent] + directory.ancestors(of: parent) where !above.spec.isEnabled {
                throw APIError.badRequest("Cannot make a project below \(above.id), which is disabled.")
            }
            guard directory.project(named: name, in: domainID) == nil else {
                throw APIError.duplicate(
                    "project",
                    "it is not permitted to have two projects with either the same name or same id in the same domain: name is \(name), project id \(id)"
                )
            }
            var spec = ProjectSpec(name: name, domainID: domainID, parentID: parentID)
            try spec.apply(given, known: ProjectSpec.projectMembers)
            let project = Project(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(project)
            try plan.take(.project(name, domain: domainID), for: id, at: backend.clock.now)
            plan.needs(Project.self, parentID, in: directory)
            if domain.id != parentID { plan.needs(Project.self, domain.id, in: directory) }
            return (plan, project)
        }
        return KeystoneAPI.projectNoun.answer(project, self)
    }

    fileprivate func updateProject() async throws -> APIAnswer {
        let given = object("project")
        let id = parameter("project_id")
        let project = try await change("identity:update_project", Project.key(id)) { directory in
            guard var stored = directory.now.stored(Project.self, CatalogName.of(id)), directory.project(id) != nil
            else {
                throw APIError.missing("project", id)
            }
            let before = stored.value.spec
            try before.checkMutable(given, sort: "project", id)
            for (name, value) in [("domain_id", before.domainID), ("parent_id", before.parentID)] {
                if let said = given[name], said != .optional(value) {
                    throw APIError.forbidden("The \(name) of a project cannot be changed.")
                }
            }
            if let said = given["is_domain"]?.bool, said != before.isDomain {
                throw APIError.badRequest("Whether a project is a domain cannot be changed.")
            }
            try stored.value.spec.apply(given, known: ProjectSpec.projectMembers)
            try checkEnabling(id, before, stored.value.spec, directory)
            if before.isEnabled, !stored.value.spec.isEnabled { stored.value.spec.tokensFrom = backend.clock.now }
            var plan = IdentityPlan()
            if let name = given["name"]?.string, name != before.name {
                try rename(&stored.value.spec, to: name, id, directory, &plan)
            }
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.projectNoun.answer(project, self)
    }

    private func checkEnabling(
        _ id: String, _ before: ProjectSpec, _ after: ProjectSpec, _ directory: IdentityDirectory
    ) throws {
        guard !before.isDomain else { return }
        if !before.isEnabled, after.isEnabled, let project = directory.project(id) {
            for above in directory.ancestors(of: project) where !above.spec.isEnabled {
                throw APIError.forbidden("Cannot enable project \(id) since it has disabled parents.")
            }
        }
        if before.isEnabled, !after.isEnabled, directory.children(of: id).contains(where: \.spec.isEnabled) {
            throw APIError.forbidden("Cannot disable project \(id) since its subtree contains enabled projects.")
        }
    }

    private func rename(
        _ spec: inout ProjectSpec, to name: String, _ id: String, _ directory: IdentityDirectory,
        _ plan: inout IdentityPlan
    ) throws {
        let (old, new): (UniqueName, UniqueName) =
            spec.domainID.map { (.project(spec.name, domain: $0), .project(name, domain: $0)) }
            ?? (.domain(spec.name), .domain(name))
        let taken = spec.domainID.map { directory.project(named: name, in: $0) } ?? directory.domain(named: name)
        guard taken == nil else {
            throw APIError.duplicate("project", "it is not permitted to have two projects with the same name: \(name)")
        }
        spec.name = name
        plan.free(old)
        try plan.take(new, for: id, at: backend.clock.now)
    }

    fileprivate func showProject() throws -> APIAnswer {
        let project = try existingProject()
        guard case .object(var members) = KeystoneAPI.projectNoun.render(project, base: base) else { return .empty }
        let tree = ProjectTree(directory: directory)
        let asked = ["parents_as_list", "parents_as_ids", "subtree_as_list", "subtree_as_ids"].filter {
            query[$0] != nil
        }
        for side in ["parents", "subtree"] where asked.filter({ $0.hasPrefix(side) }).count > 1 {
            throw APIError.badRequest("Ask for \(side)_as_list or \(side)_as_ids, not for both.")
        }
        for name in asked {
            switch name {
            case "parents_as_ids": members["parents"] = tree.parentsAsIDs(of: project)
            case "subtree_as_ids": members["subtree"] = tree.subtreeAsIDs(of: project)
            case "parents_as_list":
                members["parents"] = .array(visible(directory.ancestors(of: project)))
            default: members["subtree"] = .array(visible(tree.below(project)))
            }
        }
        return .json(["project": .object(members)])
    }

    /// Of a tree, the projects where the caller has a role.
    private func visible(_ projects: [Project]) -> [JSONValue] {
        let user = caller.credentials.userID ?? ""
        return projects.filter {
            !directory.effectiveRoleIDs(of: user, in: .project($0.id), at: backend.clock.now).isEmpty
        }.map { project in
            guard query.flag("include_limits"),
                case .object(var members) = KeystoneAPI.projectNoun.render(project, base: base)
            else { return ["project": KeystoneAPI.projectNoun.render(project, base: base)] }
            members["limits"] = .array(
                directory.limits(of: project.id).compactMap { KeystoneAPI.limitNoun.target($0)["limit"] })
            return ["project": .object(members)]
        }
    }
}

/// Projects above and below one.
struct ProjectTree {
    /// The most levels below a domain.
    static let depthMax = 5

    let directory: IdentityDirectory

    /// All below, parents before children.
    func below(_ project: Project) -> [Project] {
        var found: [Project] = []
        var next = directory.children(of: project.id)
        while !next.isEmpty {
            found += next
            next = next.flatMap { directory.children(of: $0.id) }
        }
        return found
    }

    func parentsAsIDs(of project: Project) -> JSONValue {
        directory.ancestors(of: project).reversed().reduce(.null) { .object([$1.id: $0]) }
    }

    func subtreeAsIDs(of project: Project) -> JSONValue {
        let children = directory.children(of: project.id)
        guard !children.isEmpty else { return .null }
        return .object(Dictionary(children.map { ($0.id, subtreeAsIDs(of: $0)) }) { first, _ in first })
    }
}
