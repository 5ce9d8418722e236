import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let serviceNoun = Noun<CloudServiceSpec>(member: "service", collection: "services", path: "/v3/services") {
        service in
        var members: [String: JSONValue] = [
            "type": .string(service.spec.type), "enabled": .bool(service.spec.isEnabled),
        ]
        if let name = service.spec.name { members["name"] = .string(name) }
        if let description = service.spec.description { members["description"] = .string(description) }
        return members.over(service.spec.extra)
    }

    private static let serviceBody: [String: Schema] = [
        "name": .string(max: 255), "type": .string(min: 1, max: 255), "enabled": .boolean,
        "description": Schema.string().orNull,
    ]
    private static let serviceAnswer = serviceNoun.schema(
        ["type": .string(), "enabled": .boolean], required: ["type", "enabled"])

    static let serviceRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/services", .rule("identity:list_services"), "Lists services.",
            response: serviceAnswer.list("services")
        ) { try serviceNoun.list($0.directory.now.all(CloudService.self), $0) },
        IdentityRoute(
            .post, "/v3/services", .rule("identity:create_service"), "Makes a service.",
            request: .object(["service": .object(serviceBody, required: ["type"])], required: ["service"]),
            response: serviceAnswer
        ) { call in
            let given = call.object("service")
            let id = call.backend.newID()
            let service = try await call.change("identity:create_service", CloudService.key(id)) { _ in
                var spec = CloudServiceSpec(type: given["type"]?.string ?? "")
                spec.apply(given)
                let service = CloudService(name: id, created: call.backend.clock.now, spec: spec)
                var plan = IdentityPlan()
                try plan.create(service)
                return (plan, service)
            }
            return serviceNoun.answer(service, call)
        },
        IdentityRoute(
            .get, "/v3/services/{service_id}", .rule("identity:get_service"), "Shows a service.",
            response: serviceAnswer
        ) { serviceNoun.answer(try $0.existing(CloudService.self, "service"), $0) },
        IdentityRoute(
            .patch, "/v3/services/{service_id}", .rule("identity:update_service"), "Changes a service.",
            request: .object(["service": .object(serviceBody, minCount: 1)], required: ["service"]),
            response: serviceAnswer,
            status: .ok
        ) { call in
            let given = call.object("service")
            let service = try call.existing(CloudService.self, "service")
            let changed = try await call.change("identity:update_service", service.key) { directory in
                guard var stored = directory.now.stored(CloudService.self, service.metadata.name) else {
                    throw APIError.missing("service", service.id)
                }
                stored.value.spec.apply(given)
                var plan = IdentityPlan()
                try plan.update(stored)
                return (plan, stored.value)
            }
            return serviceNoun.answer(changed, call)
        },
        IdentityRoute(
            .delete, "/v3/services/{service_id}", .rule("identity:delete_service"),
            "Deletes a service with its endpoints."
        ) { call in
            let service = try call.existing(CloudService.self, "service")
            try await call.delete("identity:delete_service", service.key) { directory in
                directory.entry(CloudService.self, service.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
    ]
}

extension CloudServiceSpec {
    fileprivate mutating func apply(_ given: [String: JSONValue]) {
        let known: Set<String> = ["id", "type", "name", "description", "enabled", "links"]
        if let value = given["type"]?.string { type = value }
        if let value = given["name"] { name = value.string }
        if let value = given["description"] { description = value.string }
        if let value = given["enabled"]?.bool { isEnabled = value }
        extra = Extra.updated(extra, by: given, known: known)
    }
}

extension APICall where Backend == IdentityBackend {
    /// The entry that the path names by `{<sort>_id}`; throws `APIError` 404.
    func existing<Spec: IdentitySpec>(
        _ type: IdentityEntry<Spec>.Type, _ sort: String, parameter: String? = nil
    ) throws -> IdentityEntry<Spec> {
        let id = self.parameter(parameter ?? "\(sort)_id")
        guard let entry = directory.entry(type, id) else { throw APIError.missing(sort.replacing("_", with: " "), id) }
        return entry
    }
}
