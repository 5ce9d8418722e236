import Primitives

/// A credential that is kept for a user (Keystone API v3, "Credentials"); its blob is the secret `secretName`.
public typealias Credential = IdentityEntry<CredentialSpec>

/// What a credential is.
public struct CredentialSpec: IdentitySpec {
    public static let kind = "identity.credential"

    /// Whose it is.
    public var userID: String
    /// For which project; nil: none.
    public var projectID: String?
    /// `ec2`, `totp`, `cert` or anything else.
    public var type: String
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A credential.
    public init(userID: String, type: String, projectID: String? = nil) {
        self.userID = userID
        self.type = type
        self.projectID = projectID
    }

    /// The name of the secret that its blob is.
    public static func secretName(_ id: String) -> String { "credential." + CatalogName.of(id) }

    /// The identifier of the EC2 credential with this access key: its SHA-256.
    public static func id(ofAccessKey access: String) -> String { CatalogName.digest(of: access) }
}

/// A secret with a part of a user's roles in one project (Keystone API v3, "Application credentials").
public typealias ApplicationCredential = IdentityEntry<ApplicationCredentialSpec>

/// What an application credential is.
public struct ApplicationCredentialSpec: IdentitySpec {
    public static let kind = "identity.appcredential"

    /// Whose it is.
    public var userID: String
    /// The project of its tokens.
    public var projectID: String
    /// Unique among the user's.
    public var name: String
    /// For people; nil: never given.
    public var description: String?
    /// The secret's hash.
    public var hash: String
    /// The roles of its tokens, identifiers.
    public var roleIDs: [String]
    /// When it ends; nil: never.
    public var expires: Timestamp?
    /// The end as it was given, which may be finer than the clock here.
    public var expiresText: String?
    /// Whether its tokens may make further ones and trusts.
    public var isUnrestricted: Bool
    /// The requests that its tokens may make; nil: all.
    public var accessRuleIDs: [String]?

    /// An application credential.
    public init(
        userID: String, projectID: String, name: String, description: String? = nil, hash: String, roleIDs: [String],
        expires: Timestamp? = nil, isUnrestricted: Bool = false, accessRuleIDs: [String]? = nil
    ) {
        self.userID = userID
        self.projectID = projectID
        self.name = name
        self.description = description
        self.hash = hash
        self.roleIDs = roleIDs
        self.expires = expires
        self.isUnrestricted = isUnrestricted
        self.accessRuleIDs = accessRuleIDs
    }
}

/// Requests that an application credential may be bounded to.
public typealias AccessRule = IdentityEntry<AccessRuleSpec>

/// What an access rule is.
public struct AccessRuleSpec: IdentitySpec {
    public static let kind = "identity.accessrule"

    /// Whose it is.
    public var userID: String
    /// The service's type.
    public var service: String
    /// The HTTP method.
    public var method: String
    /// The path, with `*`, `**` and `{name}` in the place of parts.
    public var path: String

    /// An access rule.
    public init(userID: String, service: String, method: String, path: String) {
        self.userID = userID
        self.service = service
        self.method = method
        self.path = path
    }
}
