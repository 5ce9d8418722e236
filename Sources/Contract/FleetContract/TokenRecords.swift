import CatalogIdentity
import Primitives
import ResourceModel

/// An operator's token, without the token.
public struct TokenRecord: Codable, Sendable, Hashable {
    /// The operator's name.
    public var name: String
    /// What its holder may do.
    public var role: OperatorRole
    /// When the operator was first given a token.
    public var created: Timestamp
    /// When it ends; nil: never.
    public var expires: Timestamp?
    /// When it last replaced another one; nil: never.
    public var rotated: Timestamp?
    /// Until when the one before is taken too; nil: it is not.
    public var previousEnds: Timestamp?
    /// When it was made void; nil: it is not.
    public var revoked: Timestamp?

    /// What operators may know of `token`.
    public init(_ token: OperatorToken) {
        name = token.metadata.name
        role = token.spec.role
        created = token.metadata.created
        expires = token.spec.expires
        rotated = token.status.rotated
        previousEnds = token.spec.previous?.ends
        revoked = token.status.revoked
    }
}

/// A new token, which is shown here and nowhere else.
public struct TokenReply: Codable, Sendable, Hashable {
    /// Whose it is.
    public var operatorName: String
    /// The token.
    public var token: String
    /// Until when the one before is taken too; nil: it is void.
    public var previousEnds: Timestamp?

    /// A new token.
    public init(operatorName: String, token: String, previousEnds: Timestamp? = nil) {
        self.operatorName = operatorName
        self.token = token
        self.previousEnds = previousEnds
    }
}

/// POST `tokens/{operator}`: makes a token for a new operator, or one whose token was revoked or has ended.
public struct CreateTokenRequest: Codable, Sendable, Hashable {
    /// What its holder may do.
    public var role: OperatorRole
    /// After how many seconds it ends, at least 1; nil: never.
    public var lifeSeconds: Int?

    /// A request.
    public init(role: OperatorRole, lifeSeconds: Int? = nil) {
        self.role = role
        self.lifeSeconds = lifeSeconds
    }

    /// The longest life that is not for ever: ten years.
    public static let lifeSecondsMax = 10 * 366 * 86_400
}

/// POST `tokens/{operator}/rotate`: makes another token, which replaces the one in force.
public struct RotateTokenRequest: Codable, Sendable, Hashable {
    /// For how many seconds the one before is taken too, at most seven days; nil: not at all.
    public var graceSeconds: Int?

    /// A request.
    public init(graceSeconds: Int? = nil) { self.graceSeconds = graceSeconds }
}
