import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel

/// The nouns of the identity API as of one moment, and how they are found; reads cost no query.
public struct IdentityDirectory: Sendable {
    /// Everything as of one revision.
    public let now: CacheSnapshot

    /// A directory over a cache that was made with `kinds` and `indexes`.
    public init(_ now: CacheSnapshot) { self.now = now }

    /// The kinds that the cache must hold.
    public static let kinds: [any Resource.Type] = [
        Project.self, User.self, LoginRecord.self, Group.self, Membership.self, UserRole.self, RoleImplication.self,
        Assignment.self, Region.self, CloudService.self, Endpoint.self, EndpointGroup.self, ProjectEndpoint.self,
        Credential.self, ApplicationCredential.self, AccessRule.self, Trust.self, PolicyDocument.self,
        PolicyAssociation.self, RegisteredLimit.self, Limit.self, IdentityProvider.self, FederationMapping.self,
        FederationProtocol.self, ServiceProvider.self, Consumer.self, ConsumerToken.self, DomainSettings.self,
        Revocation.self, Secret.self,
    ]

    /// The kinds that say whether a token is valid and what it gives.
    static let tokenKinds: [String] = [
        Project.kind, User.kind, Membership.kind, UserRole.kind, RoleImplication.kind, Assignment.kind, Trust.kind,
        ApplicationCredential.kind, AccessRule.kind, ConsumerToken.kind, Consumer.kind, Revocation.kind,
        IdentityProvider.kind, FederationProtocol.kind, Region.kind, CloudService.kind, Endpoint.kind,
        EndpointGroup.kind, ProjectEndpoint.kind, ServiceProvider.kind,
    ]

    /// The newest change of anything that a token's validity or content comes from.
    public var tokenRevision: Revision { now.lastChange(of: Self.tokenKinds) }

    // MARK: Indexes

    static let usersByName = CacheIndex<User>("name") { [named($0.spec.domainID, $0.spec.name)] }
    static let usersByDomain = CacheIndex<User>("domain") { [$0.spec.domainID] }
    static let projectsByName = CacheIndex<Project>("name") { [named($0.spec.domainID ?? "", $0.spec.name)] }
    static let projectsByParent = CacheIndex<Project>("parent") { $0.spec.parentID.map { [$0] } ?? [] }
    static let projectsByDomain = CacheIndex<Project>("domain") { [$0.spec.domainID ?? ""] }
    static let groupsByName = CacheIndex<Group>("name") { [named($0.spec.domainID, $0.spec.name)] }
    static let groupsByDomain = CacheIndex<Group>("domain") { [$0.spec.domainID] }
    static let membershipsByUser = CacheIndex<Membership>("user") { [$0.spec.userID] }
    static let membershipsByGroup = CacheIndex<Membership>("group") { [$0.spec.groupID] }
    static let rolesByName = CacheIndex<UserRole>("name") { [named($0.spec.domainID ?? "", $0.spec.name)] }
    static let implicationsByPrior = CacheIndex<RoleImplication>("prior") { [$0.spec.priorID] }
    static let implicationsByImplied = CacheIndex<RoleImplication>("implied") { [$0.spec.impliedID] }
    static let assignmentsByActor = CacheIndex<Assignment>("actor") { [$0.spec.actor.key] }
    static let assignmentsByTarget = CacheIndex<Assignment>("target") { [$0.spec.target.key] }
    static let endpointsByService = CacheIndex<Endpoint>("service") { [$0.spec.serviceID] }
    static let projectEndpointsByProject = CacheIndex<ProjectEndpoint>("project") { [$0.spec.projectID] }
    static let projectEndpointsByEndpoint = CacheIndex<ProjectEndpoint>("endpoint") { [$0.spec.endpointID] }
    static let credentialsByUser = CacheIndex<Credential>("user") { [$0.spec.userID] }
    static let applicationCredentialsByUser = CacheIndex<ApplicationCredential>("user") { [$0.spec.userID] }
    static let accessRulesByUser = CacheIndex<AccessRule>("user") { [$0.spec.userID] }
    static let trustsByTrustor = CacheIndex<Trust>("trustor") { [$0.spec.trustorID] }
    static let trustsByTrustee = CacheIndex<Trust>("trustee") { [$0.spec.trusteeID] }
    static let limitsByOwner = CacheIndex<Limit>("owner") { [$0.spec.projectID ?? $0.spec.domainID ?? ""] }
    static let limitsByRegistered = CacheIndex<Limit>("registered") { [$0.spec.registeredLimitID] }

