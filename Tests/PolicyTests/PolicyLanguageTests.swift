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
        ("NOT role:a Or  role:b\tAND ((role:c))", "not role:a or (role:b and role:c)"),
        ("user_id:%(target.user.id)s", "user_id:%(target.user.id)s"),
        ("'manager':%(target.role.name)s", "'manager':%(target.role.name)s"),
        ("True:%(target.user.enabled)s", "'True':%(target.user.enabled)s"),
        ("domain_id:None", "domain_id:None"), ("user_id:a%%b-%(x.y)s", "user_id:a%%b-%(x.y)s"),
    ])
    func `a check is read with its precedence`(text: String, expected: String) throws {
        let check = try PolicyCheck(parsing: text)
        #expect(check.description == expected)
        #expect(try PolicyCheck(parsing: check.description) == check)
    }
}
