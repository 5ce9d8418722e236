extension IdentityPolicy {
    /// Groups and who is in them.
    static let groups: [PolicyRule] = [
        .identity("get_group", groupReaders, scopes: .every, "Show a group"),
        .identity("list_groups", groupReaders, scopes: .every, "List groups"),
        .identity(
            "list_groups_for_user",
            .readers(.inDomain("reader", of: "target.user.domain_id"), .userIs("user_id")), scopes: .every,
            "List groups of a user"),
        .identity("create_group", groupManagers, scopes: .every, "Create a group"),
        .identity("update_group", groupManagers, scopes: .every, "Change a group"),
        .identity("delete_group", groupManagers, scopes: .every, "Delete a group"),
        .identity("list_users_in_group", groupReaders, scopes: .every, "List users of a group"),
        .identity("remove_user_from_group", membershipManagers, scopes: .every, "Take a user out of a group"),
        .identity(
            "check_user_in_group",
            .readers(.inDomain("reader", of: "target.group.domain_id", "target.user.domain_id")), scopes: .every,
            "Ask whether a user is in a group"),
        .identity("add_user_to_group", membershipManagers, scopes: .every, "Put a user into a group"),
    ]

    private static let groupReaders = PolicyCheck.readers(.inDomain("reader", of: "target.group.domain_id"))
    private static let groupManagers = PolicyCheck.writers(.inDomain("manager", of: "target.group.domain_id"))
    private static let membershipManagers = PolicyCheck.writers(
        .inDomain("manager", of: "target.group.domain_id", "target.user.domain_id"))
}
