import Policy
import Primitives
import Testing

@Suite struct FleetPolicyTests {
    private static let rules = FleetPolicy.defaults.map(\.name).filter { $0.hasPrefix("fleet:") }
    private static let members: Set = [
        "fleet:node:update", "fleet:node:approve", "fleet:node:deploy", "fleet:node:delete", "fleet:node:power",
        "fleet:node:console", "fleet:node:rescue", "fleet:conflict:delete",
    ]
    private static let administratorsReads: Set = ["fleet:token:read", "fleet:audit:read", "fleet:policy:read"]
    private static let fleet = PolicyTarget(["fleet": ["project_id": "p-admin"]])

    private let table: PolicyTable

    init() throws { table = try PolicyTable(FleetPolicy.defaults) }

    /// The scopes in which roles count, and those in which they do not.
    private static func callers(_ roles: [String]) -> (inside: [PolicyCredentials], outside: [PolicyCredentials]) {
        (
            [
                PolicyCredentials(isSystemScoped: true, roles: roles),
                PolicyCredentials(userID: "u", projectID: "p-admin", roles: roles),
            ],
            [
                PolicyCredentials(userID: "u", projectID: "p-other", roles: roles),
                PolicyCredentials(userID: "u", domainID: "default", roles: roles),
                PolicyCredentials(userID: "u", domainID: "p-admin", roles: roles),
                PolicyCredentials(userID: "u", roles: roles),
            ]
        )
    }

    @Test(arguments: ["admin", "member", "reader", "manager", "service", "Admin"])
    func rolesMayWhatTheyAlwaysMight(role: String) {
        let (inside, outside) = Self.callers([role])
        for rule in Self.rules {
            let may =
                switch role.lowercased() {
                case "admin": true
                case "member":
                    Self.members.contains(rule) || (rule.hasSuffix(":read") && !Self.administratorsReads.contains(rule))
                case "reader": rule.hasSuffix(":read") && !Self.administratorsReads.contains(rule)
                default: false
                }
            for who in inside { #expect(table.isAllowed(rule, who, Self.fleet) == may, "\(rule) as \(role)") }
            for who in outside { #expect(!table.isAllowed(rule, who, Self.fleet), "\(rule) as \(role) elsewhere") }
        }
    }

    @Test func withoutAnAdministratorsProjectNoProjectCounts() {
        for who in Self.callers(["admin"]).inside where who.projectID != nil {
            for rule in Self.rules { #expect(!table.isAllowed(rule, who, PolicyTarget())) }
        }
    }

    @Test func oneOverrideChangesWhereRolesCount() throws {
        let table = try PolicyTable(FleetPolicy.defaults, overrides: ["fleet_scope": "system_scope:all"])
        for who in Self.callers(["admin"]).inside {
            #expect(table.isAllowed("fleet:node:read", who, Self.fleet) == who.isSystemScoped)
        }
    }

    @Test func oneOverrideGivesOneThingToARole() throws {
        let table = try PolicyTable(
            FleetPolicy.defaults, overrides: ["fleet:node:power": "rule:fleet_member or role:night_shift"])
        let who = PolicyCredentials(userID: "u", projectID: "p-other", roles: ["night_shift"])
        #expect(Self.rules.filter { table.isAllowed($0, who, Self.fleet) } == ["fleet:node:power"])
    }
}
