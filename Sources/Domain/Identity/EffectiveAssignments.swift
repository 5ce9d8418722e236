/// Which effective assignments are asked for.
public struct EffectiveFilter: Sendable, Hashable {
    /// What they are on.
    public enum Target: Sendable, Hashable {
        /// Any project or domain; the system's have to be asked for.
        case any
        /// One project, and those below it.
        case project(String, withSubtree: Bool)
        /// One domain, without its projects.
        case domain(String)
        case system
    }

    /// Whose; nil: everybody's.
    public var userID: String?
    /// On what.
    public var target: Target
    /// Which role, granted or implied; nil: any.
    public var roleID: String?
    /// True: only what comes from an inherited grant; false: only what does not.
    public var isInherited: Bool?

    /// A filter.
    public init(
        userID: String? = nil, target: Target = .any, roleID: String? = nil, isInherited: Bool? = nil
    ) {
        self.userID = userID
        self.target = target
        self.roleID = roleID
        self.isInherited = isInherited
    }
}

/// Effective assignments, perhaps not all.
public struct EffectiveList: Sendable, Hashable {
    /// The assignments, each once.
    public var assignments: [EffectiveAssignment] = []
    /// Whether there are more than the limit that was given.
    public internal(set) var isCut = false
}

extension RoleFacts {
    /// What users really have: groups are given out to their members, inherited grants to the projects below, roles to
    /// those that they imply, domain roles are left out; at most `limit`.
    ///
    /// The work is as much as there are grants on the filter's user or target, and as there is to list.
    public func effectiveAssignments(_ filter: EffectiveFilter, limit: Int) -> EffectiveList {
        let places = Places(filter.target, self)
        var list = EffectiveList()
        var rulesByRole: [String: [RoleInference.Rule]] = [:]
        for grant in candidates(filter, places) {
            if let isInherited = filter.isInherited, isInherited != grant.isInherited { continue }
            let targets = places.reached(by: grant, self)
            guard !targets.isEmpty else { continue }
            let rules = rulesByRole[grant.roleID] ?? inference.rules(from: grant.roleID)
            rulesByRole[grant.roleID] = rules
            let roles = [RoleInference.Rule?.none] + rules.map(Optional.some)
            for target in targets {
                for userID in users(of: grant.actor, filter) {
                    for rule in roles {
                        let roleID = rule?.implied ?? grant.roleID
                        guard filter.roleID == nil || filter.roleID == roleID, !isDomainRole(roleID) else { continue }
                        guard list.assignments.count < limit else {
                            list.isCut = true
                            return list
                        }
                        list.assignments.append(
                            EffectiveAssignment(
                                roleID: roleID, userID: userID, target: target, grant: grant, priorRoleID: rule?.prior)
                        )
                    }
                }
            }
        }
        return list
    }

    private func users(of actor: RoleGrant.Actor, _ filter: EffectiveFilter) -> [String] {
        switch actor {
        case .user(let id): [id]
        case .group(let id): filter.userID.map { [$0] } ?? usersOfGroup(id)
        }
    }

    /// The grants that can matter, each once.
    private func candidates(_ filter: EffectiveFilter, _ places: Places) -> [RoleGrant] {
        if let userID = filter.userID {
            return grantsOfActor(.user(userID)) + groupsOfUser(userID).flatMap { grantsOfActor(.group($0)) }
        }
        switch places {
        case .any: return allGrants()
        case .only(let target): return grantsOnTarget(target)
        case .projects(let wanted, let bySource):
            // A project can be both: asked for, and above others that are.
            let direct = wanted.flatMap { grantsOnTarget(.project($0)).filter { !$0.isInherited } }
            return direct + bySource.keys.flatMap { grantsOnTarget($0).filter(\.isInherited) }
        }
    }

    /// The targets that a filter asks for.
    private enum Places {
        case any
        /// A domain or the system.
        case only(RoleGrant.Target)
        /// Projects, and from each target above them those that inherit from it.
        case projects(Set<String>, bySource: [RoleGrant.Target: [String]])

        init(_ target: EffectiveFilter.Target, _ facts: RoleFacts) {
            switch target {
            case .any: self = .any
            case .domain(let id): self = .only(.domain(id))
            case .system: self = .only(.system)
            case .project(let id, let withSubtree):
                let wanted = [id] + (withSubtree ? facts.projects(below: .project(id)) : [])
                var bySource: [RoleGrant.Target: [String]] = [:]
                for project in wanted {
                    for source in facts.sources(above: .project(project)) {
                        bySource[source, default: []].append(project)
                    }
                }
                self = .projects(Set(wanted), bySource: bySource)
            }
        }

        /// Those of the targets that `grant` gives a role on.
        func reached(by grant: RoleGrant, _ facts: RoleFacts) -> [RoleGrant.Target] {
            switch self {
            case .any:
                guard grant.target != .system else { return [] }
                return grant.isInherited ? facts.projects(below: grant.target).map { .project($0) } : [grant.target]
            case .only(let target):
                return grant.target == target && !grant.isInherited ? [target] : []
            case .projects(let wanted, let bySource):
                if grant.isInherited { return (bySource[grant.target] ?? []).map { .project($0) } }
                guard case .project(let id) = grant.target, wanted.contains(id) else { return [] }
                return [grant.target]
            }
        }
    }
}
