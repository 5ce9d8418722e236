import Primitives

/// A project, or a domain, which is a project that holds others (Keystone API v3, "Projects", "Domains").
public typealias Project = IdentityEntry<ProjectSpec>

/// What a project or a domain is.
public struct ProjectSpec: IdentitySpec {
    public static let kind = "identity.project"

    /// Unique among the domain's projects; of domains, among all domains.
    public var name: String
    /// The domain it is in; nil: it is a domain itself.
    public var domainID: String?
    /// The project or domain above; nil for domains.
    public var parentID: String?
    /// Whether anybody may work in it.
    public var isEnabled = true
    /// For people; nil: never given.
    public var description: String?
    /// Unique words in order.
    public var tags: [String] = []
    /// Whether it cannot be changed or deleted (`options.immutable`); nil: it was never said.
    public var isImmutable: Bool?
    /// Tokens that were issued before are void.
    public var tokensFrom: Timestamp?
    /// It is being deleted, together with all that is in it, since then; nobody sees it any more.
    public var deleting: Timestamp?
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A project in a domain, or a domain.
    public init(name: String, domainID: String?, parentID: String?) {
        self.name = name
        self.domainID = domainID
        self.parentID = parentID
    }

    /// Whether it is a domain.
    public var isDomain: Bool { domainID == nil }
}
