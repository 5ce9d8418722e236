import APISupport
import CatalogIdentity
import ClientSDK
import FleetContract
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import TestSupport
import Testing

@testable import CLICommands

/// Whether somebody may do something, and why.
@Suite struct PolicyExplainTests {
    /// A cloud: ann manages the project `web` by the group `ops` of her domain, where the grant is inherited; bob is off;
    /// two domains have a carl.
    private static func withCloud(
        overrides: [String: String] = [:], _ body: @escaping @Sendable (FleetClient, FleetFixture) async throws -> Void
    ) async throws {
        let routes = [
            GuardedRoute(
                method: .get, path: "/identity/v3/users/{user_id}", access: .rule("identity:get_user"), summary: ""
            ) { parameters, _ in
                guard let id = parameters["user_id"] else { return PolicyTarget() }
                guard id == "ann" else { return nil }
                return PolicyTarget([
                    "user_id": .string(id), "target": ["user": ["id": "ann", "domain_id": "default"]],
                ])
            },
            GuardedRoute(
                method: .get, path: "/identity/v3/users/me", access: .token, summary: "", target: { _, _ in nil }),
            GuardedRoute(method: .get, path: "/identity", access: .open, summary: "", target: { _, _ in nil }),
        ]
        try await withFleet(overrides: overrides, routes: routes) { fleet in
            let passwords = PasswordDesk(hasher: ScryptHasher(cost: .trivial))
            try await IdentityBootstrap(store: fleet.store, passwords: passwords, clock: fleet.clock).run { _ in }
            var other = ProjectSpec(name: "Other", domainID: nil, parentID: nil)
            other.description = ""
            try await fleet.put(Project(name: "other", created: fleet.clock.now, spec: other))
            let web = ProjectSpec(name: "web", domainID: "default", parentID: "default")
            try await fleet.put(Project(name: "web", created: fleet.clock.now, spec: web))
            for (id, name, domain) in [
                ("ann", "ann", "default"), ("bob", "bob", "default"), ("carl1", "carl", "default"),
                ("carl2", "carl", "other"), ("mail", "dora@example.org", "other"),
            ] {
                var user = UserSpec(name: name, domainID: domain)
                user.isEnabled = id != "bob"
                try await fleet.put(User(name: id, created: fleet.clock.now, spec: user))
            }
            try await fleet.put(
                Group(name: "ops", created: fleet.clock.now, spec: GroupSpec(name: "ops", domainID: "default")))
            let membership = MembershipSpec(groupID: "ops", userID: "ann")
            try await fleet.put(Membership(name: membership.name, created: fleet.clock.now, spec: membership))
            let manager = try #require(IdentityDirectory(fleet.cache.snapshot()).role(named: "manager")).id
            let grant = AssignmentSpec(
                actor: .group("ops"), target: .domain("default"),
                roles: [.init(roleID: manager, isInherited: true)])
            let name = AssignmentSpec.name(grant.actor, grant.target)
            try await fleet.put(Assignment(name: name, created: fleet.clock.now, spec: grant))
            try await fleet.with { (client: FleetClient) async throws in try await body(client, fleet) }
        }
    }

    private static let get = "GET /identity/v3/users/{user_id}"

