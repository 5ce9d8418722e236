import CatalogIdentity
import Identity
import Policy

/// Who makes a call.
public struct Caller: Sendable {
    /// As rules see it.
    public let credentials: PolicyCredentials
    /// For logs and audit events.
    public let principal: Principal
    /// The token it came with; nil: it came with none.
    public let token: ValidToken?

    /// The holder of a token.
    public init(_ token: ValidToken) {
        credentials = PolicyCredentials(token)
        principal = .user(
            name: token.user.spec.name, place: token.payload.scope == .system ? "system" : token.scope?.spec.name)
        self.token = token
    }

    private init() {
        credentials = PolicyCredentials()
        principal = .anonymous
        token = nil
    }

    /// Somebody without a token.
    public static let anonymous = Caller()
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
