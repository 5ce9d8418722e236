import Primitives

/// Who asks, as rules see it (oslo.policy's credentials).
public struct PolicyCredentials: Sendable, Hashable {
    public var userID: String?
    public var userDomainID: String?
    /// The project that the token is scoped to.
    public var projectID: String?
    public var projectDomainID: String?
    /// The domain that the token is scoped to.
    public var domainID: String?
    /// Whether the token is scoped to the whole system.
    public var isSystemScoped: Bool
    /// Names of roles with the implied ones, compared without case.
    public var roles: [String]
    public var trustID: String?
    public var trustorID: String?
    public var trusteeID: String?
    public var applicationCredentialID: String?

    /// A caller with these attributes; nil where the token has none.
    public init(
        userID: String? = nil, userDomainID: String? = nil, projectID: String? = nil, projectDomainID: String? = nil,
        domainID: String? = nil, isSystemScoped: Bool = false, roles: [String] = [], trustID: String? = nil,
        trustorID: String? = nil, trusteeID: String? = nil, applicationCredentialID: String? = nil
    ) {
        self.userID = userID
        self.userDomainID = userDomainID
        self.projectID = projectID
        self.projectDomainID = projectDomainID
        self.domainID = domainID
        self.isSystemScoped = isSystemScoped
        self.roles = roles
        self.trustID = trustID
        self.trustorID = trustorID
        self.trusteeID = trusteeID
        self.applicationCredentialID = applicationCredentialID
    }

    /// What the token is scoped to; nil for an unscoped one.
    public var scope: PolicyScope? {
        if isSystemScoped { return .system }
        if domainID != nil { return .domain }
        return projectID == nil ? nil : .project
    }

    /// The attribute that rules call `name`, for example `token.domain.id`; nil when it is absent or unknown.
    public func attribute(_ name: String) -> JSONValue? {
        PolicyAttribute(rawValue: name)?.value(of: self)
    }
}

/// What a token can be scoped to. An unscoped token has none.
public enum PolicyScope: String, Sendable, Hashable, CaseIterable {
    case system, domain, project
}

/// What is acted upon: nested JSON, asked by dotted names such as `target.user.domain_id`.
public struct PolicyTarget: Sendable, Hashable {
    private let members: [String: JSONValue]

    /// A target with `members`, for example `["target": .object(["user": …]), "user_id": …]`.
    public init(_ members: [String: JSONValue] = [:]) {
        self.members = members
    }

    /// The member under a dotted name; nil when a step of it is missing.
    public subscript(dotted: String) -> JSONValue? { self[PolicyPath(dotted)] }

    subscript(path: PolicyPath) -> JSONValue? {
        guard let first = path.parts.first, var value = members[first] else { return nil }
        for part in path.parts.dropFirst() {
            guard let next = value[part] else { return nil }
            value = next
        }
        return value
    }
}
