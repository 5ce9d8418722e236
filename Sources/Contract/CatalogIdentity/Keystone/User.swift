import Primitives

/// Somebody who can be authenticated (Keystone API v3, "Users").
public typealias User = IdentityEntry<UserSpec>

/// What a user is.
public struct UserSpec: IdentitySpec {
    public static let kind = "identity.user"

    /// Unique in the domain.
    public var name: String
    /// The domain it is in.
    public var domainID: String
    /// Whether it may work.
    public var isEnabled = true
    /// For people; nil: never given.
    public var description: String?
    /// The project of tokens for which no scope was asked.
    public var defaultProjectID: String?
    /// Rules that are different for this user, as given (`options`).
    public var options: [String: JSONValue]?
    /// The password and those before it, the newest last.
    public var passwords: [Password] = []
    /// Who it is at identity providers.
    public var federated: [FederatedIdentity]?
    /// Tokens that were issued before are void.
    public var tokensFrom: Timestamp?
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// One password of a user; of older ones only the digest is of use.
    public struct Password: Codable, Sendable, Hashable {
        /// The password's hash with its salt and costs, as passlib writes it.
        public var hash: String
        /// When it was set.
        public var created: Timestamp
        /// When it ends; nil: never.
        public var expires: Timestamp?
        /// Whether the user has set it, and no administrator.
        public var isOwn: Bool

        /// A password.
        public init(hash: String, created: Timestamp, expires: Timestamp? = nil, isOwn: Bool = false) {
            self.hash = hash
            self.created = created
            self.expires = expires
            self.isOwn = isOwn
        }
    }

    /// Who a user is at an identity provider.
    public struct FederatedIdentity: Codable, Sendable, Hashable {
        /// The provider.
        public var provider: String
        /// The protocol there.
        public var protocolID: String
        /// The name that the provider gives, unique there.
        public var uniqueID: String

        /// An identity.
        public init(provider: String, protocolID: String, uniqueID: String) {
            self.provider = provider
            self.protocolID = protocolID
            self.uniqueID = uniqueID
        }
    }

    /// A user without password.
    public init(name: String, domainID: String) {
        self.name = name
        self.domainID = domainID
    }
}

/// What a user's logins have left; apart from the user, so that failures do not hinder changes.
public typealias LoginRecord = IdentityEntry<LoginRecordSpec>

/// A user's logins; the resource's name is the user's identifier.
public struct LoginRecordSpec: IdentitySpec {
    public static let kind = "identity.login"

    /// Wrong passwords since the last right one.
    public var failureCount = 0
    /// When the last one came.
    public var failed: Timestamp?
    /// The day of the last right one.
    public var active: Timestamp?
    /// The last time step whose one-time password was taken; none of it or before is again (RFC 6238 section 5.2).
    public var passcodeStep: Int64?

    /// None yet.
    public init() {}
}
