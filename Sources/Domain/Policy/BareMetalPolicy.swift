/// The rules of the bare-metal API (Ironic v1): who may do what before an operator overrides anything.
///
/// Names and meaning are the API's contract: a rule allows and denies as Ironic 39's rule of that name with
/// `enforce_scope` and `enforce_new_defaults` on, but that the service role counts in the whole system only, not in a
/// project of a name. A node is of its owner's project and lent to its lessee's.
public enum BareMetalPolicy {
    /// Every rule.
    public static let defaults: [PolicyRule] =
        nodes + updates + orders + traits + ports + drivers + chassis
        + conductors

    private static let nodes: [PolicyRule] = [
        .bareMetal("node:list", .any([.role("reader"), .role("service")]), "List nodes of one's own project"),
        .bareMetal("node:list_all", .systemReaders, "List all nodes"),
        .bareMetal("node:get", .any([.systemReaders, .ofProject("reader"), .ownersService]), "Show a node"),
        .bareMetal("node:get:filter_threshold", .systemReaders, "See nodes without anything left out"),
        .bareMetal("node:get:last_error", .ownersReaders, "See a node's last error"),
        .bareMetal("node:get:reservation", .ownersReaders, "See who works on a node"),
        .bareMetal("node:get:driver_internal_info", .ownersReaders, "See a driver's notes of a node"),
        .bareMetal("node:get:driver_info", .ownersReaders, "See how a node's BMC is reached"),
        .bareMetal("node:create", .any([.inSystem("admin"), .inSystem("service")]), "Make a node"),
        .bareMetal(
            "node:create:self_owned_node", .any([.role("admin"), .role("service")]), "Make a node of one's own project"),
        .bareMetal("node:delete", .inSystem("admin"), "Delete a node"),
        .bareMetal("node:delete:self_owned_node", .ofOwner("admin"), "Delete a node of one's own project"),
    ]

    private static let updates: [PolicyRule] = [
        .bareMetal("node:update", .any([.systemMembers, .ofProject("member"), .systemService]), "Change a node"),
        .bareMetal(
            "node:update_extra", .any([.systemMembers, .ofProject("member"), .systemService]), "Change a node's extra"),
        .bareMetal("node:update_instance_info", .membersAndLesseeAdmins, "Change a node's instance_info"),
        .bareMetal("node:update_owner_provisioned", .inSystem("admin"), "Change the owner of a node in use"),
        .bareMetal("node:update:driver_info", .ownersMembers, "Change how a node's BMC is reached"),
        .bareMetal("node:update:properties", .ownersMembers, "Change a node's properties"),
        .bareMetal("node:update:chassis_uuid", .inSystem("admin"), "Change a node's chassis"),
        .bareMetal("node:update:instance_uuid", .ownersMembers, "Change a node's instance"),
        .bareMetal("node:update:lessee", .ownersMembers, "Change a node's lessee"),
        .bareMetal("node:update:owner", .systemMembers, "Change a node's owner"),
        .bareMetal("node:update:driver_interfaces", .ownersAdmins, "Change a node's driver and interfaces"),
        .bareMetal("node:update:network_data", .ownersMembers, "Change a node's network data"),
        .bareMetal("node:update:conductor_group", .systemMembers, "Change a node's conductor group"),
        .bareMetal("node:update:name", .ownersMembers, "Change a node's name"),
        .bareMetal("node:update:retired", .ownersMembers, "Retire a node"),
        .bareMetal("node:update:shard", .inSystem("admin"), "Change a node's shard"),
        .bareMetal("node:update:parent_node", .systemMembers, "Change a node's parent"),
        .bareMetal("node:update:disable_power_off", .inSystem("admin"), "Forbid that a node is switched off"),
        .bareMetal("node:disable_cleaning", .inSystem("admin"), "Switch a node's automated cleaning off"),
    ]

