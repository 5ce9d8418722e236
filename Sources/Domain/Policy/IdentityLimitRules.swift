extension IdentityPolicy {
    /// Limits: registered defaults, and those of projects and domains.
    static let limits: [PolicyRule] = [
        .open("get_limit_model", "Show how limits are enforced"),
        .identity(
            "get_limit",
            .readers(
                .domainIs("target.limit.domain.id"), .domainIs("target.limit.project.domain_id"),
                .all([.projectIs("target.limit.project_id"), .not(.isNull("target.limit.project_id"))])),
            scopes: .every, "Show a limit"),
        .open("list_limits", "List limits, each caller its own"),
        .administrative("create_limits", "Create limits"),
        .administrative("update_limit", "Change a limit"),
        .administrative("delete_limit", "Delete a limit"),
        .open("get_registered_limit", "Show a registered limit"),
        .open("list_registered_limits", "List registered limits"),
        .administrative("create_registered_limits", "Create registered limits"),
        .administrative("update_registered_limit", "Change a registered limit"),
        .administrative("delete_registered_limit", "Delete a registered limit"),
    ]
}
