import CatalogIdentity
import Primitives

extension IdentityDirectory {
    /// The identifiers of the roles that a user has in a scope at `time`: given to it or its groups, there or, inherited,
    /// above; with all that these imply. Roles of a domain are not in tokens, only what they imply is.
    public func effectiveRoleIDs(
        of user: String, moreGroups: [String] = [], in scope: TokenPayload.Scope, at time: Timestamp
    ) -> Set<String> {
        let groups = Set(groupIDs(of: user, at: time)).union(moreGroups)
        let actors = [AssignmentSpec.Actor.user(user)] + groups.map { .group($0) }
        var granted: Set<String> = []
        func add(_ target: AssignmentSpec.Target, isInherited: Bool) {
            for actor in actors {
                guard let found = assignment(of: actor, on: target) else { continue }
                for grant in found.spec.roles where grant.isInherited == isInherited { granted.insert(grant.roleID) }
            }
        }
        switch scope {
        case .unscoped: return []
        case .system: add(.system, isInherited: false)
        case .domain(let id): add(.domain(id), isInherited: false)
        case .project(let id):
            add(.project(id), isInherited: false)
            guard let project = project(id) else { return [] }
            for above in ancestors(of: project) {
                add(above.spec.isDomain ? .domain(above.id) : .project(above.id), isInherited: true)
            }
        }
        return withImplied(granted).filter { role($0).map { $0.spec.domainID == nil } ?? false }
    }

    /// Roles with all that they imply; circles end.
    public func withImplied(_ roles: Set<String>) -> Set<String> {
        var all = roles
        var new = Array(roles)
        while let prior = new.popLast() {
            for implication in implications(of: prior) where all.insert(implication.spec.impliedID).inserted {
                new.append(implication.spec.impliedID)
            }
        }
        return all
    }
}
