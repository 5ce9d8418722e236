import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let protocolPath = "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}"
    private static let protocolBody: Schema = .object(
        [
            "protocol": .object(
                [
                    "mapping_id": .string(min: 1, max: 64),
                    "remote_id_attribute": Schema.string(max: 64).orNull,
                ], required: ["mapping_id"], others: nil)
        ], required: ["protocol"], others: nil)
    private static let protocolAnswer: Schema = .object(
        [
            "protocol": .object(
                [
                    "id": .string(), "mapping_id": .string(), "remote_id_attribute": Schema.string().orNull,
                    "links": .links,
                ],
                required: ["id", "mapping_id", "links"])
        ], required: ["protocol"])

    static let protocolRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols", .rule("identity:list_protocols"),
            "Lists the protocols of an identity provider.",
            response: protocolAnswer.list("protocols")
        ) { call in
            let provider = try call.existingProvider().spec.id
            let protocols = call.directory.now.all(FederationProtocol.self).filter { $0.spec.providerID == provider }
            let path = "\(identityProviderNoun.path)/\(provider.percentEncoded)/protocols"
            return try call.list("protocols", path: path, protocols.map { .object(call.listed($0)) })
        },
        IdentityRoute(
            .put, protocolPath, .rule("identity:create_protocol"), "Says how an identity provider is spoken to.",
            request: protocolBody, response: protocolAnswer
        ) { try await $0.createProtocol() },
        IdentityRoute(
            .get, protocolPath, .rule("identity:get_protocol"), "Shows a protocol of an identity provider.",
            response: protocolAnswer
        ) { $0.answer(try $0.existingProtocol()) },
        IdentityRoute(
            .patch, protocolPath, .rule("identity:update_protocol"), "Changes a protocol of an identity provider.",
            request: protocolBody, response: protocolAnswer, status: .ok
        ) { try await $0.updateProtocol() },
        IdentityRoute(
            .delete, protocolPath, .rule("identity:delete_protocol"), "Deletes a protocol of an identity provider."
        ) { call in
            let found = try call.existingProtocol()
            try await call.delete(
                "identity:delete_protocol", found.key,
                forgetting: { $0.provider == found.spec.providerID && $0.protocolID == found.spec.id }
            ) { directory in
                directory.federationProtocol(found.spec.id, of: found.spec.providerID).map {
                    directory.dependents(of: $0)
                }
                    ?? Dependents()
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// The protocol that the path names; throws `APIError` 404.
    func existingProtocol() throws -> FederationProtocol {
        let (provider, id) = (parameter("idp_id"), parameter("protocol_id"))
        guard let found = directory.federationProtocol(id, of: provider) else {
            throw APIError.notFound(
                "Could not find federated protocol \(id.printable(limit: 64)) for Identity Provider: \(provider.printable(limit: 64))."
            )
        }
        return found
    }

    private func members(_ entry: FederationProtocol) -> [String: JSONValue] {
        let provider = "\(base)\(KeystoneAPI.identityProviderNoun.path)/\(entry.spec.providerID.percentEncoded)"
        return [
            "id": .string(entry.spec.id), "mapping_id": .string(entry.spec.mappingID),
            "links": [
                "self": .string("\(provider)/protocols/\(entry.spec.id.percentEncoded)"),
                "identity_provider": .string(provider),
            ],
        ]
    }

    /// One of a list, which says more than a protocol that is shown by itself.
    fileprivate func listed(_ entry: FederationProtocol) -> [String: JSONValue] {
        members(entry).merging([
            "idp_id": .string(entry.spec.providerID), "remote_id_attribute": .optional(entry.spec.remoteIDAttribute),
        ]) { $1 }
    }

    fileprivate func answer(_ entry: FederationProtocol) -> APIAnswer {
        var members = members(entry)
        if let attribute = entry.spec.remoteIDAttribute { members["remote_id_attribute"] = .string(attribute) }
        return .json(["protocol": .object(members)])
    }

    fileprivate func createProtocol() async throws -> APIAnswer {
        let given = object("protocol")
        let provider = try existingProvider().spec.id
        let id = try newIdentifier("protocol_id")
        let mapping = given["mapping_id"]?.string ?? ""
        let spec = FederationProtocolSpec(
            id: id, providerID: provider, mappingID: mapping, remoteIDAttribute: given["remote_id_attribute"]?.string)
        let entry = try await change("identity:create_protocol", FederationProtocol.key(spec.name)) { directory in
            guard directory.now.get(FederationProtocol.self, spec.name) == nil else {
                throw APIError.duplicate("federation_protocol", "Duplicate ID, \(id)")
            }
            var plan = IdentityPlan()
            _ = try existingProvider()
            try needsMapping(mapping, directory, &plan)
            plan.needs(IdentityProvider.self, provider, in: directory)
            let entry = FederationProtocol(name: spec.name, created: backend.clock.now, spec: spec)
            try plan.create(entry)
            return (plan, entry)
        }
        return answer(entry)
    }

    fileprivate func updateProtocol() async throws -> APIAnswer {
        let given = object("protocol")
        let found = try existingProtocol()
        let changed = try await change("identity:update_protocol", found.key) { directory in
            guard var stored = directory.now.stored(FederationProtocol.self, found.metadata.name) else {
                throw APIError.missing("federated protocol", found.spec.id)
            }
            var plan = IdentityPlan()
            stored.value.spec.mappingID = given["mapping_id"]?.string ?? ""
            try needsMapping(stored.value.spec.mappingID, directory, &plan)
            if let value = given["remote_id_attribute"] { stored.value.spec.remoteIDAttribute = value.string }
            try plan.update(stored)
            return (plan, stored.value)
        }
        return answer(changed)
    }

    private func needsMapping(_ id: String, _ directory: IdentityDirectory, _ plan: inout IdentityPlan) throws {
        guard directory.entry(FederationMapping.self, id) != nil else {
            throw APIError.badRequest("Could not find mapping: \(id.printable(limit: 64)).")
        }
        plan.needs(FederationMapping.self, id, in: directory)
    }
}
