import Primitives

/// A role (Keystone API v3, "Roles").
public typealias UserRole = IdentityEntry<RoleSpec>

/// What a role is.
public struct RoleSpec: IdentitySpec {
    public static let kind = "identity.role"

    /// Unique in the domain, or among the roles of no domain.
    public var name: String
    /// The domain that it is of; nil: it is everybody's.
    public var domainID: String?
    /// For people; nil: never given.
    public var description: String?
    /// Whether it cannot be changed or deleted (`options.immutable`); nil: it was never said.
    public var isImmutable: Bool?
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A role.
    public init(name: String, domainID: String? = nil) {
        self.name = name
        self.domainID = domainID
    }
}

/// That who has one role has another too; the name joins both.
public typealias RoleImplication = IdentityEntry<RoleImplicationSpec>

/// Which role implies which.
public struct RoleImplicationSpec: IdentitySpec {
    public static let kind = "identity.implication"

    /// The role that somebody has.
    public var priorID: String
    /// The role that comes with it.
    public var impliedID: String

    /// An implication.
    public init(priorID: String, impliedID: String) {
        self.priorID = priorID
        self.impliedID = impliedID
    }

    /// The resource's name.
    public var name: String { CatalogName.joining(priorID, impliedID) }
}
