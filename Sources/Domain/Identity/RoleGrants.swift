/// A role that a user or a group was given on a project, a domain or the system.
public struct RoleGrant: Sendable, Hashable {
    /// Who has it.
    public enum Actor: Sendable, Hashable {
        case user(String)
        case group(String)
    }

    /// What it is on.
    public enum Target: Sendable, Hashable {
        case project(String)
        case domain(String)
        case system
    }

    /// The role.
    public var roleID: String
    /// Who has it.
    public var actor: Actor
    /// What it was given on.
    public var target: Target
    /// Whether it is for the projects below the target, at any depth, and not for the target itself.
    public var isInherited: Bool

    /// `actor` has the role on `target`, or on the projects below it.
    public init(roleID: String, actor: Actor, target: Target, isInherited: Bool = false) {
        self.roleID = roleID
        self.actor = actor
        self.target = target
        self.isInherited = isInherited
    }
}

/// A role that a user has on a target, and why.
public struct EffectiveAssignment: Sendable, Hashable {
    /// The role.
    public var roleID: String
    /// Who has it.
    public var userID: String
    /// What they have it on.
    public var target: RoleGrant.Target
    /// The grant that it comes from: that of a group when the user is its member, an inherited one from above, one of
    /// a role that implies this one.
    public var grant: RoleGrant
    /// The role that implies this one; nil when it is the grant's own.
    public var priorRoleID: String?

    /// A user's role on a target.
    public init(
        roleID: String, userID: String, target: RoleGrant.Target, grant: RoleGrant, priorRoleID: String? = nil
    ) {
        self.roleID = roleID
        self.userID = userID
        self.target = target
        self.grant = grant
        self.priorRoleID = priorRoleID
    }

    /// The group whose member the user is, when the grant is a group's.
    public var groupID: String? {
        guard case .group(let id) = grant.actor else { return nil }
        return id
    }

    /// The paths, below `/v3`, of what it comes from, as `GET /v3/role_assignments` has them in `links`.
    public var links: Links {
        var path =
            switch grant.target {
            case .project(let id): "/projects/\(id)"
            case .domain(let id): "/domains/\(id)"
            case .system: "/system"
            }
        switch grant.actor {
        case .user(let id): path += "/users/\(id)"
        case .group(let id): path += "/groups/\(id)"
        }
        path += "/roles/\(grant.roleID)"
        return Links(
            assignment: grant.isInherited ? "/OS-INHERIT\(path)/inherited_to_projects" : path,
            membership: groupID.map { "/groups/\($0)/users/\(userID)" },
            priorRole: priorRoleID.map { "/prior_role/\($0)/implies/\(roleID)" })
    }

    /// Paths of what an assignment comes from.
    public struct Links: Sendable, Hashable {
        /// The grant.
        public var assignment: String
        /// The membership in the grant's group.
        public var membership: String?
        /// The implication.
        public var priorRole: String?
    }
}

/// Looks up what the roles of users are computed from. Each call costs about as much as it returns.
public struct RoleFacts {
    /// The grants of a user or a group.
    public var grantsOfActor: (RoleGrant.Actor) -> [RoleGrant]
    /// The grants on a target, inherited ones too.
    public var grantsOnTarget: (RoleGrant.Target) -> [RoleGrant]
    /// All grants on projects and domains.
    public var allGrants: () -> [RoleGrant]
    /// The groups that a user is a member of.
    public var groupsOfUser: (String) -> [String]
    /// The members of a group.
    public var usersOfGroup: (String) -> [String]
    /// The projects above a project, without itself and without the domain.
    public var ancestorsOfProject: (String) -> [String]
    /// The projects right below a project.
    public var childrenOfProject: (String) -> [String]
    /// The domain of a project; nil when there is no such project.
    public var domainOfProject: (String) -> String?
    /// The projects of a domain, at any depth.
    public var projectsOfDomain: (String) -> [String]
    /// Whether a role belongs to a domain: such a role appears in no token and no effective list, but what it implies
    /// does.
    public var isDomainRole: (String) -> Bool
    /// The implications.
    public var inference: RoleInference

