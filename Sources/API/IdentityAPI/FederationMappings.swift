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

/// How a mapping is given (Keystone API v3, "Mapping rules"), in the forms 1.0, 2.0 and 3.0.
enum MappingForm {
    static let defaultVersion = "1.0"

    /// What is not said here of the rules, `MappingRules` says.
    static let request: Schema = .object(
        [
            "mapping": .object(
                [
                    "rules": .array(of: .object([:], required: ["local", "remote"])),
                    "schema_version": Schema.string().orNull, "id": .string(max: 64),
                ], required: ["rules"])
        ], required: ["mapping"])

    /// The mapping that a body says; throws `APIError` 400 for rules that its form has not.
    static func spec(_ id: String, _ given: [String: JSONValue]) throws -> FederationMappingSpec {
        let version = given["schema_version"]?.string ?? defaultVersion
        let rules = given["rules"] ?? .null
        do { _ = try MappingRules(rules, schemaVersion: version) } catch {
            throw APIError.badRequest(error.publicMessage)
        }
        return FederationMappingSpec(id: id, rules: rules, formVersion: version)
    }
}
