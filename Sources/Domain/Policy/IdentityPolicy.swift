/// The rules of the identity API (Keystone v3): who may do what before an operator overrides anything.
///
/// Names and meaning are the API's contract. A rule allows and denies exactly as Keystone 30's rule of that name with
/// `enforce_scope` and `enforce_new_defaults` on.
public enum IdentityPolicy {
    /// Every rule, those that others refer to first.
    public static let defaults: [PolicyRule] = [
        shared, tokens, users, credentials, groups, projects, domains, grants, roles, catalog, endpointGroups, limits,
        policyDocuments, trusts, oauth, federation,
    ].flatMap(\.self)

    /// Rules that other rules refer to, and that an override can change for all of them at once.
    static let shared: [PolicyRule] = [
        PolicyRule(
            "admin_required", .any([.role("admin"), .same(.attribute(.isAdmin), "1")]), summary: "Administrators"),
        PolicyRule("service_role", .role("service"), summary: "Other services"),
        PolicyRule("service_or_admin", .any([.admin, .rule("service_role")]), summary: "Services and administrators"),
        PolicyRule("owner", .userIs("user_id"), summary: "The user in the path"),
        PolicyRule("admin_or_owner", .any([.admin, .owner]), summary: "Administrators and the user in the path"),
        PolicyRule("token_subject", .userIs("target.token.user_id"), summary: "The user of the subject token"),
        PolicyRule(
            "admin_or_token_subject", .any([.admin, .rule("token_subject")]),
            summary: "Administrators and the user of the subject token"),
        PolicyRule(
            "service_admin_or_token_subject", .any([.rule("service_or_admin"), .rule("token_subject")]),
            summary: "Services, administrators and the user of the subject token"),
        PolicyRule(
            "domain_managed_target_role",
            .any(["manager", "member", "reader"].map { .same(.text($0), .target("target.role.name")) }),
            summary: "Roles that managers of a domain may see and give"),
    ]
}

extension PolicyRule {
    /// A rule `identity:name`; without `scopes` it takes tokens of any.
    static func identity(
        _ name: String, _ check: PolicyCheck, scopes: Set<PolicyScope> = [], _ summary: String
    ) -> PolicyRule {
        PolicyRule("identity:" + name, check, scopes: scopes, summary: summary)
    }

    /// What concerns the whole system and only administrators do.
    static func administrative(_ name: String, _ summary: String) -> PolicyRule {
        identity(name, .admin, scopes: .systemOrProject, summary)
    }

    /// What concerns the whole system and its readers may see.
    static func systemWide(_ name: String, _ summary: String) -> PolicyRule {
        identity(name, .adminOrSystemReader, scopes: .systemOrProject, summary)
    }

    /// What everybody with a token may do.
    static func open(_ name: String, _ summary: String) -> PolicyRule {
        identity(name, .always, scopes: .every, summary)
    }
}

extension Set<PolicyScope> {
    static let every: Set = [.system, .domain, .project]
    static let systemOrProject: Set = [.system, .project]
}
