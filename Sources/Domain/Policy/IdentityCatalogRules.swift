extension IdentityPolicy {
    /// Regions, services and endpoints.
    static let catalog: [PolicyRule] = [
        .open("get_region", "Show a region"),
        .open("list_regions", "List regions"),
        .administrative("create_region", "Create a region"),
        .administrative("update_region", "Change a region"),
        .administrative("delete_region", "Delete a region"),
        .systemWide("get_service", "Show a service"),
        .systemWide("list_services", "List services"),
        .administrative("create_service", "Create a service"),
        .administrative("update_service", "Change a service"),
        .administrative("delete_service", "Delete a service"),
        .systemWide("get_endpoint", "Show an endpoint"),
        .systemWide("list_endpoints", "List endpoints"),
        .administrative("create_endpoint", "Create an endpoint"),
        .administrative("update_endpoint", "Change an endpoint"),
        .administrative("delete_endpoint", "Delete an endpoint"),
    ]

    /// Endpoints that only some projects see.
    static let endpointGroups: [PolicyRule] = [
        .administrative("create_endpoint_group", "Create an endpoint group"),
        .systemWide("list_endpoint_groups", "List endpoint groups"),
        .systemWide("get_endpoint_group", "Show an endpoint group"),
        .administrative("update_endpoint_group", "Change an endpoint group"),
        .administrative("delete_endpoint_group", "Delete an endpoint group"),
        .systemWide("list_projects_associated_with_endpoint_group", "List projects of an endpoint group"),
        .systemWide("list_endpoints_associated_with_endpoint_group", "List endpoints of an endpoint group"),
        .systemWide("get_endpoint_group_in_project", "Ask whether a project has an endpoint group"),
        .systemWide("list_endpoint_groups_for_project", "List endpoint groups of a project"),
        .administrative("add_endpoint_group_to_project", "Give a project an endpoint group"),
        .administrative("remove_endpoint_group_from_project", "Take an endpoint group from a project"),
        .systemWide("list_projects_for_endpoint", "List projects of an endpoint"),
        .administrative("add_endpoint_to_project", "Give a project an endpoint"),
        .systemWide("check_endpoint_in_project", "Ask whether a project has an endpoint"),
        .systemWide("list_endpoints_for_project", "List endpoints of a project"),
        .administrative("remove_endpoint_from_project", "Take an endpoint from a project"),
    ]
}
