extension IdentityPolicy {
    /// Domains and their configuration.
    static let domains: [PolicyRule] = [
        .identity(
            "get_domain",
            .readers(
                .domainTokenIs("target.domain.id"),
                .same(.attribute(.tokenProjectDomainID), .target("target.domain.id"))), scopes: .every,
            "Show a domain"),
        .identity(
            "list_domains", .readers(.inDomain("reader", of: "target.domain.id")), scopes: .every, "List domains"),
        .administrative("create_domain", "Create a domain"),
        .administrative("update_domain", "Change a domain"),
        .administrative("delete_domain", "Delete a domain"),
        .administrative("create_domain_config", "Create a domain's configuration"),
        .systemWide("get_domain_config", "Show a domain's configuration"),
        .open("get_security_compliance_domain_config", "Show a domain's password rules"),
        .administrative("update_domain_config", "Change a domain's configuration"),
        .administrative("delete_domain_config", "Delete a domain's configuration"),
        .systemWide("get_domain_config_default", "Show the configuration of domains without one"),
    ]
}
