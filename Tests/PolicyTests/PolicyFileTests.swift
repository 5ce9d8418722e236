import Policy
import Primitives
import Testing

/// Override files, good and bad.
@Suite struct PolicyFileTests {
    @Test(
        arguments: [
            ("", [:]), ("# nothing yet\n", [:]), ("---\n", [:]), ("{}", [:]),
            (
                "identity:get_user: \"role:reader\"\n# more\n\"identity:list_users\": \"!\"\n",
                ["identity:get_user": "role:reader", "identity:list_users": "!"]
            ),
            ("{\"a\": \"\", \"b\": \"rule:a or @\"}", ["a": "", "b": "rule:a or @"]),
            ("a: >-\n  role:x\n  or role:y\n", ["a": "role:x or role:y"]),
            ("a: role:x or role:y", ["a": "role:x or role:y"]),
        ] as [(String, [String: String])])
    func `a mapping of rules to checks is read`(text: String, expected: [String: String]) throws {
        #expect(try PolicyFile(text, path: "policy.yaml").checks == expected)
    }

    @Test(arguments: [
        ("- a\n", "line 1: expected a mapping"), ("a", "line 1: expected a mapping"),
        ("a: [role:x]", "line 1: expected one text in quotes for 'a'"),
        ("a: x\nb:\n  c: d", "line 3: expected one text in quotes for 'b'"),
        // In YAML this is an empty text with a tag, and would allow everybody.
        ("a: x\nb: !\n", "line 2: 'b' has no check"), ("a:\n", "'a' has no check"),
        ("a: @\n", "line 1: not YAML"), ("a: \"x\n", "not YAML"), ("a: '1'\na: '2'\n", "'a' stands twice"),
        ("[a]: b", "expected the name of a rule"), ("\"\": b", "expected the name of a rule"),
        ("a: x\n---\nb: y\n", "not YAML"), (String(repeating: "[", count: 100_000), "not YAML"),
        (String(repeating: "#", count: (1 << 20) + 1), "larger than 1048576 bytes"),
    ])
    func `what is not one is refused with its line`(text: String, expected: String) {
        do {
            let file = try PolicyFile(text, path: "/etc/muster/policy.yaml")
            Issue.record("read as \(file.checks)")
        } catch {
            #expect(error.publicMessage.hasPrefix("policy file /etc/muster/policy.yaml: "), "\(error)")
            #expect(error.publicMessage.contains(expected), "\(error)")
        }
    }

    @Test func `trouble with a check of a file names the file`() throws {
        let rules = [PolicyRule("a", .always, summary: "")]
        func message(_ text: String) throws -> String? {
            let file = try PolicyFile(text, path: "p.yaml")
            do { _ = try PolicyTable(rules, file: file) } catch { return error.publicMessage }
            return nil
        }
        #expect(
            try message("a: role:x or") == "policy file p.yaml: rule 'a': character 10: expected a check such as "
                + "role:admin, or @ to allow everybody.")
        #expect(try message("b: role:x")?.hasPrefix("policy file p.yaml: rule 'b': there is no such rule") == true)
        #expect(try message("a: \"!\"") == nil)
    }

    @Test func `a file changes the identity API's rules`() throws {
        let file = try PolicyFile("admin_required: 'role:admin and not role:intern'", path: "policy.yaml")
        let table = try PolicyTable(IdentityPolicy.defaults, file: file)
        let intern = PolicyCredentials(projectID: "p", roles: ["admin", "intern"])
        #expect(try PolicyTable(IdentityPolicy.defaults).isAllowed("identity:create_domain", intern, PolicyTarget()))
        #expect(!table.isAllowed("identity:create_domain", intern, PolicyTarget()))
    }
}