    /// Facts from these look-ups.
    public init(
        grantsOfActor: @escaping (RoleGrant.Actor) -> [RoleGrant],
        grantsOnTarget: @escaping (RoleGrant.Target) -> [RoleGrant], allGrants: @escaping () -> [RoleGrant],
        groupsOfUser: @escaping (String) -> [String], usersOfGroup: @escaping (String) -> [String],
        ancestorsOfProject: @escaping (String) -> [String], childrenOfProject: @escaping (String) -> [String],
        domainOfProject: @escaping (String) -> String?, projectsOfDomain: @escaping (String) -> [String],
        isDomainRole: @escaping (String) -> Bool, inference: RoleInference
    ) {
        self.grantsOfActor = grantsOfActor
        self.grantsOnTarget = grantsOnTarget
        self.allGrants = allGrants
        self.groupsOfUser = groupsOfUser
        self.usersOfGroup = usersOfGroup
        self.ancestorsOfProject = ancestorsOfProject
        self.childrenOfProject = childrenOfProject
        self.domainOfProject = domainOfProject
        self.projectsOfDomain = projectsOfDomain
        self.isDomainRole = isDomainRole
        self.inference = inference
    }
}

extension RoleFacts {
    /// The roles of a user on a target, for a token: granted or inherited, to the user or a group of theirs, and what
    /// they imply, without domain roles; sorted.
    ///
    /// `moreGroups` are groups that an identity provider's mapping gave.
    /// `keepsDomainRoles` keeps domain roles, for what is held against a user's whole power, such as a trust.
    public func roles(
        ofUser userID: String, on target: RoleGrant.Target, moreGroups: [String] = [], keepsDomainRoles: Bool = false
    ) -> [String] {
        let above = sources(above: target)
        var granted: Set<String> = []
        for actor in actors(userID, moreGroups) {
            for grant in grantsOfActor(actor)
            where grant.isInherited ? above.contains(grant.target) : grant.target == target {
                granted.insert(grant.roleID)
            }
        }
        return inference.closure(of: granted).filter { keepsDomainRoles || !isDomainRole($0) }.sorted()
    }

    /// The projects and domains on which a user has any role, and whether they have one on the system.
    public func reach(ofUser userID: String, moreGroups: [String] = []) -> RoleReach {
        var reach = RoleReach()
        var givesByRole: [String: Bool] = [:]
        for grant in actors(userID, moreGroups).flatMap(grantsOfActor) {
            // A domain role that implies nothing gives nothing.
            let gives =
                givesByRole[grant.roleID] ?? inference.closure(of: [grant.roleID]).contains { !isDomainRole($0) }
            givesByRole[grant.roleID] = gives
            guard gives else { continue }
            switch (grant.target, grant.isInherited) {
            case (.system, _): reach.hasSystem = true
            case (.domain(let id), false): reach.domains.insert(id)
            case (.project(let id), false): reach.projects.insert(id)
            case (_, true): reach.projects.formUnion(projects(below: grant.target))
            }
        }
        return reach
    }

    private func actors(_ userID: String, _ moreGroups: [String]) -> [RoleGrant.Actor] {
        var seen: Set<String> = []
        return [.user(userID)]
            + (groupsOfUser(userID) + moreGroups).filter { seen.insert($0).inserted }.map(RoleGrant.Actor.group)
    }

    /// The targets whose inherited grants reach `target`.
    func sources(above target: RoleGrant.Target) -> Set<RoleGrant.Target> {
        guard case .project(let id) = target, let domain = domainOfProject(id) else { return [] }
        return Set(ancestorsOfProject(id).map(RoleGrant.Target.project) + [.domain(domain)])
    }

    /// The projects that an inherited grant on `target` reaches.
    func projects(below target: RoleGrant.Target) -> [String] {
        switch target {
        case .system: return []
        case .domain(let id): return projectsOfDomain(id)
        case .project(let id):
            var found: [String] = []
            var seen: Set<String> = [id]
            var open = [id]
            while let parent = open.popLast() {
                for child in childrenOfProject(parent) where seen.insert(child).inserted {
                    found.append(child)
                    open.append(child)
                }
            }
            return found
        }
    }
}

/// Where a user has roles.
public struct RoleReach: Sendable, Hashable {
    /// Projects.
    public var projects: Set<String> = []
    /// Domains.
    public var domains: Set<String> = []
    /// Whether the system too.
    public var hasSystem = false
}
