extension IdentityPolicy {
    /// Tokens, and what a token says about its holder.
    static let tokens: [PolicyRule] = [
        .identity("get_auth_catalog", .always, "The catalog for the token's project"),
        .identity("get_auth_projects", .always, "Projects that the holder can scope to"),
        .identity("get_auth_domains", .always, "Domains that the holder can scope to"),
        .identity("get_auth_system", .always, "Whether the holder can scope to the system"),
        .identity("check_token", .readers(.rule("token_subject")), scopes: .every, "Ask whether a token is valid"),
        .identity(
            "validate_token", .readers(.rule("service_role"), .rule("token_subject")), scopes: .every,
            "Read a token"),
        .identity("revoke_token", .writers(.rule("token_subject")), scopes: .every, "Revoke a token"),
        .identity("s3tokens_validate", .rule("service_or_admin"), scopes: .every, "Verify an S3 signature"),
        .identity("ec2tokens_validate", .rule("service_or_admin"), scopes: .every, "Verify an EC2 signature"),
        .identity(
            "list_revoke_events", .rule("service_or_admin"), scopes: .systemOrProject, "List revocations of tokens"),
        .identity(
            "revocation_list", .rule("service_or_admin"), scopes: .systemOrProject, "List revoked tokens (no route)"),
    ]
}
