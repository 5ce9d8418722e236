import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let identityProviderNoun = Noun<IdentityProviderSpec>(
        member: "identity_provider", collection: "identity_providers", path: "/v3/OS-FEDERATION/identity_providers",
        members: { provider in
            [
                "enabled": .bool(provider.spec.isEnabled), "description": .optional(provider.spec.description),
                "remote_ids": .array(provider.spec.remoteIDs.map { .string($0) }),
                "domain_id": .string(provider.spec.domainID),
                "authorization_ttl": provider.spec.authorizationTTL.map { .integer(Int64($0)) } ?? .null,
            ]
        }, identifier: { $0.spec.id }, links: ["protocols": "protocols"])

    private static let identityProviderBody: [String: Schema] = [
        "enabled": Schema.boolean.orNull, "description": Schema.string().orNull,
        // Keystone takes 64 characters; issuers of large providers are longer.
        "remote_ids": Schema.array(of: .string(min: 1, max: 255), max: 64, isUnique: true).orNull,
        "authorization_ttl": Schema.integer(min: 0, max: Int(Int32.max)).orNull,
    ]
    private static let identityProviderAnswer = identityProviderNoun.schema(
        [
            "enabled": .boolean, "description": Schema.string().orNull,
            "remote_ids": .array(of: .string()), "domain_id": .string(), "authorization_ttl": Schema.integer().orNull,
        ], required: ["enabled", "description", "remote_ids", "domain_id", "authorization_ttl"])

    static let identityProviderRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/identity_providers", .rule("identity:list_identity_providers"),
            "Lists identity providers.",
            response: identityProviderAnswer.list("identity_providers")
        ) { try identityProviderNoun.list($0.directory.now.all(IdentityProvider.self), $0) },
        IdentityRoute(
            .put, "/v3/OS-FEDERATION/identity_providers/{idp_id}", .rule("identity:create_identity_provider"),
            "Makes an identity provider; without a domain, together with one of its own.",
            request: .object(
                [
                    "identity_provider": .object(
                        identityProviderBody.merging(["domain_id": Schema.string(min: 1, max: 64).orNull]) { $1 },
                        others: nil)
                ], required: ["identity_provider"]), response: identityProviderAnswer
        ) { try await $0.createIdentityProvider() },
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/identity_providers/{idp_id}", .rule("identity:get_identity_provider"),
            "Shows an identity provider.", response: identityProviderAnswer
        ) { identityProviderNoun.answer(try $0.existingProvider(), $0) },
        IdentityRoute(
            .patch, "/v3/OS-FEDERATION/identity_providers/{idp_id}", .rule("identity:update_identity_provider"),
            "Changes an identity provider.",
            request: .object(
                ["identity_provider": .object(identityProviderBody, others: nil, minCount: 1)],
                required: ["identity_provider"]), response: identityProviderAnswer, status: .ok
        ) { try await $0.updateIdentityProvider() },
        IdentityRoute(
            .delete, "/v3/OS-FEDERATION/identity_providers/{idp_id}", .rule("identity:delete_identity_provider"),
            "Deletes an identity provider with its protocols; its domain stays."
        ) { call in
            let provider = try call.existingProvider()
            try await call.delete(
                "identity:delete_identity_provider", provider.key, forgetting: { $0.provider == provider.spec.id }
            ) { directory in
                directory.entry(IdentityProvider.self, provider.spec.id).map { directory.dependents(of: $0) }
                    ?? Dependents()
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// The identity provider that the path names; throws `APIError` 404.
    func existingProvider() throws -> IdentityProvider {
        try existing(IdentityProvider.self, "identity provider", parameter: "idp_id")
    }

    fileprivate func createIdentityProvider() async throws -> APIAnswer {
        let given = object("identity_provider")
        let id = try newIdentifier("idp_id")
        let domainID = given["domain_id"]?.string ?? backend.newID()
        let key = IdentityProvider.key(CatalogName.of(id))
        let provider = try await change("identity:create_identity_provider", key) { directory in
            guard directory.entry(IdentityProvider.self, id) == nil else {
                throw APIError.duplicate("identity_provider", "Duplicate ID, \(id)")
            }
            var plan = IdentityPlan()
            if given["domain_id"]?.string == nil {
                try addDomain(domainID, ofProvider: id, &plan)
            } else {
                guard directory.domain(domainID) != nil else { throw APIError.missing("domain", domainID) }
                plan.needs(Project.self, domainID, in: directory)
            }
            var spec = IdentityProviderSpec(
                id: id, isEnabled: false, description: nil, remoteIDs: [], domainID: domainID)
            spec.apply(given)
            try take(spec.remoteIDs, insteadOf: [], for: id, directory, &plan)
            let provider = IdentityProvider(name: key.name, created: backend.clock.now, spec: spec)
            try plan.create(provider)
            return (plan, provider)
        }
        return KeystoneAPI.identityProviderNoun.answer(provider, self)
    }

    fileprivate func updateIdentityProvider() async throws -> APIAnswer {
        let given = object("identity_provider")
        let provider = try existingProvider()
        let changed = try await change("identity:update_identity_provider", provider.key) { directory in
            guard var stored = directory.now.stored(IdentityProvider.self, provider.metadata.name) else {
                throw APIError.missing("identity provider", provider.spec.id)
            }
            let before = stored.value.spec
            stored.value.spec.apply(given)
            var plan = IdentityPlan()
            try take(stored.value.spec.remoteIDs, insteadOf: before.remoteIDs, for: before.id, directory, &plan)
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.identityProviderNoun.answer(changed, self)
    }

    /// A domain for a provider's users, which is called as its identifier.
    private func addDomain(_ domainID: String, ofProvider id: String, _ plan: inout IdentityPlan) throws {
        var spec = ProjectSpec(name: domainID, domainID: nil, parentID: nil)
        spec.description = "Auto generated federated domain for Identity Provider: \(id)"
        try plan.create(Project(name: domainID, created: backend.clock.now, spec: spec))
        try plan.take(.domain(domainID), for: domainID, at: backend.clock.now)
    }

    /// Takes the names by which a provider calls itself; throws `APIError` 409 when one is another's.
    private func take(
        _ remoteIDs: [String], insteadOf before: [String], for id: String, _ directory: IdentityDirectory,
        _ plan: inout IdentityPlan
    ) throws {
        let others = directory.now.all(IdentityProvider.self).filter { $0.spec.id != id }
        for remote in remoteIDs where !before.contains(remote) {
            guard !others.contains(where: { $0.spec.remoteIDs.contains(remote) }) else {
                throw APIError.duplicate("identity_provider", "Duplicate remote ID: \(remote)")
            }
            try plan.take(.remoteID(remote), for: id, at: backend.clock.now)
        }
        for remote in before where !remoteIDs.contains(remote) { plan.free(.remoteID(remote)) }
    }

    /// The identifier of a new thing that the path names; throws `APIError` 400 for one that is too long.
    func newIdentifier(_ name: String) throws -> String {
        let id = parameter(name)
        guard (1...64).contains(id.unicodeScalars.count) else {
            throw APIError.badRequest("The identifier '\(id.printable(limit: 80))' must have 1 to 64 characters.")
        }
        return id
    }
}

extension IdentityProviderSpec {
    fileprivate mutating func apply(_ given: [String: JSONValue]) {
        if let value = given["enabled"]?.bool { isEnabled = value }
        if let value = given["description"] { description = value.string }
        if let value = given["remote_ids"] { remoteIDs = value.array?.compactMap(\.string) ?? [] }
        if let value = given["authorization_ttl"] { authorizationTTL = value.integer.map { Int($0) } }
    }
}
