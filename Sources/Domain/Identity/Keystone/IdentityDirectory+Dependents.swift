import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel

/// What goes away with something: documents in the order in which they may be deleted.
public struct Dependents: Sendable, Hashable {
    /// Keys of documents, none twice.
    public private(set) var keys: [ResourceKey] = []
    private var seen: Set<ResourceKey> = []

    /// Nothing.
    public init() {}

    mutating func add(_ key: ResourceKey) { if seen.insert(key).inserted { keys.append(key) } }
    mutating func add(_ name: UniqueName) { add(NameMark.key(name.mark)) }
}

extension IdentityDirectory {
    /// All that goes away with a project or domain, itself not among it.
    public func dependents(of project: Project) -> Dependents {
        var all = Dependents()
        if project.spec.isDomain {
            for user in users(in: project.id) { addWhole(user, to: &all) }
            for group in groups(in: project.id) { addWhole(group, to: &all) }
            for role in now.all(UserRole.self) where role.spec.domainID == project.id { addWhole(role, to: &all) }
            // Children before their parents, so that what is left is always a tree.
            for child in projects(in: project.id).sorted(by: { ancestors(of: $0).count > ancestors(of: $1).count }) {
                addParts(of: child, to: &all)
                all.add(child.key)
                all.add(.project(child.spec.name, domain: project.id))
            }
            for provider in now.all(IdentityProvider.self) where provider.spec.domainID == project.id {
                add(provider, to: &all)
            }
            addSettings(ofDomain: project.id, to: &all)
        }
        addParts(of: project, to: &all)
        return all
    }

    /// All that goes away with a domain's settings, themselves among it.
    public func dependents(ofSettingsOf domain: String) -> Dependents {
        var all = Dependents()
        addSettings(ofDomain: domain, to: &all)
        return all
    }

    /// All that goes away with a user, itself and its name among it.
    public func dependents(of user: User) -> Dependents {
        var all = Dependents()
        addWhole(user, to: &all)
        return all
    }

    /// All that goes away with a group, itself and its name among it.
    public func dependents(of group: Group) -> Dependents {
        var all = Dependents()
        addWhole(group, to: &all)
        return all
    }

    /// All that goes away with a role, itself and its name among it; assignments that have other roles too are not.
    public func dependents(of role: UserRole) -> Dependents {
        var all = Dependents()
        addWhole(role, to: &all)
        return all
    }

    /// All that goes away with an identity provider, itself among it.
    public func dependents(of provider: IdentityProvider) -> Dependents {
        var all = Dependents()
        add(provider, to: &all)
        return all
    }

    /// All that goes away with a protocol of a provider: itself.
    public func dependents(of entry: FederationProtocol) -> Dependents {
        var all = Dependents()
        all.add(entry.key)
        return all
    }

    private func addParts(of project: Project, to all: inout Dependents) {
        let target: AssignmentSpec.Target = project.spec.isDomain ? .domain(project.id) : .project(project.id)
        for assignment in assignments(on: target) + assignments(on: .project(project.id)) { all.add(assignment.key) }
        for entry in projectEndpoints(of: project.id) { all.add(entry.key) }
        for credential in now.all(Credential.self) where credential.spec.projectID == project.id {
            add(credential, to: &all)
        }
        for found in now.all(ApplicationCredential.self) where found.spec.projectID == project.id {
            add(found, to: &all)
        }
        for trust in now.all(Trust.self) where trust.spec.projectID == project.id { all.add(trust.key) }
        for limit in limits(of: project.id) { add(limit, to: &all) }
        for token in now.all(ConsumerToken.self) where token.spec.projectID == project.id { add(token, to: &all) }
    }

    private func addSettings(ofDomain id: String, to all: inout Dependents) {
        guard let settings = entry(DomainSettings.self, id) else { return }
        for secret in settings.spec.secrets ?? [] { all.add(Secret.key(DomainSettingsSpec.secretName(id, secret))) }
        all.add(settings.key)
    }

    private func addWhole(_ user: User, to all: inout Dependents) {
        for assignment in assignments(of: .user(user.id)) { all.add(assignment.key) }
        for membership in memberships(ofUser: user.id) { all.add(membership.key) }
        for credential in credentials(of: user.id) { add(credential, to: &all) }
        for found in applicationCredentials(of: user.id) { add(found, to: &all) }
        for rule in accessRules(of: user.id) { all.add(rule.key) }
        for trust in trusts(by: user.id) + trusts(for: user.id) { all.add(trust.key) }
        for token in now.all(ConsumerToken.self) where token.spec.lender == user.id { add(token, to: &all) }
        all.add(LoginRecord.key(CatalogName.of(user.id)))
        all.add(.user(user.spec.name, domain: user.spec.domainID))
        all.add(user.key)
    }

    private func addWhole(_ group: Group, to all: inout Dependents) {
        for assignment in assignments(of: .group(group.id)) { all.add(assignment.key) }
        for membership in memberships(of: group.id) { all.add(membership.key) }
        all.add(.group(group.spec.name, domain: group.spec.domainID))
        all.add(group.key)
    }

    private func addWhole(_ role: UserRole, to all: inout Dependents) {
        for implication in implications(of: role.id) + implications(impliedBy: role.id) { all.add(implication.key) }
        for assignment in now.all(Assignment.self) where assignment.spec.roles.allSatisfy({ $0.roleID == role.id }) {
            all.add(assignment.key)
        }
        all.add(.role(role.spec.name, domain: role.spec.domainID))
        all.add(role.key)
    }

