import AgentProtocol
import CatalogIdentity
import Identity
import Primitives
import ResourceModel
import Testing

@Suite struct AuthorizerTests {
    private let authorizer = Authorizer()
    private static let kinds = [
        "baremetal.node", "baremetal.bmc", "baremetal.segment", "baremetal.image", "baremetal.conflict", "fleet.site",
        Secret.kind, AuditEvent.kind, OperatorToken.kind, EnrolmentToken.kind, NodeCertificates.kind,
        SiteAuthority.kind, "new.kind",
    ]

    private func isAllowed(_ principal: Principal, _ action: Action, _ kind: String, _ name: String = "x") -> Bool {
        do {
            try authorizer.authorize(principal, action, ResourceKey(kind: kind, name: name))
            return true
        } catch {
            return false
        }
    }

    @Test func nobodyReadsSecrets() {
        let principals: [Principal] =
            OperatorRole.allCases.map { .operator(name: "o", role: $0) } + [.node(nodeA), .session(nodeA), .anonymous]
        for principal in principals {
            #expect(!isAllowed(principal, .read, Secret.kind))
            #expect(!isAllowed(principal, .read, EnrolmentToken.kind))
        }
    }

    @Test func aUserOfTheCloudIsNoOperator() {
        let user = Principal.user(name: "admin", place: "system")
        for kind in Self.kinds {
            for action in Action.allCases { #expect(!isAllowed(user, action, kind)) }
        }
        #expect(user.description == "user:admin/system")
        #expect(Principal.user(name: "ann", place: nil).description == "user:ann")
        let long = Principal.user(
            name: "a\nrequest who=operator:admin " + String(repeating: "x", count: 300), place: "p")
        #expect(!long.description.contains("\n"), "a name makes no line of its own")
        #expect(long.description.count < 200)
    }

    @Test func readersOnlyRead() {
        let reader = Principal.operator(name: "r", role: .reader)
        for kind in Self.kinds {
            for action in Action.allCases where action != .read { #expect(!isAllowed(reader, action, kind)) }
            #expect(isAllowed(reader, .read, kind) == !kind.hasPrefix("identity."))
        }
    }

    @Test func membersWorkWithMachinesOnly() {
        let member = Principal.operator(name: "m", role: .member)
        for action in [Action.approve, .deploy, .power, .update, .delete] {
            #expect(isAllowed(member, action, "baremetal.node"))
            #expect(!isAllowed(member, action, "baremetal.bmc"))
            #expect(!isAllowed(member, action, "fleet.site"))
            #expect(!isAllowed(member, action, OperatorToken.kind))
        }
        #expect(!isAllowed(member, .create, "baremetal.node"))
        #expect(!isAllowed(member, .read, AuditEvent.kind))
    }

    @Test func administratorsDoAllThatOperatorsDo() {
        let admin = Principal.operator(name: "a", role: .admin)
        for kind in Self.kinds {
            for action in [Action.create, .update, .delete, .approve, .deploy, .power, .rotate] {
                #expect(isAllowed(admin, action, kind))
            }
        }
        #expect(isAllowed(admin, .read, AuditEvent.kind))
        for action in [Action.register, .follow, .report, .enrol] {
            #expect(!isAllowed(admin, action, "baremetal.node"), "\(action) is for machines")
        }
    }

    @Test func machinesTouchOnlyThemselves() {
        for machine in [Principal.node(nodeA), .session(nodeA)] {
            for action in [Action.follow, .report] {
                #expect(isAllowed(machine, action, "baremetal.node", nodeA.raw))
                #expect(!isAllowed(machine, action, "baremetal.node", nodeB.raw))
                #expect(!isAllowed(machine, action, "baremetal.node", "*"))
            }
            for kind in Self.kinds {
                for action in [Action.create, .update, .delete, .approve, .deploy, .power, .console, .rotate] {
                    #expect(!isAllowed(machine, action, kind, nodeA.raw))
                }
            }
        }
        #expect(!isAllowed(.session(nodeA), .enrol, "baremetal.node", nodeA.raw))
    }

    @Test func anybodyMayOnlyRegisterAndEnrol() {
        for kind in Self.kinds {
            for action in Action.allCases {
                let expected =
                    (action == .register && kind == "baremetal.node")
                    || (action == .enrol && kind == EnrolmentToken.kind)
                #expect(isAllowed(.anonymous, action, kind) == expected)
            }
        }
    }

    @Test func refusalSaysWhoMayNotDoWhat() {
        let error = #expect(throws: Denied.self) {
            try authorizer.authorize(
                .operator(name: "eve", role: .reader), .power, ResourceKey(kind: "baremetal.node", name: "n1"))
        }
        #expect(error?.publicMessage.contains("'reader', which may not power baremetal.node") == true)
    }
}

@Suite struct AuditLogTests {
    private let key = ResourceKey(kind: "baremetal.node", name: "n1")

