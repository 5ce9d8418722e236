import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let mappingNoun = Noun<FederationMappingSpec>(
        member: "mapping", collection: "mappings", path: "/v3/OS-FEDERATION/mappings",
        members: { ["rules": $0.spec.rules, "schema_version": .string($0.spec.formVersion)] },
        identifier: { $0.spec.id })

    private static let mappingAnswer = mappingNoun.schema(
        ["rules": .array(of: .object([:])), "schema_version": .string()],
        required: ["rules", "schema_version"])

    static let mappingRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/mappings", .rule("identity:list_mappings"), "Lists mappings.",
            response: mappingAnswer.list("mappings")
        ) { try mappingNoun.list($0.directory.now.all(FederationMapping.self), $0) },
        IdentityRoute(
            .put, "/v3/OS-FEDERATION/mappings/{mapping_id}", .rule("identity:create_mapping"),
            "Makes a mapping of assertions to users.", request: MappingForm.request, response: mappingAnswer
        ) { try await $0.createMapping() },
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/mappings/{mapping_id}", .rule("identity:get_mapping"), "Shows a mapping.",
            response: mappingAnswer
        ) { mappingNoun.answer(try $0.existing(FederationMapping.self, "mapping"), $0) },
        IdentityRoute(
            .patch, "/v3/OS-FEDERATION/mappings/{mapping_id}", .rule("identity:update_mapping"),
            "Puts other rules in the place of a mapping's.", request: MappingForm.request, response: mappingAnswer,
            status: .ok
        ) { try await $0.updateMapping() },
        IdentityRoute(
            .delete, "/v3/OS-FEDERATION/mappings/{mapping_id}", .rule("identity:delete_mapping"), "Deletes a mapping."
        ) { call in
            let mapping = try call.existing(FederationMapping.self, "mapping")
            try await call.change("identity:delete_mapping", mapping.key) { _ in
                var plan = IdentityPlan()
                plan.delete(mapping)
                return (plan, ())
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func createMapping() async throws -> APIAnswer {
        let id = try newIdentifier("mapping_id")
        let spec = try MappingForm.spec(id, object("mapping"))
        let key = FederationMapping.key(CatalogName.of(id))
        let mapping = try await change("identity:create_mapping", key) { directory in
            guard directory.entry(FederationMapping.self, id) == nil else {
                throw APIError.duplicate("mapping", "Duplicate ID, \(id)")
            }
            let mapping = FederationMapping(name: key.name, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(mapping)
            return (plan, mapping)
        }
        return KeystoneAPI.mappingNoun.answer(mapping, self)
    }

    fileprivate func updateMapping() async throws -> APIAnswer {
        let mapping = try existing(FederationMapping.self, "mapping")
        let spec = try MappingForm.spec(mapping.spec.id, object("mapping"))
        let changed = try await change("identity:update_mapping", mapping.key) { directory in
            guard var stored = directory.now.stored(FederationMapping.self, mapping.metadata.name) else {
                throw APIError.missing("mapping", mapping.spec.id)
            }
            stored.value.spec = spec
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.mappingNoun.answer(changed, self)
    }
}

/// How a mapping's rules are written (Keystone API v3, "Mapping rules"), in the forms 1.0, 2.0 and 3.0.
enum MappingForm {
    static let defaultVersion = "1.0"

    private static let domain: Schema = .object(["id": .string(), "name": .string()], others: nil)
    private static let user: Schema = .object(
        [
            "id": .string(), "name": .string(), "email": .string(), "domain": domain,
            "type": .choice(["ephemeral", "local"]),
        ], others: nil)
    private static let group: Schema = .either([
        .object(["id": .string()], required: ["id"], others: nil),
        .object(["name": .string(), "domain": domain], required: ["name", "domain"], others: nil),
    ])

    private static func projects(hasDomain: Bool) -> Schema {
        var members: [String: Schema] = [
            "name": .string(),
            "roles": .array(of: .object(["name": .string()], required: ["name"], others: nil)),
        ]
        if hasDomain { members["domain"] = domain }
        return .array(of: .object(members, required: ["name", "roles"], others: nil))
    }

    private static func local(_ version: String) -> Schema {
        var members: [String: Schema] = [
            "user": user, "projects": projects(hasDomain: version != "1.0"), "group": group, "groups": .string(),
            "group_ids": .string(), "domain": domain,
        ]
        if version == "3.0" { members["projects_json"] = .string() }
        return .object(members, others: nil)
    }

    /// What an assertion must have: an attribute, perhaps with one test of its values.
    private static let remote: Schema = .either(
        [.object(["type": .string()], required: ["type"], others: nil)]
            + ["any_one_of", "not_any_of", "blacklist", "whitelist"].map { test in
                .object(
                    ["type": .string(), test: .array(of: .any), "regex": .boolean], required: ["type", test],
                    others: nil)
            })

    private static func rules(_ version: String) -> Schema {
        .array(
            of: .object(
                ["local": .array(of: local(version)), "remote": .array(of: remote)], required: ["local", "remote"],
                others: nil))
    }

    /// The rules of each form.
    private static let forms = Dictionary(uniqueKeysWithValues: ["1.0", "2.0", "3.0"].map { ($0, rules($0)) })

    /// A body of any form.
    static let request: Schema = .object(
        [
            "mapping": .object(
                [
                    "rules": rules("3.0"), "schema_version": Schema.choice(forms.keys.sorted()).orNull,
                    "id": .string(max: 64),
                ],
                required: ["rules"])
        ], required: ["mapping"])

    /// The mapping that a body says; throws `APIError` 400 for rules that its form has not.
    static func spec(_ id: String, _ given: [String: JSONValue]) throws -> FederationMappingSpec {
        let version = given["schema_version"]?.string ?? defaultVersion
        guard let form = forms[version], let rules = given["rules"] else {
            throw APIError.badRequest("A mapping needs rules, of form \(forms.keys.sorted().joined(separator: ", ")).")
        }
        if let fault = form.fault(in: rules, at: "/mapping/rules") { throw APIError.badRequest(fault.message) }
        guard rules.array?.isEmpty == false, rules.array?.allSatisfy({ $0["remote"]?.array?.isEmpty == false }) == true
        else {
            throw APIError.badRequest("A mapping has one rule at least, and a rule one element of 'remote' at least.")
        }
        return FederationMappingSpec(id: id, rules: rules, formVersion: version)
    }
}
