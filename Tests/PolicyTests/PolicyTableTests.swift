import Policy
import Primitives
import Testing

/// What a table refuses at load, and how it decides.
@Suite struct PolicyTableTests {
    private static func rule(_ name: String, _ check: String, _ scopes: Set<PolicyScope> = []) throws -> PolicyRule {
        PolicyRule(name, try PolicyCheck(parsing: check), scopes: scopes, summary: "")
    }

    private static func error(_ rules: [(String, String)], overrides: [String: String] = [:]) throws -> String? {
        let rules = try rules.map { try rule($0.0, $0.1) }
        do { _ = try PolicyTable(rules, overrides: overrides) } catch { return error.publicMessage }
        return nil
    }

    @Test func `a table without a way to decide is refused`() throws {
        #expect(
            try Self.error([("a", "rule:b")])
                == "rule 'a': there is no rule 'b' to refer to; correct the name after 'rule:'.")
        #expect(
            try Self.error([("a", "role:x or not rule:b"), ("b", "rule:c and @"), ("c", "rule:a"), ("d", "rule:d")])
                == "rule 'a': it asks itself (a → b → c → a); take one of these references out.")
        #expect(
            try Self.error([("a", "@"), ("d", "rule:d")])
                == "rule 'd': it asks itself (d → d); take one of these references out.")
        #expect(try Self.error([("a", "@"), ("a", "!")]) == "rule 'a': it is there twice; take one out.")
        #expect(
            try Self.error([("a", "@")], overrides: ["b": "@"])
                == "rule 'b': there is no such rule to override; correct its name or take the line out.")
        #expect(
            try Self.error([("a", "@")], overrides: ["a": "role:x role:y"])
                == "rule 'a': character 8: expected 'and', 'or' or the end.")
        #expect(
            try Self.error([("a", "@"), ("b", "rule:a")], overrides: ["a": "rule:b"])
                == "rule 'a': it asks itself (a → b → a); take one of these references out.")
    }

    @Test func `what a decision costs is bounded`() throws {
        // Every rule asks the one before it ten times: 10^5 comparisons.
        let wide = try (0...5).map { index in
            try Self.rule(
                "\(index)",
                Array(repeating: index == 0 ? "role:x" : "rule:\(index - 1)", count: 10)
                    .joined(separator: " or "))
        }
        #expect(throws: Never.self) { try PolicyTable(Array(wide.prefix(4))) }
        #expect(throws: PolicyError.self) { try PolicyTable(wide) }
        // Every rule asks the next; read from either end.
        for reversed in [false, true] {
            let deep = try (1000..<1300).map { index in
                try Self.rule(
                    "\(index)", index == (reversed ? 1000 : 1299) ? "@" : "rule:\(reversed ? index - 1 : index + 1)")
            }
            #expect(throws: PolicyError.self) { try PolicyTable(deep) }
            #expect(throws: Never.self) { try PolicyTable(Array(reversed ? deep.prefix(200) : deep.suffix(200))) }
        }
    }

    @Test func `a rule asks for its scopes before its check`() throws {
        let table = try PolicyTable([
            Self.rule("system", "@", [.system]), Self.rule("two", "@", [.domain, .project]), Self.rule("any", "@"),
            Self.rule("refers", "rule:system"),
        ])
        let callers: [(String, PolicyCredentials)] = [
            ("system", PolicyCredentials(isSystemScoped: true)), ("domain", PolicyCredentials(domainID: "d")),
            ("project", PolicyCredentials(projectID: "p")), ("unscoped", PolicyCredentials()),
        ]
        let allowed = ["system": ["system"], "two": ["domain", "project", "unscoped"]]
        for (name, caller) in callers {
            for rule in ["system", "two"] {
                let isRight = table.isAllowed(rule, caller, PolicyTarget()) == allowed[rule]?.contains(name)
                #expect(isRight, "\(rule) \(name)")
            }
            #expect(table.isAllowed("any", caller, PolicyTarget()))
            // A reference asks the check alone, as in OpenStack.
            #expect(table.isAllowed("refers", caller, PolicyTarget()))
        }
        #expect(
            table.decide("system", callers[1].1, PolicyTarget())
                == .denied(reason: "'system' needs a token of system scope, and this one is of domain scope"))
        #expect(
            table.decide("system", callers[3].1, PolicyTarget())
                == .denied(reason: "'system' needs a token of system scope, and this one is unscoped"))
        #expect(
            table.decide("two", callers[0].1, PolicyTarget())
                == .denied(reason: "'two' needs a token of domain or project scope, and this one is of system scope"))
    }

    @Test func `nothing is allowed that no rule allows`() throws {
        let table = try PolicyTable([Self.rule("known", "role:admin or user_id:%(user_id)s")])
        let admin = PolicyCredentials(userID: "u", roles: ["admin"])
        let nobody = PolicyCredentials()
        #expect(table.decide("known", admin, PolicyTarget()) == .allowed)
        #expect(
            table.decide("unknown", admin, PolicyTarget()) == .denied(reason: "there is no rule 'unknown'"))
        #expect(!table.isAllowed("unknown", admin, PolicyTarget()))
        #expect(
            table.decide("known", nobody, PolicyTarget(["user_id": .string("u")]))
                == .denied(reason: "'known' does not hold: role:admin or user_id:%(user_id)s"))
    }

    @Test func `an override replaces the check and keeps the scopes`() throws {
        let defaults = try [Self.rule("base", "role:admin"), Self.rule("read", "rule:base", [.project])]
        let reader = PolicyCredentials(projectID: "p", roles: ["reader"])
        let table = try PolicyTable(defaults, overrides: ["base": "role:reader"])
        #expect(try !PolicyTable(defaults).isAllowed("read", reader, PolicyTarget()))
        #expect(table.isAllowed("read", reader, PolicyTarget()))
        #expect(!table.isAllowed("read", PolicyCredentials(domainID: "d", roles: ["reader"]), PolicyTarget()))
    }
}