    /// How the cache finds them.
    public static let indexes: [AnyCacheIndex] = [
        AnyCacheIndex(usersByName), AnyCacheIndex(usersByDomain), AnyCacheIndex(usersByIdentity),
        AnyCacheIndex(projectsByName),
        AnyCacheIndex(projectsByParent), AnyCacheIndex(projectsByDomain), AnyCacheIndex(groupsByName),
        AnyCacheIndex(groupsByDomain), AnyCacheIndex(membershipsByUser), AnyCacheIndex(membershipsByGroup),
        AnyCacheIndex(rolesByName), AnyCacheIndex(implicationsByPrior), AnyCacheIndex(implicationsByImplied),
        AnyCacheIndex(assignmentsByActor), AnyCacheIndex(assignmentsByTarget), AnyCacheIndex(endpointsByService),
        AnyCacheIndex(projectEndpointsByProject), AnyCacheIndex(projectEndpointsByEndpoint),
        AnyCacheIndex(credentialsByUser), AnyCacheIndex(applicationCredentialsByUser), AnyCacheIndex(accessRulesByUser),
        AnyCacheIndex(trustsByTrustor), AnyCacheIndex(trustsByTrustee),
        AnyCacheIndex(limitsByOwner), AnyCacheIndex(limitsByRegistered),
    ]

    static func named(_ place: String, _ name: String) -> String { "\(place)\u{0}\(name)" }

    // MARK: Finding

    /// The entry with this identifier; nil: there is none.
    public func entry<Spec: IdentitySpec>(_ type: IdentityEntry<Spec>.Type, _ id: String) -> IdentityEntry<Spec>? {
        now.get(type, CatalogName.of(id))
    }

    /// The project or domain; nil: there is none, or it is being deleted.
    public func project(_ id: String) -> Project? {
        guard let found = entry(Project.self, id), found.spec.deleting == nil else { return nil }
        if let domain = found.spec.domainID, entry(Project.self, domain)?.spec.deleting != nil { return nil }
        return found
    }

    /// The domain; nil: there is none, it is a project, or it is being deleted.
    public func domain(_ id: String) -> Project? { project(id).flatMap { $0.spec.isDomain ? $0 : nil } }

    /// The user; nil: there is none, or its domain is being deleted.
    public func user(_ id: String) -> User? {
        entry(User.self, id).flatMap { domain($0.spec.domainID) == nil ? nil : $0 }
    }

    /// The group; nil: there is none, or its domain is being deleted.
    public func group(_ id: String) -> Group? {
        entry(Group.self, id).flatMap { domain($0.spec.domainID) == nil ? nil : $0 }
    }

    /// The role; nil: there is none.
    public func role(_ id: String) -> UserRole? { entry(UserRole.self, id) }

    /// The domain of this name; nil: there is none.
    public func domain(named name: String) -> Project? {
        now.first(Self.projectsByName, Self.named("", name)).flatMap { domain($0.id) }
    }

    /// The project of this name in a domain; nil: there is none.
    public func project(named name: String, in domain: String) -> Project? {
        now.first(Self.projectsByName, Self.named(domain, name)).flatMap { project($0.id) }
    }

    /// The user of this name in a domain; nil: there is none.
    public func user(named name: String, in domain: String) -> User? {
        now.first(Self.usersByName, Self.named(domain, name)).flatMap { user($0.id) }
    }

    /// The role of this name, of a domain or of none; nil: there is none.
    public func role(named name: String, in domain: String? = nil) -> UserRole? {
        now.first(Self.rolesByName, Self.named(domain ?? "", name))
    }

    /// All domains.
    public var domains: [Project] { now.all(Self.projectsByDomain, "").filter { $0.spec.deleting == nil } }

