extension IdentityPolicy {
    /// Trusts: what one user lets another do in their name.
    static let trusts: [PolicyRule] = [
        .identity("create_trust", trustor, scopes: [.project], "Create a trust"),
        .systemWide("list_trusts", "List all trusts"),
        .identity("list_trusts_for_trustor", .readers(trustor), scopes: .systemOrProject, "List trusts of a trustor"),
        .identity("list_trusts_for_trustee", .readers(trustee), scopes: .systemOrProject, "List trusts of a trustee"),
        .identity("list_roles_for_trust", parties, scopes: .systemOrProject, "List roles of a trust"),
        .identity("get_role_for_trust", parties, scopes: .systemOrProject, "Show a role of a trust"),
        .identity("delete_trust", .writers(trustor), scopes: .systemOrProject, "Delete a trust"),
        .identity("get_trust", parties, scopes: .systemOrProject, "Show a trust"),
    ]

    private static let trustor = PolicyCheck.userIs("target.trust.trustor_user_id")
    private static let trustee = PolicyCheck.userIs("target.trust.trustee_user_id")
    private static let parties = PolicyCheck.readers(trustor, trustee)
}
