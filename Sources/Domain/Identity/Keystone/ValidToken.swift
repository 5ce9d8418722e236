import CatalogIdentity
import Primitives

/// A token that is good, with what it gives as of one moment.
public struct ValidToken: Sendable {
    /// What is sealed in it.
    public let payload: TokenPayload
    /// Whose it is; of a trust with impersonation, the trustor.
    public let user: User
    /// The user's domain.
    public let userDomain: Project
    /// The project or domain where it is good; nil: it is the system's, or has no scope.
    public let scope: Project?
    /// The domain of the project; nil: the scope is none.
    public let scopeDomain: Project?
    /// In order of their names.
    public let roles: [UserRole]
    /// When the next membership of those that roles may come from ends; nil: none does.
    public let rolesEnd: Timestamp?
    /// The trust it is of.
    public let trust: Trust?
    /// The application credential it is of.
    public let applicationCredential: ApplicationCredential?
    /// The requests it may make; nil: all.
    public let accessRules: [AccessRule]?
}

/// Why a token is not good; callers are told no more than that it is not.
public enum TokenRefusal: UserFacingError, Hashable {
    /// It does not open.
    case unreadable(TokenError)
    /// Its time is over.
    case expired
    /// It, or all of its chain, was revoked.
    case revoked
    /// What it was made from is gone, off, or was changed so that it is void: this.
    case void(String)

    public var publicMessage: String { "The token is not valid; get a new one." }

    /// For logs.
    public var diagnostic: String {
        switch self {
        case .unreadable(let error): "the token does not open: \(error)"
        case .expired: "the token has expired"
        case .revoked: "the token was revoked"
        case .void(let what): "the token is void: \(what)"
        }
    }
}
