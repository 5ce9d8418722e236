import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let consumerNoun = Noun<ConsumerSpec>(
        member: "consumer", collection: "consumers", path: "/v3/OS-OAUTH1/consumers"
    ) {
        ["description": .optional($0.spec.description)].over($0.spec.extra)
    }

    private static let consumerBody: [String: Schema] = ["description": Schema.string().orNull]
    private static let consumerAnswer = consumerNoun.schema(
        ["description": Schema.string().orNull], required: ["description"])

    static let consumerRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-OAUTH1/consumers", .rule("identity:list_consumers"), "Lists programs that act for users.",
            response: consumerAnswer.list("consumers")
        ) { try consumerNoun.list($0.directory.now.all(Consumer.self), $0) },
        IdentityRoute(
            .post, "/v3/OS-OAUTH1/consumers", .rule("identity:create_consumer"),
            "Makes a program known that acts for users; its secret is in the answer, and nowhere else.",
            request: .object(["consumer": .object(consumerBody)], required: ["consumer"]), response: consumerAnswer
        ) { try await $0.createConsumer() },
        IdentityRoute(
            .get, "/v3/OS-OAUTH1/consumers/{consumer_id}", .rule("identity:get_consumer"), "Shows a consumer.",
            response: consumerAnswer
        ) { consumerNoun.answer(try $0.existing(Consumer.self, "consumer"), $0) },
        IdentityRoute(
            .patch, "/v3/OS-OAUTH1/consumers/{consumer_id}", .rule("identity:update_consumer"), "Changes a consumer.",
            request: .object(["consumer": .object(consumerBody, minCount: 1)], required: ["consumer"]),
            response: consumerAnswer, status: .ok
        ) { try await $0.updateConsumer() },
        IdentityRoute(
            .delete, "/v3/OS-OAUTH1/consumers/{consumer_id}", .rule("identity:delete_consumer"),
            "Forgets a consumer; its tokens are void."
        ) { call in
            let consumer = try call.existing(Consumer.self, "consumer")
            try await call.delete("identity:delete_consumer", consumer.key) { directory in
                directory.entry(Consumer.self, consumer.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    private static var consumerMembers: Set<String> { ["id", "description", "secret", "links"] }

    fileprivate func createConsumer() async throws -> APIAnswer {
        let given = object("consumer")
        let id = backend.newID()
        let secret = SecretText(backend.newID())
        let sealed = try backend.vault.sealed(
            ConsumerSpec.secretName(id), purpose: "what the OAuth consumer \(id) signs with", secret)
        let consumer = try await change("identity:create_consumer", Consumer.key(id)) { _ in
            var spec = ConsumerSpec(description: given["description"]?.string)
            spec.extra = given.others(than: Self.consumerMembers)
            let consumer = Consumer(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(consumer)
            plan.operations.append(try sealed.put())
            return (plan, consumer)
        }
        var members = KeystoneAPI.consumerNoun.render(consumer, base: base).object ?? [:]
        members["secret"] = .string(secret.revealed)
        return .json(["consumer": .object(members)])
    }

    fileprivate func updateConsumer() async throws -> APIAnswer {
        let given = object("consumer")
        let consumer = try existing(Consumer.self, "consumer")
        try checkID(given, consumer.id)
        guard given["secret"] == nil else {
            throw APIError.badRequest("A consumer's secret cannot be changed: make another consumer.")
        }
        let changed = try await change("identity:update_consumer", consumer.key) { directory in
            guard var stored = directory.now.stored(Consumer.self, consumer.metadata.name) else {
                throw APIError.missing("consumer", consumer.id)
            }
            if let value = given["description"] { stored.value.spec.description = value.string }
            stored.value.spec.extra = Extra.updated(stored.value.spec.extra, by: given, known: Self.consumerMembers)
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.consumerNoun.answer(changed, self)
    }
}
