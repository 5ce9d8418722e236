extension IdentityPolicy {
    /// Roles of users and groups on projects, domains and the system.
    static let grants: [PolicyRule] = [
        .identity(
            "check_grant", .readers(.all([.role("reader"), actorAndPlace, roleOfDomainOrGlobal])), scopes: .every,
            "Ask for a grant"),
        .identity(
            "list_grants", .readers(.all([.role("reader"), actorAndPlace])), scopes: .every, "List grants"),
        .identity("create_grant", grantors, scopes: .every, "Give a role"),
        .identity("revoke_grant", grantors, scopes: .every, "Take a role back"),
        .systemWide("list_system_grants_for_user", "List a user's roles in the system"),
        .systemWide("check_system_grant_for_user", "Ask for a user's role in the system"),
        .administrative("create_system_grant_for_user", "Give a user a role in the system"),
        .administrative("revoke_system_grant_for_user", "Take a user's role in the system back"),
        .systemWide("list_system_grants_for_group", "List a group's roles in the system"),
        .systemWide("check_system_grant_for_group", "Ask for a group's role in the system"),
        .administrative("create_system_grant_for_group", "Give a group a role in the system"),
        .administrative("revoke_system_grant_for_group", "Take a group's role in the system back"),
        .identity("list_role_assignments", assignmentReaders, scopes: .every, "List role assignments"),
        .identity(
            "list_role_assignments_for_tree", assignmentReaders, scopes: .every,
            "List role assignments of a tree of projects"),
    ]

    /// User or group, and project or domain, are of the token's domain.
    private static let actorAndPlace = PolicyCheck.all([
        .any([.domainIs("target.user.domain_id"), .domainIs("target.group.domain_id")]),
        .any([.domainIs("target.project.domain_id"), .domainIs("target.domain.id")]),
    ])

    private static let roleOfDomainOrGlobal = PolicyCheck.any([
        .domainIs("target.role.domain_id"), .isNull("target.role.domain_id"),
    ])

    /// A domain's administrators give all its roles and the global ones, its managers some of the latter.
    private static let grantors = PolicyCheck.writers(
        .all([.role("admin"), actorAndPlace, roleOfDomainOrGlobal]),
        .all([.role("manager"), actorAndPlace, .rule("domain_managed_target_role")]))

    private static let assignmentReaders = PolicyCheck.readers(
        .all([.inDomain("reader", of: "target.domain_id"), .not(.isNull("target.domain_id"))]))
}
