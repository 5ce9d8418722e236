import Policy
import Primitives
import Testing

/// What the rule language means, and what it refuses.
@Suite struct PolicyLanguageTests {
    @Test(arguments: [
        ("", "@"), ("@", "@"), ("!", "!"), ("role:admin", "role:admin"),
        ("role:a or role:b and role:c", "role:a or (role:b and role:c)"),
        ("role:a and role:b or role:c", "(role:a and role:b) or role:c"),
        ("(role:a or role:b) and role:c", "(role:a or role:b) and role:c"),
        ("not role:a and role:b", "not role:a and role:b"),
        ("not (role:a and role:b)", "not (role:a and role:b)"),
        ("not not role:a", "not not role:a"),
        ("NOT role:a Or  role:b\tAND ((role:c))", "not role:a or (role:b and role:c)"),
        (" ( role:a )\n", "role:a"),
        ("user_id:%(target.user.id)s", "user_id:%(target.user.id)s"),
        ("(user_id:%(user_id)s)", "user_id:%(user_id)s"),
        ("'manager':%(target.role.name)s", "'manager':%(target.role.name)s"),
        ("\"it's\":%(x)s", "\"it's\":%(x)s"), ("'a:(b)':%(x)s", "'a:(b)':%(x)s"), ("'':%(x)s", "'':%(x)s"),
        ("True:%(target.user.enabled)s", "'True':%(target.user.enabled)s"), ("1:%(x)s", "'1':%(x)s"),
        ("domain_id:None", "domain_id:None"), ("None:%(x)s", "None:%(x)s"),
        ("user_id:a%%b-%(x.y)s", "user_id:a%%b-%(x.y)s"), ("role:%(target.role.name)s", "role:%(target.role.name)s"),
    ])
    func `a check is read with its precedence`(text: String, expected: String) throws {
        let check = try PolicyCheck(parsing: text)
        #expect(check.description == expected)
        #expect(try PolicyCheck(parsing: check.description) == check)
    }

    @Test(arguments: [
        ("   ", 4, "a check such as role:admin, or @"), ("role:a and", 11, "a check such as role:admin, or @"),
        ("role:a role:b", 8, "'and', 'or' or the end"), ("or role:a", 1, "a check such as role:admin"),
        ("(role:a", 8, "')' for the '(' at character 1"), ("(role:a or (role:b)", 20, "')' for the '(' at character 1"),
        ("role:a)", 7, "'and', 'or' or the end"), ("()", 2, "a check such as role:admin"),
        ("admin", 1, "a check such as role:admin, rule:owner"), (":x", 1, "a check such as role:admin, rule:owner"),
        ("role:", 6, "something to compare with after 'role:'"), ("'quoted'", 9, "':' and what to compare with"),
        ("'open:%(x)s", 12, "the closing '"), ("user_id:'me'", 9, "white space before '''"),
        ("role:a)or(role:b", 7, "white space before ')'"), ("user_id:%(target.user.id)", 9, "%(name)s"),
        ("user_id:%(target..id)s", 11, "%(name)s"), ("user_id:%()s", 11, "%(name)s"), ("user_id:50%", 11, "%(name)s"),
        ("user_id:%(a)d", 9, "%(name)s"), ("usr_id:%(user_id)s", 1, "an attribute of the caller (user_id, "),
        ("http://server/check", 1, "rules cannot ask another server"), ("rule:%(x)s", 6, "a rule's name"),
        ("'a\\'b':%(x)s", 5, "':' and what to compare with"), ("'a\\b':%(x)s", 3, "a text without '\\'"),
    ])
    func `what cannot be read is told with its place`(text: String, position: Int, expected: String) {
        do {
            let check = try PolicyCheck(parsing: text)
            Issue.record("'\(text)' was read as '\(check)'")
        } catch {
            guard case .syntax(let at, let what) = error.cause else {
                Issue.record("\(error)")
                return
            }
            #expect(at == position, "\(text): \(error)")
            #expect(what.contains(expected), "\(text): \(error)")
        }
    }

    @Test func `a check is bounded in length and depth`() {
        let deep = String(repeating: "(", count: 65) + "role:a" + String(repeating: ")", count: 65)
        #expect(throws: PolicyError.self) { try PolicyCheck(parsing: deep) }
        #expect(throws: PolicyError.self) { try PolicyCheck(parsing: String(repeating: "not ", count: 100_000) + "@") }
        #expect(throws: Never.self) { try PolicyCheck(parsing: String(deep.dropFirst().dropLast())) }
        let long = Array(repeating: "role:admin", count: 2000).joined(separator: " or ")
        #expect(throws: PolicyError.self) { try PolicyCheck(parsing: long) }
    }

