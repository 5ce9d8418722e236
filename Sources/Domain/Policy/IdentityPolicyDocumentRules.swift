extension IdentityPolicy {
    /// Stored policy documents and what they are for.
    static let policyDocuments: [PolicyRule] =
        [
            .systemWide("get_policy", "Show a policy document"),
            .systemWide("list_policies", "List policy documents"),
            .administrative("create_policy", "Create a policy document"),
            .administrative("update_policy", "Change a policy document"),
            .administrative("delete_policy", "Delete a policy document"),
            .systemWide("get_policy_for_endpoint", "Show the policy document of an endpoint"),
            .systemWide("list_endpoints_for_policy", "List endpoints of a policy document"),
        ] + ["endpoint", "service", "region_and_service"].flatMap(associations)

    private static func associations(with what: String) -> [PolicyRule] {
        let words = what.split(separator: "_").joined(separator: " ")
        return [
            .administrative("create_policy_association_for_\(what)", "Set a policy document for a \(words)"),
            .systemWide("check_policy_association_for_\(what)", "Ask whether a policy document is for a \(words)"),
            .administrative("delete_policy_association_for_\(what)", "Unset a policy document for a \(words)"),
        ]
    }
}
