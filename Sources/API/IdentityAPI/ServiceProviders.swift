import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let serviceProviderNoun = Noun<ServiceProviderSpec>(
        member: "service_provider", collection: "service_providers", path: "/v3/OS-FEDERATION/service_providers",
        members: { provider in
            [
                "enabled": .bool(provider.spec.isEnabled), "description": .optional(provider.spec.description),
                "auth_url": .string(provider.spec.authURL), "sp_url": .string(provider.spec.spURL),
                "relay_state_prefix": .string(provider.spec.relayStatePrefix),
            ]
        }, identifier: { $0.spec.id })

    private static let serviceProviderPath = "/v3/OS-FEDERATION/service_providers/{sp_id}"
    private static let serviceProviderBody: [String: Schema] = [
        "enabled": Schema.boolean.orNull, "description": Schema.string().orNull,
        "auth_url": .string(max: 225, form: .uri),
        "sp_url": .string(max: 225, form: .uri), "relay_state_prefix": Schema.string(max: 255).orNull,
    ]
    private static let serviceProviderAnswer = serviceProviderNoun.schema(
        [
            "enabled": .boolean, "description": Schema.string().orNull, "auth_url": .string(),
            "sp_url": .string(), "relay_state_prefix": .string(),
        ], required: ["enabled", "description", "auth_url", "sp_url", "relay_state_prefix"])

    static let serviceProviderRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/service_providers", .rule("identity:list_service_providers"),
            "Lists clouds that trust this one.",
            response: serviceProviderAnswer.list("service_providers")
        ) { try serviceProviderNoun.list($0.directory.now.all(ServiceProvider.self), $0) },
        IdentityRoute(
            .put, serviceProviderPath, .rule("identity:create_service_provider"),
            "Makes a cloud known that trusts this one.",
            request: .object(
                ["service_provider": .object(serviceProviderBody, required: ["auth_url", "sp_url"], others: nil)],
                required: ["service_provider"], others: nil), response: serviceProviderAnswer
        ) { try await $0.createServiceProvider() },
        IdentityRoute(
            .get, serviceProviderPath, .rule("identity:get_service_provider"), "Shows a cloud that trusts this one.",
            response: serviceProviderAnswer
        ) { serviceProviderNoun.answer(try $0.existingServiceProvider(), $0) },
        IdentityRoute(
            .patch, serviceProviderPath, .rule("identity:update_service_provider"),
            "Changes what is known of a cloud that trusts this one.",
            request: .object(
                ["service_provider": .object(serviceProviderBody, others: nil, minCount: 1)],
                required: ["service_provider"], others: nil), response: serviceProviderAnswer, status: .ok
        ) { try await $0.updateServiceProvider() },
        IdentityRoute(
            .delete, serviceProviderPath, .rule("identity:delete_service_provider"),
            "Forgets a cloud that trusts this one."
        ) { call in
            let provider = try call.existingServiceProvider()
            try await call.change("identity:delete_service_provider", provider.key) { _ in
                var plan = IdentityPlan()
                plan.delete(provider)
                return (plan, ())
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func existingServiceProvider() throws -> ServiceProvider {
        try existing(ServiceProvider.self, "service provider", parameter: "sp_id")
    }

    fileprivate func createServiceProvider() async throws -> APIAnswer {
        let given = object("service_provider")
        let id = try newIdentifier("sp_id")
        let key = ServiceProvider.key(CatalogName.of(id))
        let provider = try await change("identity:create_service_provider", key) { directory in
            guard directory.entry(ServiceProvider.self, id) == nil else {
                throw APIError.duplicate("service_provider", "Duplicate ID, \(id)")
            }
            var spec = ServiceProviderSpec(
                id: id, isEnabled: false, description: nil, authURL: "", spURL: "",
                relayStatePrefix: ServiceProviderSpec.defaultRelayStatePrefix)
            spec.apply(given)
            let provider = ServiceProvider(name: key.name, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(provider)
            return (plan, provider)
        }
        return KeystoneAPI.serviceProviderNoun.answer(provider, self)
    }

    fileprivate func updateServiceProvider() async throws -> APIAnswer {
        let given = object("service_provider")
        let provider = try existingServiceProvider()
        let changed = try await change("identity:update_service_provider", provider.key) { directory in
            guard var stored = directory.now.stored(ServiceProvider.self, provider.metadata.name) else {
                throw APIError.missing("service provider", provider.spec.id)
            }
            stored.value.spec.apply(given)
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.serviceProviderNoun.answer(changed, self)
    }
}

extension ServiceProviderSpec {
    /// The prefix of relay states where none is given, as in SAML's enhanced client profile.
    static let defaultRelayStatePrefix = "ss:mem:"

    fileprivate mutating func apply(_ given: [String: JSONValue]) {
        if let value = given["enabled"]?.bool { isEnabled = value }
        if let value = given["description"] { description = value.string }
        if let value = given["auth_url"]?.string { authURL = value }
        if let value = given["sp_url"]?.string { spURL = value }
        if let value = given["relay_state_prefix"] { relayStatePrefix = value.string ?? Self.defaultRelayStatePrefix }
    }
}