    private func add(_ credential: Credential, to all: inout Dependents) {
        all.add(Secret.key(CredentialSpec.secretName(credential.id)))
        all.add(credential.key)
    }

    private func add(_ credential: ApplicationCredential, to all: inout Dependents) {
        all.add(.applicationCredential(credential.spec.name, user: credential.spec.userID))
        all.add(credential.key)
    }

    private func add(_ limit: Limit, to all: inout Dependents) {
        all.add(limit.spec.uniqueName)
        all.add(limit.key)
    }

    private func add(_ token: ConsumerToken, to all: inout Dependents) {
        all.add(Secret.key(ConsumerTokenSpec.secretName(token.id)))
        all.add(token.key)
    }

    private func add(_ provider: IdentityProvider, to all: inout Dependents) {
        for entry in now.all(FederationProtocol.self) where entry.spec.providerID == provider.spec.id {
            all.add(entry.key)
        }
        for id in provider.spec.remoteIDs { all.add(.remoteID(id)) }
        all.add(provider.key)
    }
}

extension IdentityDirectory {
    /// All that goes away with a service, itself among it.
    public func dependents(of service: CloudService) -> Dependents {
        var all = Dependents()
        for endpoint in endpoints(of: service.id) { add(endpoint, to: &all) }
        for found in now.all(PolicyAssociation.self) where found.spec.serviceID == service.id { all.add(found.key) }
        for found in now.all(RegisteredLimit.self) where found.spec.serviceID == service.id { add(found, to: &all) }
        all.add(service.key)
        return all
    }

    /// All that goes away with an endpoint, itself among it.
    public func dependents(of endpoint: Endpoint) -> Dependents {
        var all = Dependents()
        add(endpoint, to: &all)
        return all
    }

    /// All that goes away with an endpoint group, itself among it.
    public func dependents(of group: EndpointGroup) -> Dependents {
        var all = Dependents()
        for entry in projectEndpoints(with: group.id) { all.add(entry.key) }
        all.add(group.key)
        return all
    }

    /// All that goes away with a policy document, itself among it.
    public func dependents(of policy: PolicyDocument) -> Dependents {
        var all = Dependents()
        for found in now.all(PolicyAssociation.self) where found.spec.policyID == policy.id { all.add(found.key) }
        all.add(policy.key)
        return all
    }

    /// All that goes away with a region, the regions in it and itself among it; children before their parents.
    public func dependents(of region: Region) -> Dependents {
        let regions = self.regions(in: region)
        let ids = Set(regions.map(\.spec.id))
        var all = Dependents()
        for found in now.all(PolicyAssociation.self) where found.spec.regionID.map(ids.contains) == true {
            all.add(found.key)
        }
        for found in now.all(RegisteredLimit.self) where found.spec.regionID.map(ids.contains) == true {
            add(found, to: &all)
        }
        for found in regions.reversed() { all.add(found.key) }
        return all
    }

    /// A region and all that are in it, parents before their children.
    public func regions(in region: Region) -> [Region] {
        let children = Dictionary(grouping: now.all(Region.self), by: \.spec.parentID)
        var found = [region]
        var seen: Set<String> = [region.spec.id]
        var next = 0
        while next < found.count {
            found += (children[found[next].spec.id] ?? []).filter { seen.insert($0.spec.id).inserted }
            next += 1
        }
        return found
    }

    /// All that goes away with a limit, itself among it.
    public func dependents(of limit: Limit) -> Dependents {
        var all = Dependents()
        add(limit, to: &all)
        return all
    }

    /// All that goes away with a registered limit, its limits and itself among it.
    public func dependents(of limit: RegisteredLimit) -> Dependents {
        var all = Dependents()
        add(limit, to: &all)
        return all
    }

    /// All that goes away with a consumer, its secret and itself among it.
    public func dependents(of consumer: Consumer) -> Dependents {
        var all = Dependents()
        for token in now.all(ConsumerToken.self) where token.spec.consumerID == consumer.id { add(token, to: &all) }
        all.add(Secret.key(ConsumerSpec.secretName(consumer.id)))
        all.add(consumer.key)
        return all
    }

    /// All that goes away with a step to an access token or with an access token, itself among it.
    public func dependents(of token: ConsumerToken) -> Dependents {
        var all = Dependents()
        add(token, to: &all)
        return all
    }

    private func add(_ limit: RegisteredLimit, to all: inout Dependents) {
        for found in limits(for: limit) { add(found, to: &all) }
        all.add(limit.spec.uniqueName)
        all.add(limit.key)
    }

    private func add(_ endpoint: Endpoint, to all: inout Dependents) {
        for entry in projectEndpoints(with: endpoint.id) { all.add(entry.key) }
        for found in now.all(PolicyAssociation.self) where found.spec.endpointID == endpoint.id { all.add(found.key) }
        all.add(endpoint.key)
    }
}

extension IdentityDirectory {
    /// A trust and all that hand it on.
    public func dependents(of trust: Trust) -> Dependents {
        var all = Dependents()
        let trusts = now.all(Trust.self)
        var ends = [trust.id]
        while let id = ends.popLast() {
            for found in trusts where found.spec.redelegatedTrustID == id { ends.append(found.id) }
            if let found = entry(Trust.self, id) { all.add(found.key) }
        }
        return all
    }
}
