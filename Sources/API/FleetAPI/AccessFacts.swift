import APISupport
import CatalogIdentity
import FleetContract
import Identity
import Policy
import Primitives
import ReconcileRuntime

/// Finds users, projects and domains as people name them, and says what roles somebody has where.
struct AccessFacts {
    let directory: IdentityDirectory
    let now: Timestamp

    /// The most names that are looked through for near ones.
    private static let nameCountMax = 20_000

    /// The user of this identifier, name, or `name@domain`.
    ///
    /// Throws `APIError` 404 with near names, and 409 for a name that several domains have.
    func user(_ text: String) throws -> User {
        if let user = directory.user(text) { return user }
        return try only(
            "user", text, find: { directory.user(named: $0, in: $1) }, domain: \.spec.domainID,
            names: directory.now.all(User.self).lazy.map { ($0.spec.name, $0.spec.domainID) })
    }

    /// The project of this identifier, name, or `name@domain`; throws as `user` does.
    func project(_ text: String) throws -> Project {
        if let project = directory.project(text), !project.spec.isDomain { return project }
        return try only(
            "project", text, find: { directory.project(named: $0, in: $1) }, domain: { $0.spec.domainID ?? "" },
            names: directory.now.all(Project.self).lazy.filter { !$0.spec.isDomain }
                .map { ($0.spec.name, $0.spec.domainID ?? "") })
    }

    /// The domain of this identifier or name; throws `APIError` 404 with near names.
    func domain(_ text: String) throws -> Project {
        if let domain = directory.domain(text) ?? directory.domain(named: text) { return domain }
        let near = directory.domains.map(\.spec.name).nearest(to: text)
        throw APIError.notFound("There is no domain '\(text.printable(limit: 80))'\(PolicyDesk.near(near)).")
    }

    private func only<Found>(
        _ noun: String, _ text: String, find: (String, String) -> Found?, domain: (Found) -> String,
        names: some Sequence<(name: String, domain: String)>
    ) throws -> Found {
        var found = directory.domains.compactMap { find(text, $0.id) }
        // A name may have an @ of its own, so that the whole text comes first.
        if found.isEmpty, let at = text.lastIndex(of: "@"),
            let place = try? self.domain(String(text[text.index(after: at)...]))
        {
            found = find(String(text[..<at]), place.id).map { [$0] } ?? []
        }
        if found.count == 1 { return found[0] }
        let shown = text.printable(limit: 80)
        guard found.isEmpty else {
            let choices = found.prefix(8).map { "'\(shown)@\(domainName(domain($0)))'" }.joined(separator: ", ")
            throw APIError.conflict("Several domains have a \(noun) '\(shown)'; name one of \(choices).")
        }
        let name = text.lastIndex(of: "@").map { String(text[..<$0]) } ?? text
        var near: [String] = []
        for candidate in Set(names.prefix(Self.nameCountMax).map(\.name)).nearest(to: name) {
            near += directory.domains.filter { find(candidate, $0.id) != nil }.prefix(3).map {
                "\(candidate)@\($0.spec.name)"
            }
        }
        throw APIError.notFound("There is no \(noun) '\(shown)'\(PolicyDesk.near(near)).")
    }

    /// A domain's name, its identifier where it has none.
    func domainName(_ id: String) -> String { directory.entry(Project.self, id)?.spec.name ?? id }

    // MARK: Scopes

    /// Where a user has any role: the system, then domains and projects by their names.
    func scopes(of user: User) -> [RoleGrant.Target] {
        let reach = directory.roleFacts(at: now).reach(ofUser: user.id)
        let domains = reach.domains.compactMap { directory.domain($0) }
        let projects = reach.projects.compactMap { directory.project($0) }
        return (reach.hasSystem ? [.system] : [])
            + domains.sorted { $0.spec.name < $1.spec.name }.map { .domain($0.id) }
            + projects.sorted { ($0.spec.name, $0.id) < ($1.spec.name, $1.id) }.map { .project($0.id) }
    }

    /// A scope in words.
    func words(_ target: RoleGrant.Target) -> String {
        switch target {
        case .system: return "the system"
        case .domain(let id): return "the domain \(domainName(id))"
        case .project(let id):
            let project = directory.entry(Project.self, id)
            return "the project \(project?.spec.name ?? id)@\(domainName(project?.spec.domainID ?? ""))"
        }
    }

    /// A user's roles in a scope, each with all that gives it.
    func roles(of user: User, on target: RoleGrant.Target) -> [PolicyExplainReply.Role] {
        let place: EffectiveFilter.Target =
            switch target {
            case .system: .system
            case .domain(let id): .domain(id)
            case .project(let id): .project(id, withSubtree: false)
            }
        let list = directory.roleFacts(at: now).effectiveAssignments(
            EffectiveFilter(userID: user.id, target: place), limit: 1000)
        let byRole = Dictionary(grouping: list.assignments.filter { $0.target == target }, by: \.roleID)
        return byRole.compactMap { id, assignments in
            guard let role = directory.role(id) else { return nil }
            return PolicyExplainReply.Role(name: role.spec.name, origins: Set(assignments.map(origin)).sorted())
        }.sorted { $0.name < $1.name }
    }

    /// Where a role comes from: `given to the group ops on the domain Default, inherited; implied by admin`.
    private func origin(_ assignment: EffectiveAssignment) -> String {
        var words: String
        switch assignment.grant.actor {
        case .user: words = "given to the user"
        case .group(let id): words = "given to the group \(directory.group(id)?.spec.name ?? id)"
        }
        if assignment.grant.isInherited { words += " on \(self.words(assignment.grant.target)), inherited" }
        if let prior = assignment.priorRoleID { words += "; implied by \(directory.role(prior)?.spec.name ?? prior)" }
        return words
    }

    /// What a token of this user and scope would say to rules.
    func credentials(of user: User, on target: RoleGrant.Target?, roles: [String]) -> PolicyCredentials {
        var who = PolicyCredentials(userID: user.id, userDomainID: user.spec.domainID, roles: roles)
        switch target {
        case .system: who.isSystemScoped = true
        case .domain(let id): who.domainID = id
        case .project(let id):
            who.projectID = id
            who.projectDomainID = directory.project(id)?.spec.domainID
        case nil: break
        }
        return who
    }

    /// What keeps a user from having a token of a scope at all; empty: nothing does.
    func obstacles(of user: User, on target: RoleGrant.Target?) -> [String] {
        var found: [String] = []
        if !user.spec.isEnabled { found.append("the user is off") }
        if directory.domain(user.spec.domainID)?.spec.isEnabled == false { found.append("the user's domain is off") }
        switch target {
        case .domain(let id) where directory.domain(id)?.spec.isEnabled == false: found.append("the domain is off")
        case .project(let id):
            guard let project = directory.project(id) else { break }
            if !project.spec.isEnabled { found.append("the project is off") }
            if directory.domain(project.spec.domainID ?? "")?.spec.isEnabled == false {
                found.append("the project's domain is off")
            }
        case .domain, .system, nil: break
        }
        return found
    }
}
