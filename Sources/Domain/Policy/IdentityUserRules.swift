extension IdentityPolicy {
    /// Users.
    static let users: [PolicyRule] = [
        .identity(
            "get_user",
            .readers(
                .all([.role("reader"), .domainTokenIs("target.user.domain_id")]), .userIs("target.user.id")),
            scopes: .every, "Show a user"),
        .identity(
            "list_users", .readers(.inDomain("reader", of: "target.domain_id")), scopes: .every, "List users"),
        .identity("list_projects_for_user", .always, "List projects of a user (no route)"),
        .identity("list_domains_for_user", .always, "List domains of a user (no route)"),
        .identity("create_user", usersManager, scopes: .every, "Create a user"),
        .identity("update_user", usersManager, scopes: .every, "Change a user"),
        .identity("delete_user", usersManager, scopes: .every, "Delete a user"),
        .identity(
            "revoke_tokens_for_user", .rule("admin_or_owner"), scopes: .every, "Revoke all tokens of a user"),
    ]

    private static let usersManager = PolicyCheck.writers(
        .all([.role("manager"), .domainTokenIs("target.user.domain_id")]))
}
