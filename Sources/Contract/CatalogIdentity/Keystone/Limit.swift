import Primitives

/// How much of something everybody may have (Keystone API v3, "Unified limits").
public typealias RegisteredLimit = IdentityEntry<RegisteredLimitSpec>

/// What a registered limit is.
public struct RegisteredLimitSpec: IdentitySpec {
    public static let kind = "identity.registeredlimit"

    /// The service.
    public var serviceID: String
    /// The region; nil: all.
    public var regionID: String?
    /// Of what, for example `cores`.
    public var resourceName: String
    /// How much; -1: any.
    public var defaultLimit: Int
    /// For people; nil: never given.
    public var description: String?

    /// A registered limit.
    public init(serviceID: String, regionID: String?, resourceName: String, defaultLimit: Int, description: String?) {
        self.serviceID = serviceID
        self.regionID = regionID
        self.resourceName = resourceName
        self.defaultLimit = defaultLimit
        self.description = description
    }
}

/// How much of something one project or domain may have.
public typealias Limit = IdentityEntry<LimitSpec>

/// What a limit is.
public struct LimitSpec: IdentitySpec {
    public static let kind = "identity.limit"

    /// The project; nil: of a domain.
    public var projectID: String?
    /// The domain; nil: of a project.
    public var domainID: String?
    /// The registered limit that it takes the place of.
    public var registeredLimitID: String
    /// The service; as in the registered limit, which is not changed as long as there are limits of it.
    public var serviceID: String
    /// The region; nil: all.
    public var regionID: String?
    /// Of what, for example `cores`.
    public var resourceName: String
    /// How much; -1: any.
    public var resourceLimit: Int
    /// For people; nil: never given.
    public var description: String?

    /// A limit in the place of `registered`.
    public init(
        projectID: String?, domainID: String?, registered: RegisteredLimit, resourceLimit: Int, description: String?
    ) {
        self.projectID = projectID
        self.domainID = domainID
        registeredLimitID = registered.id
        serviceID = registered.spec.serviceID
        regionID = registered.spec.regionID
        resourceName = registered.spec.resourceName
        self.resourceLimit = resourceLimit
        self.description = description
    }
}
