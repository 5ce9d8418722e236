import Primitives

/// Users who are given roles together (Keystone API v3, "Groups").
public typealias Group = IdentityEntry<GroupSpec>

/// What a group is.
public struct GroupSpec: IdentitySpec {
    public static let kind = "identity.group"

    /// Unique in the domain.
    public var name: String
    /// The domain it is in.
    public var domainID: String
    /// For people.
    public var description = ""
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A group.
    public init(name: String, domainID: String) {
        self.name = name
        self.domainID = domainID
    }
}

/// That a user is in a group; the name joins both.
public typealias Membership = IdentityEntry<MembershipSpec>

/// Who is in what.
public struct MembershipSpec: IdentitySpec {
    public static let kind = "identity.membership"

    /// The group.
    public var groupID: String
    /// The user.
    public var userID: String
    /// When it ends, for members that an identity provider has named; nil: never.
    public var expires: Timestamp?

    /// A membership.
    public init(groupID: String, userID: String) {
        self.groupID = groupID
        self.userID = userID
    }

    /// The resource's name.
    public var name: String { CatalogName.joining(groupID, userID) }
}
