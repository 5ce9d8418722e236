extension IdentityPolicy {
    /// Credentials of users: stored ones, EC2 keys, application credentials and their access rules.
    static let credentials: [PolicyRule] = [
        .identity("get_credential", .readers(ownCredential), scopes: .every, "Show a credential"),
        .identity("list_credentials", .readers(ownCredential), scopes: .every, "List credentials"),
        .identity("create_credential", .writers(ownCredential), scopes: .every, "Create a credential"),
        .identity("update_credential", .writers(ownCredential), scopes: .every, "Change a credential"),
        .identity("delete_credential", .writers(ownCredential), scopes: .every, "Delete a credential"),

        .identity("ec2_get_credential", .readers(ownCredential), scopes: .systemOrProject, "Show an EC2 key"),
        .identity("ec2_list_credentials", .readers(.owner), scopes: .systemOrProject, "List EC2 keys of a user"),
        .identity("ec2_create_credential", .writers(ownAsMember), scopes: .systemOrProject, "Create an EC2 key"),
        .identity("ec2_delete_credential", .writers(ownAsMember), scopes: .systemOrProject, "Delete an EC2 key"),

        .identity(
            "get_application_credential", .readers(.owner), scopes: .systemOrProject,
            "Show an application credential"),
        .identity(
            "list_application_credentials", .readers(.owner), scopes: .systemOrProject,
            "List application credentials of a user"),
        .identity(
            "create_application_credential", .userIs("user_id"), scopes: [.project],
            "Create an application credential"),
        .identity(
            "delete_application_credential", .rule("admin_or_owner"), scopes: .systemOrProject,
            "Delete an application credential"),

        .identity("get_access_rule", accessRules("reader"), scopes: .systemOrProject, "Show an access rule"),
        .identity("list_access_rules", accessRules("reader"), scopes: .systemOrProject, "List access rules of a user"),
        .identity("delete_access_rule", accessRules("admin"), scopes: .systemOrProject, "Delete an access rule"),
    ]

    private static let ownCredential = PolicyCheck.userIs("target.credential.user_id")
    private static let ownAsMember = PolicyCheck.all([.role("member"), ownCredential])

    /// The user's own, and all for `role` in the system; a project's administrator sees none of others.
    private static func accessRules(_ role: PolicyText) -> PolicyCheck {
        .any([.inSystem(role), .userIs("target.user.id")])
    }
}
