import CatalogIdentity
import Primitives
import ReconcileRuntime

extension IdentityDirectory {
    /// What the roles of users at `time` are computed from.
    public func roleFacts(at time: Timestamp) -> RoleFacts {
        RoleFacts(
            grantsOfActor: { actor in
                switch actor {
                case .user(let id): assignments(of: .user(id)).flatMap(\.spec.grants)
                case .group(let id): assignments(of: .group(id)).flatMap(\.spec.grants)
                }
            },
            grantsOnTarget: { target in assignments(on: AssignmentSpec.Target(target)).flatMap(\.spec.grants) },
            allGrants: { now.all(Assignment.self).flatMap(\.spec.grants) },
            groupsOfUser: { groupIDs(of: $0, at: time) },
            usersOfGroup: { group in
                memberships(of: group).filter { $0.spec.expires.map { time < $0 } ?? true }.map(\.spec.userID)
            },
            ancestorsOfProject: { id in
                project(id).map { ancestors(of: $0).filter { !$0.spec.isDomain }.map(\.id) } ?? []
            }, childrenOfProject: { children(of: $0).map(\.id) },
            domainOfProject: { project($0)?.spec.domainID },
            projectsOfDomain: { projects(in: $0).map(\.id) },
            isDomainRole: { role($0)?.spec.domainID != nil },
            inference: RoleInference(
                now.all(RoleImplication.self).map { .init(prior: $0.spec.priorID, implied: $0.spec.impliedID) }))
    }
}

extension AssignmentSpec {
    /// Its grants one by one.
    var grants: [RoleGrant] {
        roles.map {
            RoleGrant(
                roleID: $0.roleID, actor: RoleGrant.Actor(actor), target: RoleGrant.Target(target),
                isInherited: $0.isInherited)
        }
    }
}

extension RoleGrant.Actor {
    init(_ actor: AssignmentSpec.Actor) {
        switch actor {
        case .user(let id): self = .user(id)
        case .group(let id): self = .group(id)
        }
    }
}

extension RoleGrant.Target {
    init(_ target: AssignmentSpec.Target) {
        switch target {
        case .project(let id): self = .project(id)
        case .domain(let id): self = .domain(id)
        case .system: self = .system
        }
    }
}

extension AssignmentSpec.Target {
    public init(_ target: RoleGrant.Target) {
        switch target {
        case .project(let id): self = .project(id)
        case .domain(let id): self = .domain(id)
        case .system: self = .system
        }
    }
}
