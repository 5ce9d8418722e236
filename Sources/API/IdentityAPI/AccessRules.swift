import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

/// Access rules as the API shows them.
enum AccessRuleView {
    static let schema: Schema = .either([
        .object(["id": .string(min: 1, max: 64)], required: ["id"]),
        .object(
            [
                "service": .string(min: 1, max: 255), "path": .string(min: 1, max: 128),
                "method": .choice(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
            ], required: ["service", "path", "method"]),
    ])

    static func members(_ rule: AccessRule) -> [String: JSONValue] {
        [
            "id": .string(rule.id), "service": .string(rule.spec.service), "method": .string(rule.spec.method),
            "path": .string(rule.spec.path),
        ]
    }

    static func render(_ rule: AccessRule, base: String) -> JSONValue {
        var members = members(rule)
        members["links"] = ["self": .string("\(base)/v3/users/\(rule.spec.userID)/access_rules/\(rule.id)")]
        return .object(members)
    }
}

extension KeystoneAPI {
    private static let accessRuleAnswer: Schema = .object(
        [
            "access_rule": .object(
                [
                    "id": .string(), "service": .string(), "method": .string(), "path": .string(), "links": .links,
                ], required: ["id", "service", "method", "path", "links"])
        ], required: ["access_rule"])

    static let accessRuleRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/users/{user_id}/access_rules", .rule("identity:list_access_rules"),
            "Lists a user's access rules.",
            response: accessRuleAnswer.list("access_rules"),
            target: ofPathUser
        ) { call in
            let user = call.parameter("user_id")
            try call.refuseDelegated("Access rules", exceptApplicationCredentials: true)
            return try call.list(
                "access_rules", path: "/v3/users/\(user)/access_rules",
                call.directory.accessRules(of: user).map { AccessRuleView.render($0, base: call.base) })
        },
        IdentityRoute(
            .get, "/v3/users/{user_id}/access_rules/{access_rule_id}", .rule("identity:get_access_rule"),
            "Shows an access rule.", response: accessRuleAnswer,
            target: ofPathUser
        ) { call in
            try call.refuseDelegated("Access rules", exceptApplicationCredentials: true)
            return .json(["access_rule": AccessRuleView.render(try call.existingAccessRule(), base: call.base)])
        },
        IdentityRoute(
            .delete, "/v3/users/{user_id}/access_rules/{access_rule_id}", .rule("identity:delete_access_rule"),
            "Deletes an access rule that no application credential has.", target: ofPathUser
        ) { call in
            try call.refuseDelegated("Access rules", exceptApplicationCredentials: true)
            let rule = try call.existingAccessRule()
            try await call.change("identity:delete_access_rule", rule.key) { directory in
                let user = rule.spec.userID
                let holder = directory.applicationCredentials(of: user).first {
                    $0.spec.accessRuleIDs?.contains(rule.id) == true
                }
                if let holder {
                    throw APIError.forbidden(
                        "The access rule \(rule.id) is in use by the application credential \(holder.id).")
                }
                var plan = IdentityPlan()
                plan.delete(rule)
                return (plan, ())
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func existingAccessRule() throws -> AccessRule {
        let id = parameter("access_rule_id")
        guard let rule = directory.entry(AccessRule.self, id), rule.spec.userID == parameter("user_id") else {
            throw APIError.missing("access rule", id)
        }
        return rule
    }
}
