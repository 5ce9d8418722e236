extension IdentityPolicy {
    /// Roles and what they imply.
    static let roles: [PolicyRule] = [
        .identity(
            "get_role", .readers(.all([.role("manager"), .rule("domain_managed_target_role")])), scopes: .every,
            "Show a role"),
        .identity(
            "list_roles", .readers(.all([.role("manager"), .not(.same(.attribute(.domainID), .null))])),
            scopes: .every, "List roles"),
        .administrative("create_role", "Create a role"),
        .administrative("update_role", "Change a role"),
        .administrative("delete_role", "Delete a role"),
        .systemWide("get_domain_role", "Show a role of a domain"),
        .systemWide("list_domain_roles", "List roles of a domain"),
        .administrative("create_domain_role", "Create a role of a domain"),
        .administrative("update_domain_role", "Change a role of a domain"),
        .administrative("delete_domain_role", "Delete a role of a domain"),
        .systemWide("get_implied_role", "Show what a role implies"),
        .systemWide("list_implied_roles", "List what a role implies"),
        .administrative("create_implied_role", "Let a role imply another"),
        .administrative("delete_implied_role", "Let a role no longer imply another"),
        .systemWide("list_role_inference_rules", "List which roles imply which"),
        .systemWide("check_implied_role", "Ask whether a role implies another"),
    ]
}