    private static let orders: [PolicyRule] = [
        .bareMetal("node:validate", .membersAndLesseeAdmins, "Ask whether a node is complete"),
        .bareMetal("node:set_maintenance", .membersAndLesseeAdmins, "Begin a node's maintenance"),
        .bareMetal("node:clear_maintenance", .membersAndLesseeAdmins, "End a node's maintenance"),
        .bareMetal("node:get_states", .projectsReaders, "Show a node's states"),
        .bareMetal(
            "node:set_power_state", .any([.systemMembers, .ofProject("member"), .systemService]), "Switch a node"),
        .bareMetal("node:set_provision_state", .membersAndLesseeAdmins, "Provision a node"),
    ]

    private static let traits: [PolicyRule] = [
        .bareMetal("node:traits:list", .projectsReaders, "List a node's traits"),
        .bareMetal("node:traits:set", .ownersAdmins, "Give a node traits"),
        .bareMetal("node:traits:delete", .ownersAdmins, "Take traits from a node"),
    ]

    private static let ports: [PolicyRule] = [
        .bareMetal("port:get", .projectsReaders, "Show a port"),
        .bareMetal("port:list", .any([.role("reader"), .role("service")]), "List ports of one's own project"),
        .bareMetal("port:list_all", .systemReaders, "List all ports"),
        .bareMetal(
            "port:create",
            .any([.inSystem("admin"), .systemService, .ofOwner("admin"), .ofOwner("manager"), .ownersService]),
            "Make a port"),
        .bareMetal("port:update", .ownersAdmins, "Change a port"),
        .bareMetal("port:delete", .ownersAdmins, "Delete a port"),
    ]

    private static let drivers: [PolicyRule] = [
        .bareMetal("driver:get", .systemReaders, "Show drivers")
    ]

    private static let conductors: [PolicyRule] = [
        .bareMetal("conductor:get", .systemReaders, "Show conductors")
    ]

    private static let chassis: [PolicyRule] = [
        .bareMetal("chassis:get", .systemReaders, "Show chassis"),
        .bareMetal("chassis:create", .inSystem("admin"), "Make a chassis"),
        .bareMetal("chassis:update", .systemMembers, "Change a chassis"),
        .bareMetal("chassis:delete", .inSystem("admin"), "Delete a chassis"),
    ]
}

extension PolicyRule {
    /// A rule `baremetal:name` for tokens of the system or a project.
    fileprivate static func bareMetal(_ name: String, _ check: PolicyCheck, _ summary: String) -> PolicyRule {
        PolicyRule("baremetal:" + name, check, scopes: .systemOrProject, summary: summary)
    }
}

/// The checks that these rules are composed of.
extension PolicyCheck {
    /// A role in the project that owns the node.
    fileprivate static func ofOwner(_ role: PolicyText) -> PolicyCheck {
        all([.role(role), .projectIs("node.owner")])
    }

    /// A role in the project that the node is lent to.
    fileprivate static func ofLessee(_ role: PolicyText) -> PolicyCheck {
        all([.role(role), .projectIs("node.lessee")])
    }

    /// A role in the project that owns the node or that it is lent to.
    fileprivate static func ofProject(_ role: PolicyText) -> PolicyCheck { any([ofOwner(role), ofLessee(role)]) }

    fileprivate static let systemService = inSystem("service")
    fileprivate static let ownersService = ofOwner("service")
    fileprivate static let systemReaders = any([.inSystem("reader"), systemService])
    fileprivate static let systemMembers = inSystem("member")
    fileprivate static let projectsReaders = any([systemReaders, ofProject("reader"), ownersService])
    fileprivate static let ownersReaders = any([systemReaders, ofOwner("reader"), ownersService])
    fileprivate static let ownersMembers = any([systemMembers, systemService, ofOwner("member"), ownersService])
    fileprivate static let ownersAdmins = any([
        systemMembers, systemService, ofOwner("admin"), ofOwner("manager"), ownersService,
    ])
    fileprivate static let membersAndLesseeAdmins = any([
        systemMembers, systemService, ofOwner("member"), ofLessee("admin"), ofLessee("manager"), ownersService,
    ])
}