    @Test func rolesAreToldWithWhereTheyComeFrom() async throws {
        try await Self.withCloud { client, _ in
            let reply = try await client.explainPolicy(user: "ann", route: Self.get, project: "web")
            #expect(reply.user == "ann@Default" && reply.userID == "ann" && reply.route == Self.get)
            #expect(reply.rule?.name == "identity:get_user" && reply.rule?.shippedCheck == nil)
            let answer = try #require(reply.answers.first)
            #expect(answer.scope == "the project web@Default" && !answer.isAllowed)
            #expect(answer.roles.map(\.name) == ["manager", "member", "reader"])
            let group = "given to the group ops on the domain Default, inherited"
            #expect(
                answer.roles.map(\.origins) == [
                    [group], ["\(group); implied by manager"], ["\(group); implied by member"],
                ])
            #expect(answer.reasons.first == "denied by identity:get_user")
            #expect(reply.notes.contains { $0.contains("give a real path") })
        }
    }

    @Test func aRealPathIsAskedOfWhatItNames() async throws {
        try await Self.withCloud { client, _ in
            let own = try await client.explainPolicy(user: "ann", route: "/identity/v3/users/ann?x=1", project: "web")
            #expect(own.answers.map(\.isAllowed) == [true], "she is the user in the path")
            #expect(own.notes.isEmpty)
            let other = try await client.explainPolicy(
                user: "ann", route: "get /identity/v3/users/nobody", project: "web")
            #expect(other.answers.first?.reasons.last == "what the path names is not there")
            let literal = try await client.explainPolicy(user: "ann", route: "/identity/v3/users/me", project: "web")
            #expect(literal.rule == nil && literal.answers.map(\.isAllowed) == [true])
            let open = try await client.explainPolicy(user: "bob", route: "HEAD /identity")
            #expect(open.answers.map(\.reasons) == [["allowed: the route needs no token"]])
        }
    }

    @Test func everyScopeOfTheUserIsAsked() async throws {
        try await Self.withCloud { client, _ in
            let ann = try await client.explainPolicy(user: "ann", route: "fleet:node:read")
            #expect(
                ann.answers.map(\.scope) == [
                    "the project admin@Default", "the project service@Default", "the project web@Default",
                ])
            #expect(ann.answers.map(\.isAllowed) == [true, false, false], "the administrators' project counts")
            let admin = try await client.explainPolicy(user: "admin@Default", route: "POST /fleet/v1/tokens/{operator}")
            #expect(admin.answers.map(\.scope) == ["the system", "the project admin@Default"])
            #expect(admin.answers.allSatisfy(\.isAllowed) && admin.rule?.name == "fleet:token:create")
            let nobody = try await client.explainPolicy(user: "carl1", route: "fleet:node:read")
            #expect(nobody.answers.map(\.scope) == ["no scope"] && nobody.answers.map(\.isAllowed) == [false])
            let nowhere = try await client.explainPolicy(user: "ann", route: "fleet:node:read", inSystem: true)
            #expect(nowhere.answers.first?.reasons.first?.contains("no role there") == true)
        }
    }

    @Test func whoIsOffIsToldSo() async throws {
        try await Self.withCloud { client, _ in
            let bob = try await client.explainPolicy(user: "bob", route: "/identity/v3/users/me")
            #expect(bob.answers.map(\.isAllowed) == [false])
            #expect(bob.answers.first?.reasons.first?.contains("the user is off") == true)
        }
    }

    @Test func holdersOfOperatorsTokensAreAskedToo() async throws {
        try await Self.withCloud { client, _ in
            for (role, may) in [("reader", false), ("member", true)] {
                let reply = try await client.explainPolicy(
                    user: "operator:test-\(role)", route: "POST /fleet/v1/nodes/n1/approve")
                #expect(reply.answers.map(\.isAllowed) == [may], "\(role)")
                #expect(reply.answers.first?.roles.map(\.name) == [role])
            }
        }
    }

    @Test func anOverrideIsMarked() async throws {
        try await Self.withCloud(overrides: ["identity:get_user": "role:auditor"]) { client, _ in
            let reply = try await client.explainPolicy(user: "ann", route: Self.get, project: "web")
            #expect(reply.rule?.check == "role:auditor" && reply.rule?.shippedCheck?.contains("admin_required") == true)
            let text = PolicyExplain.lines(reply, Terminal(width: nil, isInteractive: false, isJSON: false))
            #expect(text.contains { $0.contains("identity:get_user (overridden)") })
            let rules = try await client.policyRules().rules
            #expect(rules.filter { $0.shippedCheck != nil }.map(\.name) == ["identity:get_user"])
            #expect(rules.count == IdentityPolicy.defaults.count + FleetPolicy.defaults.count)
        }
    }

    static let mistakes: [(user: String, route: String, words: [String])] = [
        ("anne", "/identity", ["no user 'anne'", "ann@Default"]),
        ("carl", "/identity", ["'carl@Default'", "'carl@Other'"]),
        ("ann@nowhere", "/identity", ["no user 'ann@nowhere'", "ann@Default"]),
        ("ann", "/identity/v3/user/x", ["no route 'GET /identity/v3/user/x'", "/identity/v3/users"]),
        ("ann", "DELETE /identity/v3/users/{user_id}", ["that path has GET"]),
        ("ann", "identity:get_usr", ["no rule 'identity:get_usr'", "identity:get_user"]),
        ("ann", "GET it all", ["METHOD PATH"]),
        ("operator:nobody", "/identity", ["no operator's token of 'nobody'"]),
    ]

    @Test func mistakesAreToldWithWhatIsNear() async throws {
        try await Self.withCloud { (client: FleetClient, _: FleetFixture) async throws in
            for mistake in Self.mistakes {
                let error = await #expect(throws: ClientError.self) {
                    try await client.explainPolicy(user: mistake.user, route: mistake.route)
                }
                for words in mistake.words {
                    #expect(error?.publicMessage.contains(words) == true, "\(mistake): \(error?.publicMessage ?? "")")
                }
            }
            #expect(try await client.explainPolicy(user: "carl@Other", route: "/identity").userID == "carl2")
            #expect(try await client.explainPolicy(user: "dora@example.org", route: "/identity").userID == "mail")
            let project = await #expect(throws: ClientError.self) {
                try await client.explainPolicy(user: "ann", route: "/identity", project: "wbe")
            }
            #expect(project?.publicMessage.contains("no project 'wbe'") == true)
        }
    }
}
