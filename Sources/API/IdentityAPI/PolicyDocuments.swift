import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let policyNoun = Noun<PolicyDocumentSpec>(member: "policy", collection: "policies", path: "/v3/policies") {
        policy in
        ["type": .string(policy.spec.type), "blob": policy.spec.blob].over(policy.spec.extra)
    }

    private static let policyBody: [String: Schema] = ["type": .string(max: 255), "blob": .string()]
    static let policyAnswer = policyNoun.schema(
        ["type": .string(), "blob": .string()], required: ["type", "blob"])

    static let policyRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/policies", .rule("identity:list_policies"), "Lists policy documents.",
            response: policyAnswer.list("policies")
        ) { try policyNoun.list($0.directory.now.all(PolicyDocument.self), $0) },
        IdentityRoute(
            .post, "/v3/policies", .rule("identity:create_policy"), "Keeps a policy document.",
            request: .object(["policy": .object(policyBody, required: ["type", "blob"])], required: ["policy"]),
            response: policyAnswer
        ) { call in
            let given = call.object("policy")
            let id = call.backend.newID()
            let policy = try await call.change("identity:create_policy", PolicyDocument.key(id)) { _ in
                var spec = PolicyDocumentSpec(type: "", blob: .null)
                spec.apply(given)
                let policy = PolicyDocument(name: id, created: call.backend.clock.now, spec: spec)
                var plan = IdentityPlan()
                try plan.create(policy)
                return (plan, policy)
            }
            return policyNoun.answer(policy, call)
        },
        IdentityRoute(
            .get, "/v3/policies/{policy_id}", .rule("identity:get_policy"), "Shows a policy document.",
            response: policyAnswer
        ) { policyNoun.answer(try $0.existing(PolicyDocument.self, "policy"), $0) },
        IdentityRoute(
            .patch, "/v3/policies/{policy_id}", .rule("identity:update_policy"), "Changes a policy document.",
            request: .object(["policy": .object(policyBody, minCount: 1)], required: ["policy"]),
            response: policyAnswer,
            status: .ok
        ) { call in
            let given = call.object("policy")
            let policy = try call.existing(PolicyDocument.self, "policy")
            try call.checkID(given, policy.id)
            let changed = try await call.change("identity:update_policy", policy.key) { directory in
                guard var stored = directory.now.stored(PolicyDocument.self, policy.metadata.name) else {
                    throw APIError.missing("policy", policy.id)
                }
                stored.value.spec.apply(given)
                var plan = IdentityPlan()
                try plan.update(stored)
                return (plan, stored.value)
            }
            return policyNoun.answer(changed, call)
        },
        IdentityRoute(
            .delete, "/v3/policies/{policy_id}", .rule("identity:delete_policy"),
            "Deletes a policy document with its associations."
        ) { call in
            let policy = try call.existing(PolicyDocument.self, "policy")
            try await call.delete("identity:delete_policy", policy.key) { directory in
                directory.entry(PolicyDocument.self, policy.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
    ]
}

extension PolicyDocumentSpec {
    fileprivate mutating func apply(_ given: [String: JSONValue]) {
        if let value = given["type"]?.string { type = value }
        if let value = given["blob"] { blob = value }
        extra = Extra.updated(extra, by: given, known: ["id", "type", "blob", "links"])
    }
}
