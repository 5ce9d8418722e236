import Primitives
import ResourceModel

/// A policy that is kept for services (Keystone API v3, "Policies"); nothing here follows it.
public typealias PolicyDocument = IdentityEntry<PolicyDocumentSpec>

/// What a policy document is.
public struct PolicyDocumentSpec: IdentitySpec {
    public static let kind = "identity.policy"
    /// As much as the body of a request can bring.
    public static let documentSizeMax = StoreLimits.documentSizeMax

    /// The content's MIME type.
    public var type: String
    /// The content, as given: usually a text.
    public var blob: JSONValue
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A policy document.
    public init(type: String, blob: JSONValue) {
        self.type = type
        self.blob = blob
    }
}

/// Whom a policy document is for (Keystone API v3 extension `OS-ENDPOINT-POLICY`); the name joins endpoint, service, region.
public typealias PolicyAssociation = IdentityEntry<PolicyAssociationSpec>

/// Whom a policy document is for.
public struct PolicyAssociationSpec: IdentitySpec {
    public static let kind = "identity.policyassociation"

    /// The policy.
    public var policyID: String
    /// The endpoint; nil: of a service.
    public var endpointID: String?
    /// The service; nil: of an endpoint.
    public var serviceID: String?
    /// The region of the service; nil: any.
    public var regionID: String?

    /// An association.
    public init(policyID: String, endpointID: String? = nil, serviceID: String? = nil, regionID: String? = nil) {
        self.policyID = policyID
        self.endpointID = endpointID
        self.serviceID = serviceID
        self.regionID = regionID
    }

    /// The resource's name: of each endpoint, service, and service in a region there is one.
    public var name: String {
        [endpointID, serviceID, regionID].map { $0.map(CatalogName.of) ?? "" }.joined(separator: ",")
    }
}
