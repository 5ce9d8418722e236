import Primitives
import ResourceModel

/// Who vouches for users (Keystone API v3 extension `OS-FEDERATION`); callers choose its identifier.
public typealias IdentityProvider = IdentityEntry<IdentityProviderSpec>

/// What an identity provider is.
public struct IdentityProviderSpec: IdentitySpec {
    public static let kind = "identity.provider"

    /// The identifier.
    public var id: String
    /// Whether it is believed.
    public var isEnabled: Bool
    /// For people; nil: never given.
    public var description: String?
    /// What it calls itself in assertions; each is one provider's.
    public var remoteIDs: [String]
    /// The domain of its users.
    public var domainID: String
    /// How many minutes what it says of groups holds; nil: for the token only.
    public var authorizationTTL: Int?

    /// An identity provider.
    public init(id: String, isEnabled: Bool, description: String?, remoteIDs: [String], domainID: String) {
        self.id = id
        self.isEnabled = isEnabled
        self.description = description
        self.remoteIDs = remoteIDs
        self.domainID = domainID
    }
}

/// How an assertion becomes a user (`OS-FEDERATION`, "Mappings"); callers choose its identifier.
public typealias FederationMapping = IdentityEntry<FederationMappingSpec>

/// What a mapping is.
public struct FederationMappingSpec: IdentitySpec {
    public static let kind = "identity.mapping"
    /// As much as the body of a request can bring.
    public static let documentSizeMax = StoreLimits.documentSizeMax

    /// The identifier.
    public var id: String
    /// The rules, as given.
    public var rules: JSONValue
    /// Of the rules' form, `1.0` or `2.0`.
    public var formVersion: String

    /// A mapping.
    public init(id: String, rules: JSONValue, formVersion: String) {
        self.id = id
        self.rules = rules
        self.formVersion = formVersion
    }
}

/// How a provider is spoken to (`OS-FEDERATION`, "Protocols"); the name joins both.
public typealias FederationProtocol = IdentityEntry<FederationProtocolSpec>

/// What a protocol of a provider is.
public struct FederationProtocolSpec: IdentitySpec {
    public static let kind = "identity.protocol"

    /// The identifier, unique at the provider, for example `saml2`.
    public var id: String
    /// The provider.
    public var providerID: String
    /// The mapping.
    public var mappingID: String
    /// The attribute that has the provider's own name; nil: the default.
    public var remoteIDAttribute: String?

    /// A protocol.
    public init(id: String, providerID: String, mappingID: String, remoteIDAttribute: String?) {
        self.id = id
        self.providerID = providerID
        self.mappingID = mappingID
        self.remoteIDAttribute = remoteIDAttribute
    }

    /// The resource's name.
    public var name: String { CatalogName.joining(providerID, id) }
}

/// A cloud that trusts this one (`OS-FEDERATION`, "Service providers"); callers choose its identifier.
public typealias ServiceProvider = IdentityEntry<ServiceProviderSpec>

/// What a service provider is.
public struct ServiceProviderSpec: IdentitySpec {
    public static let kind = "identity.serviceprovider"

    /// The identifier.
    public var id: String
    /// Whether it is in tokens.
    public var isEnabled: Bool
    /// For people; nil: never given.
    public var description: String?
    /// Where users get tokens there.
    public var authURL: String
    /// Where assertions go.
    public var spURL: String
    /// Precedes the relay state.
    public var relayStatePrefix: String

    /// A service provider.
    public init(
        id: String, isEnabled: Bool, description: String?, authURL: String, spURL: String, relayStatePrefix: String
    ) {
        self.id = id
        self.isEnabled = isEnabled
        self.description = description
        self.authURL = authURL
        self.spURL = spURL
        self.relayStatePrefix = relayStatePrefix
    }
}
