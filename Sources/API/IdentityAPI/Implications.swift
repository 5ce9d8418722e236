import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let impliesPath = "/v3/roles/{prior_role_id}/implies"
    private static let impliedPath = "/v3/roles/{prior_role_id}/implies/{implied_role_id}"

    private static let inferredRole: Schema = .object(
        ["id": .string(), "name": .string(), "links": .links], required: ["id", "name", "links"])
    /// Both forms of one answer: what a role implies, one role or several.
    private static let inferenceAnswer: Schema = .object(
        ["role_inference": inferenceElement(.either([inferredRole, .array(of: inferredRole)])), "links": .links],
        required: ["role_inference", "links"])

    private static func inferenceElement(_ implied: Schema) -> Schema {
        .object(["prior_role": inferredRole, "implies": implied], required: ["prior_role", "implies"])
    }

    private static func ofPathImplication(_ call: IdentityCall) throws -> PolicyTarget {
        var target = ["prior_role": roleNoun.target(try call.existingRole("prior_role_id"))["role"] ?? .null]
        if call.parameters["implied_role_id"] != nil {
            target["implied_role"] = roleNoun.target(try call.existingRole("implied_role_id"))["role"]
        }
        return PolicyTarget(["target": .object(target)])
    }

    static let implicationRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, impliesPath, .rule("identity:list_implied_roles"), "Lists what a role implies by itself.",
            response: inferenceAnswer,
            target: ofPathImplication
        ) { call in
            let prior = try call.existingRole("prior_role_id")
            let implied = call.directory.implications(of: prior.id).compactMap {
                call.directory.role($0.spec.impliedID)
            }
            return .json([
                "role_inference": [
                    "prior_role": reference(prior, call), "implies": .array(implied.map { reference($0, call) }),
                ], "links": ["self": .string("\(call.base)/v3/roles/\(prior.id)/implies")],
            ])
        },
        IdentityRoute(
            .put, impliedPath, .rule("identity:create_implied_role"), "Has one role imply another.",
            response: inferenceAnswer,
            target: ofPathImplication
        ) { call in
            try await call.createImplication()
            return try inference(call)
        },
        IdentityRoute(
            .get, impliedPath, .rule("identity:get_implied_role"), "Shows that one role implies another.",
            response: inferenceAnswer,
            target: ofPathImplication
        ) { call in
            _ = try call.implication()
            return try inference(call)
        },
        IdentityRoute(
            .head, impliedPath, .rule("identity:check_implied_role"), "Says whether one role implies another.",
            target: ofPathImplication
        ) { call in
            _ = try call.implication()
            return .empty
        },
        IdentityRoute(
            .delete, impliedPath, .rule("identity:delete_implied_role"), "Has one role imply another no more.",
            target: ofPathImplication
        ) { call in
            let found = try call.implication()
            try await call.change("identity:delete_implied_role", found.key) { _ in
                var plan = IdentityPlan()
                plan.delete(found)
                return (plan, ())
            }
            return .empty
        },
        IdentityRoute(
            .get, "/v3/role_inferences", .rule("identity:list_role_inference_rules"),
            "Lists what all roles imply.",
            response: .object(
                ["role_inferences": .array(of: inferenceElement(.array(of: inferredRole)))],
                required: ["role_inferences"])
        ) { call in
            let groups = Dictionary(grouping: call.directory.now.all(RoleImplication.self), by: \.spec.priorID)
            let rules = groups.sorted { $0.key < $1.key }.compactMap { prior, implications -> JSONValue? in
                guard let prior = call.directory.role(prior) else { return nil }
                let implied = implications.compactMap { call.directory.role($0.spec.impliedID) }
                return [
                    "prior_role": reference(prior, call), "implies": .array(implied.map { reference($0, call) }),
                ]
            }
            return .json(["role_inferences": .array(rules)])
        },
    ]

    private static func reference(_ role: UserRole, _ call: IdentityCall) -> JSONValue {
        [
            "id": .string(role.id), "name": .string(role.spec.name),
            "links": ["self": .string("\(call.base)/v3/roles/\(role.id)")],
        ]
    }

    private static func inference(_ call: IdentityCall) throws -> APIAnswer {
        let (prior, implied) = (try call.existingRole("prior_role_id"), try call.existingRole("implied_role_id"))
        return .json([
            "role_inference": ["prior_role": reference(prior, call), "implies": reference(implied, call)],
            "links": ["self": .string("\(call.base)/v3/roles/\(prior.id)/implies/\(implied.id)")],
        ])
    }
}

extension APICall where Backend == IdentityBackend {
    fileprivate func implication() throws -> RoleImplication {
        let (prior, implied) = (try existingRole("prior_role_id"), try existingRole("implied_role_id"))
        let name = RoleImplicationSpec(priorID: prior.id, impliedID: implied.id).name
        guard let found = directory.now.get(RoleImplication.self, name) else {
            throw APIError.notFound("\(prior.id) does not imply \(implied.id).")
        }
        return found
    }

    fileprivate func createImplication() async throws {
        let (prior, implied) = (try existingRole("prior_role_id"), try existingRole("implied_role_id"))
        guard implied.spec.name.lowercased() != "admin" else {
            throw APIError.forbidden("The role \(implied.id) (admin) must not be implied.")
        }
        guard prior.spec.domainID != nil || implied.spec.domainID == nil else {
            throw APIError.forbidden("A role of no domain cannot imply a role of a domain: \(implied.id).")
        }
        let spec = RoleImplicationSpec(priorID: prior.id, impliedID: implied.id)
        try await change("identity:create_implied_role", RoleImplication.key(spec.name)) { directory in
            guard directory.now.get(RoleImplication.self, spec.name) == nil else {
                throw APIError.duplicate("inference_rule", "Duplicate entry found")
            }
            guard !directory.withImplied([implied.id]).contains(prior.id) else {
                throw APIError.forbidden(
                    "\(implied.id) implies \(prior.id) already; roles must not imply each other in a circle.")
            }
            var plan = IdentityPlan()
            try plan.create(RoleImplication(name: spec.name, created: backend.clock.now, spec: spec))
            plan.needs(UserRole.self, prior.id, in: directory)
            plan.needs(UserRole.self, implied.id, in: directory)
            return (plan, ())
        }
    }
}
