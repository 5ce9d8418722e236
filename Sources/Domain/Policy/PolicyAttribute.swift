import Primitives

/// What a rule may ask of the caller, under the names that Keystone's rules use.
///
/// The list is closed: a rule that asks for another name is refused when it is loaded, because it could never hold.
public enum PolicyAttribute: String, Sendable, Hashable, CaseIterable {
    case userID = "user_id"
    case userDomainID = "user_domain_id"
    case projectID = "project_id"
    case projectDomainID = "project_domain_id"
    case domainID = "domain_id"
    case systemScope = "system_scope"
    case system
    case roles
    case isAdmin = "is_admin"
    case isAdminProject = "is_admin_project"
    case trustID = "trust_id"
    case trustorID = "trustor_id"
    case trusteeID = "trustee_id"
    case applicationCredentialID = "application_credential_id"
    case tokenUserID = "token.user.id"
    case tokenUserDomainID = "token.user.domain.id"
    case tokenProjectID = "token.project.id"
    case tokenProjectDomainID = "token.project.domain.id"
    case tokenDomainID = "token.domain.id"
    case tokenSystemAll = "token.system.all"
    case tokenRoleNames = "token.roles.name"
    case tokenApplicationCredentialID = "token.application_credential.id"

    /// What `who` has under this name; nil when the name is absent from such a token.
    ///
    /// As in Keystone, the short names are always there and null without a value, and those of `token.` are there only
    /// when the token's document has them.
    func value(of who: PolicyCredentials) -> JSONValue? {
        switch self {
        case .userID: Self.orNull(who.userID)
        case .userDomainID: Self.orNull(who.userDomainID)
        case .projectID: Self.orNull(who.projectID)
        case .projectDomainID: Self.orNull(who.projectDomainID)
        case .domainID: Self.orNull(who.domainID)
        case .systemScope: who.isSystemScoped ? .string("all") : .null
        case .system: who.isSystemScoped ? .string("all") : nil
        case .roles: .array(who.roles.map { .string($0) })
        case .isAdmin: .bool(false)
        case .isAdminProject: .bool(who.domainID == nil)
        case .trustID: Self.orNull(who.trustID)
        case .trustorID: Self.orNull(who.trustorID)
        case .trusteeID: Self.orNull(who.trusteeID)
        case .applicationCredentialID: Self.orNull(who.applicationCredentialID)
        case .tokenUserID: who.userID.map { .string($0) }
        case .tokenUserDomainID: who.userDomainID.map { .string($0) }
        case .tokenProjectID: who.projectID.map { .string($0) }
        case .tokenProjectDomainID: who.projectDomainID.map { .string($0) }
        case .tokenDomainID: who.domainID.map { .string($0) }
        case .tokenSystemAll: who.isSystemScoped ? .bool(true) : nil
        case .tokenRoleNames: who.roles.isEmpty ? nil : .array(who.roles.map { .string($0) })
        case .tokenApplicationCredentialID: who.applicationCredentialID.map { .string($0) }
        }
    }

    private static func orNull(_ text: String?) -> JSONValue {
        if let text { .string(text) } else { .null }
    }
}
