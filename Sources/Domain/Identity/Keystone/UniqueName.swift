import CatalogIdentity

/// A name that only one thing of a sort may have in a place.
public enum UniqueName: Sendable, Hashable {
    case domain(String)
    case project(String, domain: String)
    case user(String, domain: String)
    case group(String, domain: String)
    case role(String, domain: String?)
    case applicationCredential(String, user: String)
    case registeredLimit(service: String, region: String?, resource: String)
    case limit(owner: String, service: String, region: String?, resource: String)
    case remoteID(String)

    /// The name of the mark that keeps it.
    public var mark: String {
        switch self {
        case .domain(let name): NameMarkSpec.name(sort: "domain", in: "", name)
        case .project(let name, let domain): NameMarkSpec.name(sort: "project", in: domain, name)
        case .user(let name, let domain): NameMarkSpec.name(sort: "user", in: domain, name)
        case .group(let name, let domain): NameMarkSpec.name(sort: "group", in: domain, name)
        case .role(let name, let domain): NameMarkSpec.name(sort: "role", in: domain ?? "", name)
        case .applicationCredential(let name, let user): NameMarkSpec.name(sort: "appcredential", in: user, name)
        case .registeredLimit(let service, let region, let resource):
            NameMarkSpec.name(sort: "registeredlimit", in: "\(service)\u{0}\(region ?? "")", resource)
        case .limit(let owner, let service, let region, let resource):
            NameMarkSpec.name(sort: "limit", in: "\(owner)\u{0}\(service)\u{0}\(region ?? "")", resource)
        case .remoteID(let id): NameMarkSpec.name(sort: "remote", in: "", id)
        }
    }
}

extension RegisteredLimitSpec {
    /// There is one default of each thing.
    public var uniqueName: UniqueName { .registeredLimit(service: serviceID, region: regionID, resource: resourceName) }
}

extension LimitSpec {
    /// There is one limit of each thing for a project or domain.
    public var uniqueName: UniqueName {
        .limit(owner: projectID ?? domainID ?? "", service: serviceID, region: regionID, resource: resourceName)
    }
}