    static let caller = PolicyCredentials(
        userID: "u1", userDomainID: "d1", projectID: "p1", projectDomainID: "d2", roles: ["Member", "prüfer"],
        trustID: "t1")
    static let target = PolicyTarget([
        "user_id": .string("u1"), "other": .string("u2"), "number": .integer(7), "huge": .unsigned(.max),
        "ratio": .number(0.5), "none": .string("None"),
        "target": .object([
            "user": .object([
                "id": .string("u1"), "enabled": .bool(true), "domain_id": .null, "role": .string("MEMBER"),
            ]),
            "tags": .array([.string("u1")]),
        ]),
    ])

    @Test(arguments: [
        ("role:member", true), ("role:MEMBER", true), ("role:PRÜFER", true), ("role:admin", false),
        ("role:memb", false), ("role:%(target.user.role)s", true), ("role:%(missing)s", false),
        ("roles:Member", true), ("roles:member", false), ("token.roles.name:Member", true),
        ("user_id:%(user_id)s", true), ("user_id:%(other)s", false), ("user_id:%(target.user.id)s", true),
        ("user_id:%(target.user.missing)s", false), ("user_id:%(user_id.id)s", false), ("user_id:u1", true),
        ("user_id:%(target.user)s", false), ("user_id:%(target.tags)s", false), ("not user_id:%(missing)s", true),
        ("True:%(target.user.enabled)s", true), ("False:%(target.user.enabled)s", false),
        ("7:%(number)s", true), ("'18446744073709551615':%(huge)s", true), ("'0.5':%(ratio)s", true),
        ("None:%(target.user.domain_id)s", true), ("None:%(missing)s", false), ("None:%(other)s", false),
        // Null is not the text None, in either direction.
        ("None:%(none)s", false), ("'None':%(target.user.domain_id)s", false), ("'None':%(none)s", true),
        ("domain_id:None", true), ("domain_id:%(target.user.domain_id)s", true), ("domain_id:%(none)s", false),
        ("token.domain.id:None", false), ("token.domain.id:%(target.user.domain_id)s", false),
        ("system_scope:all", false), ("system_scope:None", true), ("system:None", false),
        ("is_admin:1", false), ("is_admin:False", true), ("is_admin_project:True", true), ("trust_id:t1", true),
        ("token.project.domain.id:d2", true), ("user_id:%(number)s-%(other)s", false),
        ("'7-u':%(number)s-u2", false), ("'7-u2':%(number)s-%(other)s", true), ("'7-':%(number)s-%(missing)s", false),
        ("'None!':%(target.user.domain_id)s!", true), ("user_id:u1 and project_id:p1 and not role:admin", true),
        ("", true), ("@", true), ("!", false), ("not !", true),
    ])
    func `a check compares as OpenStack's does`(text: String, expected: Bool) throws {
        let table = try PolicyTable([PolicyRule("asked", PolicyCheck(parsing: text), summary: "")])
        #expect(table.isAllowed("asked", Self.caller, Self.target) == expected)
    }

    @Test func `attributes of a caller are those of its scope`() {
        let project = Self.caller
        let domain = PolicyCredentials(userID: "u", domainID: "d")
        let system = PolicyCredentials(userID: "u", isSystemScoped: true)
        let unscoped = PolicyCredentials(userID: "u")
        #expect([project.scope, domain.scope, system.scope, unscoped.scope] == [.project, .domain, .system, nil])
        #expect(project.attribute("project_id") == .string("p1"))
        #expect(project.attribute("domain_id") == .null)
        #expect(project.attribute("token.domain.id") == nil)
        #expect(domain.attribute("token.domain.id") == .string("d"))
        #expect(domain.attribute("is_admin_project") == .bool(false))
        #expect(system.attribute("system_scope") == .string("all"))
        #expect(system.attribute("token.system.all") == .bool(true))
        #expect(unscoped.attribute("system_scope") == .null)
        #expect(unscoped.attribute("token.project.id") == nil)
        #expect(unscoped.attribute("token.roles.name") == nil)
        #expect(unscoped.attribute("password") == nil)
    }
}
