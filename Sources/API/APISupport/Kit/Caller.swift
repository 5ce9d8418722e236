import CatalogIdentity
import Identity
import Policy
import Primitives

/// Who makes a call.
public struct Caller: Sendable {
    /// As rules see it.
    public let credentials: PolicyCredentials
    /// For people, for example `admin`.
    public let name: String
    /// For logs and audit events.
    public let principal: Principal
    /// The token it came with; nil: it came with none.
    public let token: ValidToken?

    private init(credentials: PolicyCredentials, name: String, principal: Principal, token: ValidToken? = nil) {
        self.credentials = credentials
        self.name = name
        self.principal = principal
        self.token = token
    }

    /// The holder of a token.
    public init(_ token: ValidToken) {
        let place = token.payload.scope == .system ? "system" : token.scope?.spec.name
        let name = token.user.spec.name
        self.init(
            credentials: PolicyCredentials(token), name: name, principal: .user(name: name, place: place), token: token)
    }

    /// The holder of an operator's token, which counts as one of the system with the role that it was made for.
    public init(_ known: KnownOperator) {
        let credentials = PolicyCredentials(isSystemScoped: true, roles: [known.role.rawValue])
        self.init(credentials: credentials, name: known.name, principal: .operator(name: known.name))
    }

    /// Somebody who does not call, of whom it is asked whether they might.
    public init(asIf credentials: PolicyCredentials, name: String) {
        self.init(credentials: credentials, name: name, principal: .user(name: name, place: nil))
    }

    /// Who it is and with what, for refusals: `'ann' with the roles member, reader in the system`.
    var standing: String {
        let place =
            switch credentials.scope {
            case .system: " in the system"
            case .domain: " in a domain"
            case .project: " in a project"
            case nil: ""
            }
        let roles = credentials.roles.sorted().joined(separator: ", ")
        let words =
            switch credentials.roles.count {
            case 0: "without a role"
            case 1: "with the role \(roles)"
            default: "with the roles \(roles)"
            }
        return "'\(name)' \(words)\(place)".printable(limit: 400)
    }

    /// Somebody without a token.
    public static let anonymous = Caller(
        credentials: PolicyCredentials(), name: "anonymous", principal: .anonymous)
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
