import APISupport
import CatalogIdentity
import Identity
import Primitives
import ReconcileRuntime

/// Answers a question for assignments.
struct AssignmentList {
    let directory: IdentityDirectory
    let base: String
    let now: Timestamp

    /// The assignments asked for, as JSON.
    func answer(_ question: AssignmentQuestion) throws -> [JSONValue] {
        question.isEffective ? try effective(question) : direct(question)
    }

    /// The most effective assignments that are listed at once.
    static let effectiveCountMax = 100_000

    // MARK: As users have them

    private func effective(_ question: AssignmentQuestion) throws -> [JSONValue] {
        var filter = EffectiveFilter(userID: question.user, roleID: question.role, isInherited: question.isInherited)
        if let project = question.project {
            filter.target = .project(project, withSubtree: question.tree != nil)
        } else if let domain = question.domain {
            filter.target = .domain(domain)
        } else if question.isSystem {
            filter.target = .system
        }
        let facts = directory.roleFacts(at: now)
        let list = facts.effectiveAssignments(filter, limit: Self.effectiveCountMax)
        guard !list.isCut else {
            throw APIError.badRequest(
                "There are more than \(Self.effectiveCountMax) effective assignments; ask for those of a user, a project, a domain or a role.")
        }
        return list.assignments.compactMap { found in
            guard isSeen(AssignmentSpec.Target(found.target), question) else { return nil }
            return render(found, question)
        }
    }

    private func render(_ found: EffectiveAssignment, _ question: AssignmentQuestion) -> JSONValue {
        let links = found.links
        var members: [String: JSONValue] = [
            "role": role(found.roleID, question), "user": user(found.userID, question),
        ]
        var paths: [String: JSONValue] = ["assignment": .string("\(base)/v3\(links.assignment)")]
        if let path = links.membership { paths["membership"] = .string("\(base)/v3\(path)") }
        if let path = links.priorRole { paths["prior_role"] = .string("\(base)/v3\(path)") }
        members["links"] = .object(paths)
        var scope = scope(AssignmentSpec.Target(found.target), question)
        if found.grant.isInherited { scope["OS-INHERIT:inherited_to"] = "projects" }
        members["scope"] = .object(scope)
        return .object(members)
    }

    private func scope(_ target: AssignmentSpec.Target, _ question: AssignmentQuestion) -> [String: JSONValue] {
        switch target {
        case .system: ["system": ["all": true]]
        case .project(let id): ["project": project(id, question)]
        case .domain(let id):
            ["domain": reference(id, question.hasNames ? directory.domain(id)?.spec.name : nil)]
        }
    }

    /// Whether a caller with a domain's token sees what is on this target.
    private func isSeen(_ target: AssignmentSpec.Target, _ question: AssignmentQuestion) -> Bool {
        guard let own = question.ownDomain else { return true }
        return switch target {
        case .system: false
        case .domain(let id): id == own
        case .project(let id): directory.project(id)?.spec.domainID == own
        }
    }

    // MARK: As given

    private func direct(_ question: AssignmentQuestion) -> [JSONValue] {
        candidates(question).flatMap { assignment -> [JSONValue] in
            guard fits(assignment, question) else { return [] }
            return assignment.spec.roles.compactMap { grant in
                if let role = question.role, grant.roleID != role { return nil }
                if let isInherited = question.isInherited, grant.isInherited != isInherited { return nil }
                return render(assignment.spec, grant, question)
            }
        }
    }

    /// The assignments that may fit, found by the narrowest of what is asked for.
    private func candidates(_ question: AssignmentQuestion) -> [Assignment] {
        if let user = question.user { return directory.assignments(of: .user(user)) }
        if let group = question.group { return directory.assignments(of: .group(group)) }
        if question.tree == nil, let project = question.project { return directory.assignments(on: .project(project)) }
        if let domain = question.domain { return directory.assignments(on: .domain(domain)) }
        if question.isSystem { return directory.assignments(on: .system) }
        return directory.now.all(Assignment.self)
    }

    private func fits(_ assignment: Assignment, _ question: AssignmentQuestion) -> Bool {
        let target = assignment.spec.target
        if let id = question.tree, let root = directory.project(id) {
            guard case .project(let found) = target else { return false }
            let below = ProjectTree(directory: directory).below(root).map(\.id)
            guard found == id || below.contains(found) else { return false }
        } else if let project = question.project, target != .project(project) {
            return false
        }
        if let domain = question.domain, target != .domain(domain) { return false }
        if question.isSystem, target != .system { return false }
        return isSeen(target, question)
    }

    private func render(
        _ spec: AssignmentSpec, _ grant: AssignmentSpec.Grant, _ question: AssignmentQuestion
    ) -> JSONValue {
        var members: [String: JSONValue] = ["role": role(grant.roleID, question)]
        var scope = scope(spec.target, question)
        var path =
            switch spec.target {
            case .system: "/system"
            case .project(let id): "/projects/\(id)"
            case .domain(let id): "/domains/\(id)"
            }
        switch spec.actor {
        case .user(let id):
            members["user"] = user(id, question)
            path += "/users/\(id)"
        case .group(let id):
            members["group"] = group(id, question)
            path += "/groups/\(id)"
        }
        path += "/roles/\(grant.roleID)"
        if grant.isInherited {
            scope["OS-INHERIT:inherited_to"] = "projects"
            path = "/OS-INHERIT\(path)/inherited_to_projects"
        }
        members["scope"] = .object(scope)
        members["links"] = ["assignment": .string("\(base)/v3\(path)")]
        return .object(members)
    }

    private func reference(_ id: String, _ name: String?) -> JSONValue {
        name.map { ["id": .string(id), "name": .string($0)] } ?? ["id": .string(id)]
    }

    private func domainReference(_ id: String) -> JSONValue { reference(id, directory.domain(id)?.spec.name ?? "") }

    func role(_ id: String, _ question: AssignmentQuestion) -> JSONValue {
        guard question.hasNames, let role = directory.role(id) else { return reference(id, nil) }
        var members: [String: JSONValue] = ["id": .string(id), "name": .string(role.spec.name)]
        if let domain = role.spec.domainID { members["domain"] = domainReference(domain) }
        return .object(members)
    }

    func project(_ id: String, _ question: AssignmentQuestion) -> JSONValue {
        guard question.hasNames, let project = directory.project(id) else { return reference(id, nil) }
        return [
            "id": .string(id), "name": .string(project.spec.name),
            "domain": domainReference(project.spec.domainID ?? id),
        ]
    }

    func user(_ id: String, _ question: AssignmentQuestion) -> JSONValue {
        guard question.hasNames, let user = directory.user(id) else { return reference(id, nil) }
        return ["id": .string(id), "name": .string(user.spec.name), "domain": domainReference(user.spec.domainID)]
    }

    func group(_ id: String, _ question: AssignmentQuestion) -> JSONValue {
        guard question.hasNames, let group = directory.group(id) else { return reference(id, nil) }
        return ["id": .string(id), "name": .string(group.spec.name), "domain": domainReference(group.spec.domainID)]
    }
}
