import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Primitives
import ResourceModel
import TestSupport
import Testing

@testable import CLICommands

/// What is shown of passwords and tokens, on narrow terminals too.
@Suite struct CLIRenderingCredentialTests {
    private static let now = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)

    private static func ago(_ seconds: Int) -> Timestamp { now.advanced(by: .seconds(-seconds)) }

    private func golden(_ name: String, _ render: (Terminal) -> [String]) throws {
        for width in [60, 80, 120] {
            let lines = render(Terminal(width: width, isInteractive: false, isJSON: false))
            for line in lines { #expect(line.count <= width, "\(name) at \(width): \(line)") }
            try GoldenFile.compare(lines.map { $0 + "\n" }.joined(), with: "cli/\(name)-\(width).txt")
        }
    }

    private static func bmc(_ name: String, _ change: (inout BMC) -> Void) -> BMCRecord {
        var bmc = BMC(
            metadata: Metadata(name: name, schemaVersion: BMC.schemaVersion, created: ago(900_000)),
            spec: BMC.Spec(
                address: "ipmi://10.9.0.7", system: nil, username: "muster", passwordSecret: "bmc.\(name)"),
            status: BMC.Status())
        bmc.status.isReachable = true
        bmc.status.checked = ago(20)
        bmc.status.note(.on, at: ago(7000))
        change(&bmc)
        return BMCRecord(bmc, nodes: ["compute-1"])
    }

    private static let order = BMC.PasswordOrder(number: 3, source: .conductor, by: "operator:ann", at: ago(300))

    private static let bmcs = [
        bmc("elm") { _ in },
        bmc("fir") { bmc in
            var password = BMC.PasswordStatus()
            (password.source, password.rotated, password.orderSeen) = (.conductor, ago(86_400 * 3), 3)
            (bmc.status.password, bmc.spec.passwordOrder) = (password, order)
        },
        bmc("oak") { $0.spec.passwordOrder = order },
        bmc("ash") { bmc in
            var password = BMC.PasswordStatus()
            (password.source, password.rotated) = (.conductor, ago(86_400 * 3))
            password.state = .pending(order, since: ago(240), tries: 1)
            (bmc.status.password, bmc.spec.passwordOrder) = (password, order)
            bmc.status.isReachable = false
            bmc.status.lastError = "The BMC took too long: no complete answer within 10 s."
        },
        bmc("yew") { bmc in
            var password = BMC.PasswordStatus()
            password.orderSeen = 3
            password.failure =
                "The password of 'yew' was not changed, and the one before is good: The BMC refused: too weak. Look at the "
                + "machine's own console or the BMC's log."
            (bmc.status.password, bmc.spec.passwordOrder) = (password, order)
        },
    ]

    @Test func theListOfBMCsFits() throws {
        try golden("bmc-list") { BMCList.table(Self.bmcs).lines(for: $0) }
        let wide = BMCList.table(Self.bmcs).lines(for: Terminal(width: nil, isInteractive: false, isJSON: false))
        for (line, words) in zip(
            wide.dropFirst(), ["site file's", "conductor's", "changing", "changing", "not changed"])
        {
            #expect(line.contains(words), "\(line)")
        }
        #expect(wide.last?.contains("too weak") == true, "what to do is said")
    }

    @Test func whatIsKnownOfAPasswordFits() throws {
        try golden("bmc-show") { terminal in
            Self.bmcs.flatMap { bmc in
                BMCShow.facts(BMCDetail(bmc: bmc, time: Self.now, sensors: [], sensorsRead: nil)).lines(for: terminal)
                    + [""]
            }
        }
    }

    @Test func theListOfTokensFits() throws {
        func token(_ name: String, _ role: OperatorRole, _ change: (inout OperatorToken) -> Void) -> TokenRecord {
            var token = OperatorToken(
                name: name, created: Self.ago(900_000),
                spec: OperatorTokenSpec(hash: Digest(bytes: [UInt8](repeating: 1, count: 32)), role: role))
            change(&token)
            return TokenRecord(token)
        }
        let tokens = [
            token("admin", .admin) { _ in },
            token("ann", .member) { token in
                token.spec.previous = .init(hash: token.spec.hash, ends: Self.now.advanced(by: .seconds(3000)))
                token.status.rotated = Self.ago(600)
            },
            token("grafana", .reader) { $0.spec.expires = Self.ago(60) },
            token("night-shift", .member) { $0.status.revoked = Self.ago(7200) },
        ]
        try golden("token-list") { TokenList.table(tokens, now: Self.now).lines(for: $0) }
    }

    private static let rules = [
        PolicyRuleRecord(
            name: "fleet:node:approve", summary: "Let a machine in", check: "rule:fleet_member", shippedCheck: nil,
            scopes: ["project", "system"]),
        PolicyRuleRecord(
            name: "identity:get_user", summary: "Show a user",
            check: "(rule:admin_required) or (role:reader and system_scope:all) or user_id:%(target.user.id)s",
            shippedCheck: "rule:admin_required", scopes: []),
    ]

    @Test func theListOfRulesFits() throws {
        try golden("policy-list") { PolicyList.table(Self.rules).lines(for: $0) }
    }

    @Test func anExplanationFits() throws {
        let roles = [
            PolicyExplainReply.Role(
                name: "manager", origins: ["given to the group ops on the domain Default, inherited"]),
            PolicyExplainReply.Role(
                name: "member",
                origins: [
                    "given to the group ops on the domain Default, inherited; implied by manager", "given to the user",
                ]),
        ]
        let reply = PolicyExplainReply(
            user: "ann@Default", userID: "8a2c8b2f", route: "GET /identity/v3/users/{user_id}", rule: Self.rules[1],
            notes: ["What the rule compares with the path is missing; give a real path to see it."],
            answers: [
                .init(
                    scope: "the project web@Default", isAllowed: false, roles: roles,
                    reasons: [
                        "denied by identity:get_user", "  no   any of",
                        "    no   role:reader  (roles: manager, member)",
                    ]),
                .init(scope: "the system", isAllowed: true, roles: [], reasons: ["allowed: the route needs no token"]),
            ])
        try golden("policy-explain") { PolicyExplain.lines(reply, $0) }
    }
}
