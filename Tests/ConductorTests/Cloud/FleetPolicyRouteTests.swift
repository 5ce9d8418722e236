import APISupport
import CatalogBareMetal
import CatalogIdentity
import FleetAPI
import Identity
import Policy
import Primitives
import TestSupport
import Testing

/// The operators' API asks the policy.
@Suite struct FleetPolicyRouteTests {
    @Test func everyRouteHasItsRuleAndEveryRuleARoute() {
        var asked: Set<String> = []
        for route in OperatorAPI.routes {
            switch route.access {
            case .open: break
            case .read(let kind): asked.insert(Gate.rule(for: .read, kind: kind))
            case .change(let action, let kind): asked.insert(Gate.rule(for: action, kind: kind))
            }
        }
        #expect(asked == Set(FleetPolicy.defaults.map(\.name).filter { $0.hasPrefix("fleet:") }))
    }

    @Test func anOverrideGivesAndTakes() async throws {
        let overrides = ["fleet:node:power": "rule:fleet_reader", "fleet:node:approve": "rule:fleet_admin"]
        try await withFleet(overrides: overrides) { fleet in
            try await fleet.addNode("n1", number: 1)
            func status(_ action: String, _ role: OperatorRole) async throws -> Int {
                try await fleet.raw("POST", "/fleet/v1/nodes/n1/\(action)", token: fleet.tokens[role], body: "{}")
                    .status
            }
            #expect(try await status("power", .reader) == 400, "it may, and says nothing of what to do")
            #expect(try await status("approve", .member) == 403)
            #expect(try await status("approve", .admin) == 422)
            #expect(try await status("deploy", .reader) == 403)
        }
    }

    @Test func aRefusalNamesTheRule() async throws {
        try await withFleet { fleet in
            let answer = try await fleet.raw("GET", "/fleet/v1/audit", token: fleet.tokens[.member])
            #expect(answer.status == 403)
            for words in ["'test-member' with the role member in the system", "may not read", "'fleet:audit:read'"] {
                #expect(answer.body.contains(words), "\(answer.body)")
            }
        }
    }

    /// Whoever is no operator cannot fill the audit log with refusals.
    @Test func refusalsOfStrangersLeaveNoEvent() async throws {
        let overrides = ["fleet:node:read": "role:member", "fleet:node:power": "rule:fleet_admin"]
        try await withFleet(overrides: overrides) { fleet in
            try await fleet.addNode("n1", number: 1)
            for role in [OperatorRole.reader, .member] {
                let answer = try await fleet.raw(
                    "POST", "/fleet/v1/nodes/n1/power", token: fleet.tokens[role], body: #"{"action":"on"}"#)
                #expect(answer.status == 403)
            }
            #expect(try await fleet.audit.events().events.map(\.spec.who) == ["operator:test-member"])
        }
    }
}
