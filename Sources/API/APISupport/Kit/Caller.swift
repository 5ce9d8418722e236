import CatalogIdentity
import Identity
import Policy

/// Who makes a call.
public struct Caller: Sendable {
    /// As rules see it.
    public let credentials: PolicyCredentials
    /// For logs and audit events, for example `admin`.
    public let name: String
    /// The token it came with; nil: it came with none.
    public let token: ValidToken?

    private init(credentials: PolicyCredentials, name: String, token: ValidToken?) {
        self.credentials = credentials
        self.name = name
        self.token = token
    }

    /// The holder of a token.
    public init(_ token: ValidToken) {
        self.init(credentials: PolicyCredentials(token), name: token.user.spec.name, token: token)
    }

    /// Somebody without a token.
    public static let anonymous = Caller(credentials: PolicyCredentials(), name: "anonymous", token: nil)
}

extension PolicyCredentials {
    /// Who a token makes of its holder.
    init(_ token: ValidToken) {
        self.init(
            userID: token.user.id, userDomainID: token.user.spec.domainID, roles: token.roles.map(\.spec.name),
            trustID: token.trust?.id, trustorID: token.trust?.spec.trustorID, trusteeID: token.trust?.spec.trusteeID,
            applicationCredentialID: token.applicationCredential?.id)
        switch token.payload.scope {
        case .project:
            projectID = token.scope?.id
            projectDomainID = token.scopeDomain?.id
        case .domain: domainID = token.scope?.id
        case .system: isSystemScoped = true
        case .unscoped: break
        }
    }
}
