/// The rules of the operators' API (`/fleet/v1`, `/metrics` and the web pages): who may do what before an operator overrides
/// anything. `fleet:node:approve` is asked when somebody approves a node.
///
/// The fleet is the system's: by default a token has to be the system's, or of the administrators' own project, which
/// targets have as `fleet.project_id`. An operator's token counts as one of the system with the role that it was made for.
public enum FleetPolicy {
    /// Every rule, those that others refer to first.
    public static let defaults: [PolicyRule] = shared + nodes + site + images + administration

    /// The rule that lets somebody be an operator at all.
    public static let reading = "fleet:node:read"

    private static let shared: [PolicyRule] = [
        PolicyRule(
            "fleet_scope", .any([.same(.attribute(.systemScope), "all"), .projectIs("fleet.project_id")]),
            summary: "Tokens of the system, or of the administrators' project"),
        PolicyRule("fleet_admin", .inFleet("admin"), summary: "Administrators of the fleet"),
        PolicyRule("fleet_member", .inFleet("admin", "member"), summary: "Those who work with machines"),
        PolicyRule("fleet_reader", .inFleet("admin", "member", "reader"), summary: "Those who see the fleet"),
    ]

    private static let nodes: [PolicyRule] = [
        .reader("node:read", "See nodes, their inventories, logs and figures"),
        .reader("event:read", "See what has happened to nodes"),
        .member("node:update", "Change a node's settings"),
        .member("node:approve", "Let a machine in"),
        .member("node:deploy", "Write a node's image anew"),
        .member("node:delete", "Empty a node's disks, or take it out of the inventory"),
        .member("node:power", "Switch a node"),
        .member("node:console", "Work at a node's serial console, and read what it has shown"),
        .member("node:rescue", "Boot a node into the rescue system, and back"),
        .admin("node:rotate", "Void a node's certificates"),
        .reader("conflict:read", "See machines that claim to be others"),
        .member("conflict:delete", "Remove a conflict"),
    ]

    private static let site: [PolicyRule] = [
        .reader("bmc:read", "See BMCs"),
        .admin("bmc:power", "Switch a machine by its BMC"),
        .admin("bmc:approve", "Trust a BMC's certificate"),
        .admin("bmc:rotate", "Give a BMC another password"),
        .reader("segment:read", "See segments"),
        .reader("lease:read", "See who has which address"),
        .reader("rule:read", "See the site's rules and ask what they would do"),
        .reader("site:read", "Have a site file checked"),
        .admin("site:update", "Apply a site file"),
        .reader("conductor:read", "See which conductors run"),
        .admin("conductor:delete", "Forget a conductor that is gone for good"),
        .reader("controlplane:read", "See the site's controllers, and what a change of them would do"),
        .admin("controlplane:update", "Change which nodes are the site's controllers"),
        .admin("controlplane:pivot", "Move the site from its first conductor to controllers, or back"),
        .reader("authority:read", "See the certificate authority"),
        .admin("authority:rotate", "Replace the certificate authority"),
    ]

    private static let images: [PolicyRule] = [
        .reader("image:read", "See images"),
        .admin("image:create", "Bring images in"),
        .admin("ramdisk:create", "Bring the ramdisk in"),
    ]

    private static let administration: [PolicyRule] = [
        .admin("token:read", "See whose operators' tokens there are"),
        .admin("token:create", "Make an operator's token"),
        .admin("token:rotate", "Replace or revoke an operator's token"),
        .admin("audit:read", "See the audit log"),
        .admin("policy:read", "See the rules, and ask who may do what"),
    ]
}

extension PolicyCheck {
    /// One of `roles` in the system or the administrators' project.
    fileprivate static func inFleet(_ roles: PolicyText...) -> PolicyCheck {
        let roles = roles.map(PolicyCheck.role)
        return .all([roles.count == 1 ? roles[0] : .any(roles), .rule("fleet_scope")])
    }
}

extension PolicyRule {
    fileprivate static func admin(_ name: String, _ summary: String) -> PolicyRule {
        fleet(name, "fleet_admin", summary)
    }
    fileprivate static func member(_ name: String, _ summary: String) -> PolicyRule {
        fleet(name, "fleet_member", summary)
    }
    fileprivate static func reader(_ name: String, _ summary: String) -> PolicyRule {
        fleet(name, "fleet_reader", summary)
    }

    private static func fleet(_ name: String, _ check: String, _ summary: String) -> PolicyRule {
        PolicyRule("fleet:" + name, .rule(check), scopes: .systemOrProject, summary: summary)
    }
}
