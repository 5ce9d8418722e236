extension IdentityPolicy {
    /// OAuth 1 consumers and what users let them do.
    static let oauth: [PolicyRule] = [
        .systemWide("get_consumer", "Show a consumer"),
        .systemWide("list_consumers", "List consumers"),
        .administrative("create_consumer", "Create a consumer"),
        .administrative("update_consumer", "Change a consumer"),
        .administrative("delete_consumer", "Delete a consumer"),
        .identity("authorize_request_token", .admin, scopes: [.project], "Authorize a request token"),
        .identity("get_access_token", .admin, scopes: [.project], "Show an access token"),
        .identity("get_access_token_role", .admin, scopes: [.project], "Show a role of an access token"),
        .identity("list_access_tokens", .admin, scopes: [.project], "List access tokens of a user"),
        .identity("list_access_token_roles", .admin, scopes: [.project], "List roles of an access token"),
        .identity("delete_access_token", .admin, scopes: [.project], "Delete an access token"),
    ]

    /// Identity providers, their protocols and mappings, and service providers.
    static let federation: [PolicyRule] =
        registry("identity_provider", "an identity provider", "identity providers")
        + registry("protocol", "a protocol", "protocols of an identity provider")
        + registry("mapping", "a mapping", "mappings")
        + registry("service_provider", "a service provider", "service providers")

    private static func registry(_ what: String, _ one: String, _ many: String) -> [PolicyRule] {
        [
            .administrative("create_\(what)", "Create \(one)"),
            .systemWide("list_\(what)s", "List \(many)"),
            .systemWide("get_\(what)", "Show \(one)"),
            .administrative("update_\(what)", "Change \(one)"),
            .administrative("delete_\(what)", "Delete \(one)"),
        ]
    }
}
