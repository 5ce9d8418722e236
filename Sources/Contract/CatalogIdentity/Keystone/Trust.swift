import Primitives

/// That one user may act with another's roles (Keystone API v3 extension `OS-TRUST`).
public typealias Trust = IdentityEntry<TrustSpec>

/// What a trust is.
public struct TrustSpec: IdentitySpec {
    public static let kind = "identity.trust"

    /// Who trusts.
    public var trustorID: String
    /// Who is trusted.
    public var trusteeID: String
    /// Where; nil: nowhere, the trust has no roles.
    public var projectID: String?
    /// Which roles, identifiers.
    public var roleIDs: [String]
    /// Whether tokens are the trustor's.
    public var isImpersonation: Bool
    /// When it ends; nil: never.
    public var expires: Timestamp?
    /// How often it may still be used; nil: any number of times.
    public var remainingUses: Int?
    /// Whether the trusted may trust others with it.
    public var allowsRedelegation: Bool
    /// How many more times it may be handed on.
    public var redelegationCount: Int
    /// The trust that this one hands on; nil: none.
    public var redelegatedTrustID: String?
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A trust.
    public init(
        trustorID: String, trusteeID: String, projectID: String?, roleIDs: [String], isImpersonation: Bool,
        expires: Timestamp? = nil, remainingUses: Int? = nil, allowsRedelegation: Bool = false,
        redelegationCount: Int = 0, redelegatedTrustID: String? = nil
    ) {
        self.trustorID = trustorID
        self.trusteeID = trusteeID
        self.projectID = projectID
        self.roleIDs = roleIDs
        self.isImpersonation = isImpersonation
        self.expires = expires
        self.remainingUses = remainingUses
        self.allowsRedelegation = allowsRedelegation
        self.redelegationCount = redelegationCount
        self.redelegatedTrustID = redelegatedTrustID
    }
}
