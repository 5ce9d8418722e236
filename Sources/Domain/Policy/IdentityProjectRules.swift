extension IdentityPolicy {
    /// Projects and their tags.
    static let projects: [PolicyRule] = [
        .identity("get_project", projectReaders, scopes: .every, "Show a project"),
        .identity(
            "list_projects", .readers(.inDomain("reader", of: "target.domain_id")), scopes: .every, "List projects"),
        .identity(
            "list_user_projects",
            .readers(.inDomain("reader", of: "target.user.domain_id"), .userIs("target.user.id")), scopes: .every,
            "List projects of a user"),
        .identity("create_project", projectManagers, scopes: .every, "Create a project"),
        .identity("update_project", projectManagers, scopes: .every, "Change a project"),
        .identity("delete_project", projectManagers, scopes: .every, "Delete a project"),
        .identity("list_project_tags", projectReaders, scopes: .every, "List tags of a project"),
        .identity("get_project_tag", projectReaders, scopes: .every, "Ask whether a project has a tag"),
        .identity("update_project_tags", projectManagers, scopes: .every, "Replace tags of a project"),
        .identity("create_project_tag", projectManagers, scopes: .every, "Add a tag to a project"),
        .identity("delete_project_tags", projectManagers, scopes: .every, "Take all tags from a project"),
        .identity("delete_project_tag", projectManagers, scopes: .every, "Take a tag from a project"),
    ]

    private static let projectReaders = PolicyCheck.readers(inItsDomain("reader"), .projectIs("target.project.id"))
    private static let projectManagers = PolicyCheck.writers(inItsDomain("manager"))

    /// A project that acts as a domain is in none, and null must not match the null of a token without a domain.
    private static func inItsDomain(_ role: PolicyText) -> PolicyCheck {
        .all([.inDomain(role, of: "target.project.domain_id"), .not(.isNull("target.project.domain_id"))])
    }
}
