import Policy
import Primitives
import Testing

/// The lines that say why.
@Suite struct PolicyExplanationTests {
    @Test func `every comparison of the tree is told with what it compared`() throws {
        let caller = PolicyCredentials(userID: "ann", domainID: "sales", roles: ["reader", "member"])
        let target = PolicyTarget([
            "target": .object(["user": .object(["id": .string("bob"), "domain_id": .string("sales")])])
        ])
        let table = try PolicyTable(IdentityPolicy.defaults)
        #expect(
            table.explain("identity:get_user", caller, target).joined(separator: "\n") == """
                allowed by identity:get_user
                  yes  any of
                    no   rule:admin_required
                      no   any of
                        no   role:admin  (roles: member, reader)
                        no   is_admin:1  (is_admin is False)
                    no   all of
                      yes  role:reader  (roles: member, reader)
                      no   system_scope:all  (system_scope is None)
                    yes  all of
                      yes  role:reader  (roles: member, reader)
                      yes  token.domain.id:%(target.user.domain_id)s  (token.domain.id is 'sales', target.user.domain_id is 'sales')
                    no   user_id:%(target.user.id)s  (user_id is 'ann', target.user.id is 'bob')
                """)
    }

    @Test func `a wrong scope is told before the check`() throws {
        let table = try PolicyTable(IdentityPolicy.defaults)
        let lines = table.explain(
            "identity:list_endpoints", PolicyCredentials(domainID: "d", roles: ["admin"]), PolicyTarget())
        #expect(
            lines.prefix(3) == [
                "denied: 'identity:list_endpoints' needs a token of system or project scope, and this one is of domain "
                    + "scope",
                "  yes  any of", "    yes  rule:admin_required",
            ])
        #expect(
            table.explain("identity:x", PolicyCredentials(), PolicyTarget()) == [
                "denied: there is no rule 'identity:x'"
            ])
    }

    @Test func `missing, null and other values are told apart and kept printable`() throws {
        let checks: PolicyCheck = try PolicyCheck(
            parsing:
                "not None:%(a)s and ('x':%(a)s or user_id:%(b)s-%(c)s or roles:%(d)s or ! or @ or trust_id:%(e.f)s)")
        let table = try PolicyTable([PolicyRule("r", checks, summary: "")])
        let target = PolicyTarget([
            "a": .null, "b": .string("\u{1b}[31m"), "c": .array([.integer(1), .bool(true)]),
            "e": .object(["f": .object([:])]),
        ])
        #expect(
            table.explain("r", PolicyCredentials(userID: "u"), target).joined(separator: "\n") == """
                denied by r
                  no   all of
                    no   not
                      yes  None:%(a)s  (a is None)
                    yes  any of
                      no   'x':%(a)s  (a is None)
                      no   user_id:%(b)s-%(c)s  (user_id is 'u', b is '\\u{1b}[31m', c is [1, True])
                      no   roles:%(d)s  (roles is [], d is missing)
                      no   ! (nobody)
                      yes  @ (everybody)
                      no   trust_id:%(e.f)s  (trust_id is None, e.f is an object)
                """)
    }
}