    /// The entries without those whose domain is gone or being deleted.
    public func inLivingDomains<Spec>(
        _ entries: [IdentityEntry<Spec>], domainID: (IdentityEntry<Spec>) -> String
    ) -> [IdentityEntry<Spec>] {
        var lives: [String: Bool] = [:]
        return entries.filter { entry in
            let id = domainID(entry)
            if let known = lives[id] { return known }
            let found = domain(id) != nil
            lives[id] = found
            return found
        }
    }

    /// The users of a domain.
    public func users(in domain: String) -> [User] { now.all(Self.usersByDomain, domain) }

    /// The groups of a domain.
    public func groups(in domain: String) -> [Group] { now.all(Self.groupsByDomain, domain) }

    /// The projects of a domain, itself not among them.
    public func projects(in domain: String) -> [Project] { now.all(Self.projectsByDomain, domain) }

    /// The projects right below a project or domain.
    public func children(of id: String) -> [Project] { now.all(Self.projectsByParent, id) }

    /// The projects above one, from its parent up to its domain.
    public func ancestors(of project: Project) -> [Project] {
        var found: [Project] = []
        var next = project.spec.parentID
        while let id = next, let parent = entry(Project.self, id), found.count < 64 {
            found.append(parent)
            next = parent.spec.parentID
        }
        return found
    }

    /// The groups that a user is in at `time`.
    public func groupIDs(of user: String, at time: Timestamp) -> [String] {
        now.all(Self.membershipsByUser, user).filter { $0.spec.expires.map { time < $0 } ?? true }.map(\.spec.groupID)
    }

    /// Who is in a group.
    public func memberships(of group: String) -> [Membership] { now.all(Self.membershipsByGroup, group) }

    /// What a user is in.
    public func memberships(ofUser user: String) -> [Membership] { now.all(Self.membershipsByUser, user) }

    /// What an actor has.
    public func assignments(of actor: AssignmentSpec.Actor) -> [Assignment] {
        now.all(Self.assignmentsByActor, actor.key)
    }

    /// What is had on a target.
    public func assignments(on target: AssignmentSpec.Target) -> [Assignment] {
        now.all(Self.assignmentsByTarget, target.key)
    }

    /// What an actor has on a target; nil: nothing.
    public func assignment(of actor: AssignmentSpec.Actor, on target: AssignmentSpec.Target) -> Assignment? {
        now.get(Assignment.self, AssignmentSpec.name(actor, target))
    }

    /// What a role implies by itself.
    public func implications(of prior: String) -> [RoleImplication] { now.all(Self.implicationsByPrior, prior) }

    /// Which roles imply one by themselves.
    public func implications(impliedBy implied: String) -> [RoleImplication] {
        now.all(Self.implicationsByImplied, implied)
    }

    /// The endpoints of a service.
    public func endpoints(of service: String) -> [Endpoint] { now.all(Self.endpointsByService, service) }

    /// What a project's catalog was given.
    public func projectEndpoints(of project: String) -> [ProjectEndpoint] {
        now.all(Self.projectEndpointsByProject, project)
    }

    /// The projects that an endpoint or an endpoint group was given to.
    public func projectEndpoints(with endpoint: String) -> [ProjectEndpoint] {
        now.all(Self.projectEndpointsByEndpoint, endpoint)
    }

    /// A user's credentials.
    public func credentials(of user: String) -> [Credential] { now.all(Self.credentialsByUser, user) }

    /// A user's application credentials.
    public func applicationCredentials(of user: String) -> [ApplicationCredential] {
        now.all(Self.applicationCredentialsByUser, user)
    }

    /// A user's access rules.
    public func accessRules(of user: String) -> [AccessRule] { now.all(Self.accessRulesByUser, user) }

    /// The trusts that a user has made.
    public func trusts(by user: String) -> [Trust] { now.all(Self.trustsByTrustor, user) }

    /// The trusts that a user may use.
    public func trusts(for user: String) -> [Trust] { now.all(Self.trustsByTrustee, user) }

    /// The limits of a project or domain.
    public func limits(of owner: String) -> [Limit] { now.all(Self.limitsByOwner, owner) }

    /// The limits that take the place of a registered one.
    public func limits(for registered: RegisteredLimit) -> [Limit] { now.all(Self.limitsByRegistered, registered.id) }
}