    private func event(_ verb: String) -> AuditEventSpec {
        AuditEventSpec(who: "operator:admin", from: "10.0.0.1", verb: verb, resource: key, outcome: .ok)
    }

    @Test func listsInTheOrderOfTime() async throws {
        let clock = ManualWallClock()
        let log = AuditLog(store: FakeStore(), clock: clock)
        for index in 0..<12 { try await log.record(event("v\(index)")) }
        clock.advance(by: .seconds(-5))
        try await log.record(event("clock went back"))
        clock.advance(by: .seconds(3600))
        let later = clock.now
        try await log.record(event("later"))
        let all = try await log.events(limit: 100)
        #expect(all.events.map(\.spec.verb) == (0..<12).map { "v\($0)" } + ["clock went back", "later"])
        #expect(!all.hasMore)
        let page = try await log.events(limit: 5)
        #expect(page.hasMore)
        let next = try await log.events(after: page.events.last?.metadata.name, limit: 1)
        #expect(next.events.map(\.spec.verb) == ["v5"])
        #expect(try await log.events(since: later).events.map(\.spec.verb) == ["later"])
        #expect(try await log.prune(before: later) == 13)
        #expect(try await log.events().events.map(\.spec.verb) == ["later"])
    }

    @Test func namesAreValidKeys() async throws {
        let log = AuditLog(store: FakeStore(), clock: ManualWallClock(0))
        for _ in 0..<3 {
            let operation = try log.operation(event("x"))
            try operation.key.validate()
        }
    }

    @Test func summariesMaskSecrets() {
        let before = Array(#"{"spec":{"role":null,"bmc":{"password":"old-pw"},"count":1,"same":true}}"#.utf8)
        let after = Array(
            #"{"spec":{"role":"network","bmc":{"password":"new-pw"},"count":2,"same":true,"apiToken":{"v":"abc"}}}"#
                .utf8)
        let text = AuditSummary.changes(from: before, to: after)
        #expect(text.contains(#"spec.role: null → "network""#))
        #expect(text.contains("spec.count: 1 → 2"))
        #expect(text.contains("spec.bmc.password: ***"))
        #expect(text.contains("spec.apiToken.v: ***"))
        #expect(!text.contains("same"))
        for secret in ["old-pw", "new-pw", "abc"] { #expect(!text.contains(secret)) }
        #expect(AuditSummary.changes(from: nil, to: Array("not json".utf8)) == "")
    }

    @Test func summariesAreBounded() {
        let large = String(repeating: "line\\n", count: 5000)
        let spec = AuditEventSpec(
            who: "x", verb: "update", resource: key, outcome: .ok,
            summary: AuditSummary.changes(from: nil, to: Array(#"{"a":"\#(large)"}"#.utf8)) + large)
        #expect((spec.summary?.count ?? 0) <= AuditEventSpec.summaryLengthMax + 1)
        #expect(spec.summary?.contains("\n") == false)
    }
}
