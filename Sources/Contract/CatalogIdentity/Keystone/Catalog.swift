import Primitives

/// A region (Keystone API v3, "Regions"); callers choose its identifier.
public typealias Region = IdentityEntry<RegionSpec>

/// What a region is.
public struct RegionSpec: IdentitySpec {
    public static let kind = "identity.region"

    /// The identifier.
    public var id: String
    /// The region that it is in; nil: none.
    public var parentID: String?
    /// For people.
    public var description = ""
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A region.
    public init(id: String) { self.id = id }
}

/// A service of the cloud (Keystone API v3, "Service catalog").
public typealias CloudService = IdentityEntry<CloudServiceSpec>

/// What a service is.
public struct CloudServiceSpec: IdentitySpec {
    public static let kind = "identity.service"

    /// For programs, for example `baremetal`.
    public var type: String
    /// For people; nil: never given.
    public var name: String?
    /// For people; nil: never given.
    public var description: String?
    /// Whether it is in catalogs.
    public var isEnabled = true
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A service.
    public init(type: String, name: String? = nil) {
        self.type = type
        self.name = name
    }
}

/// Where a service is reached (Keystone API v3, "Endpoints").
public typealias Endpoint = IdentityEntry<EndpointSpec>

/// What an endpoint is.
public struct EndpointSpec: IdentitySpec {
    public static let kind = "identity.endpoint"

    /// The service.
    public var serviceID: String
    /// `public`, `internal` or `admin`.
    public var interface: String
    /// The address; may have `$(project_id)s` and the like.
    public var url: String
    /// The region; nil: none.
    public var regionID: String?
    /// Whether it is in catalogs.
    public var isEnabled = true
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// An endpoint.
    public init(serviceID: String, interface: String, url: String, regionID: String? = nil) {
        self.serviceID = serviceID
        self.interface = interface
        self.url = url
        self.regionID = regionID
    }
}

/// Endpoints that are chosen by what they are (Keystone API v3 extension `OS-EP-FILTER`).
public typealias EndpointGroup = IdentityEntry<EndpointGroupSpec>

/// What an endpoint group is.
public struct EndpointGroupSpec: IdentitySpec {
    public static let kind = "identity.endpointgroup"

    /// For people.
    public var name: String
    /// For people; nil: never given.
    public var description: String?
    /// What endpoints must be: `interface`, `service_id`, `region_id`, `enabled`.
    public var filters: [String: JSONValue]

    /// An endpoint group.
    public init(name: String, filters: [String: JSONValue]) {
        self.name = name
        self.filters = filters
    }
}

/// That a project's catalog has an endpoint or an endpoint group; the name joins both.
public typealias ProjectEndpoint = IdentityEntry<ProjectEndpointSpec>

/// What a project's catalog has.
public struct ProjectEndpointSpec: IdentitySpec {
    public static let kind = "identity.projectendpoint"

    /// The project.
    public var projectID: String
    /// The endpoint or the endpoint group.
    public var endpointID: String
    /// Whether it is a group.
    public var isGroup: Bool

    /// An association.
    public init(projectID: String, endpointID: String, isGroup: Bool) {
        self.projectID = projectID
        self.endpointID = endpointID
        self.isGroup = isGroup
    }

    /// The resource's name.
    public var name: String { CatalogName.joining(projectID, endpointID) }
}
