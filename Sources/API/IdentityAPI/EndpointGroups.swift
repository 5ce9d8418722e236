import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let endpointGroupNoun = Noun<EndpointGroupSpec>(
        member: "endpoint_group", collection: "endpoint_groups", path: "/v3/OS-EP-FILTER/endpoint_groups"
    ) { group in
        [
            "name": .string(group.spec.name), "description": .optional(group.spec.description),
            "filters": .object(group.spec.filters),
        ]
    }

    private static func filters(minCount: Int) -> Schema {
        .object(
            [
                "interface": .choice(["admin", "internal", "public"]), "service_id": .string(max: 64),
                "region_id": Schema.string(max: 255).orNull,
            ], others: nil, minCount: minCount)
    }

    private static func endpointGroupBody(filterCountMin: Int) -> [String: Schema] {
        [
            "name": .string(min: 1, max: 255, form: .notBlank), "description": Schema.string().orNull,
            "filters": filters(minCount: filterCountMin), "id": .string(max: 64),
        ]
    }
    static let endpointGroupAnswer = endpointGroupNoun.schema(
        [
            "name": .string(), "description": Schema.string().orNull, "filters": .object([:]),
            "links": .links,
        ],
        required: ["name", "filters"])

    static let endpointGroupRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/endpoint_groups", .rule("identity:list_endpoint_groups"), "Lists endpoint groups.",
            response: endpointGroupAnswer.list("endpoint_groups")
        ) { try endpointGroupNoun.list($0.directory.now.all(EndpointGroup.self), $0) },
        IdentityRoute(
            .post, "/v3/OS-EP-FILTER/endpoint_groups", .rule("identity:create_endpoint_group"),
            "Makes an endpoint group.",
            request: .object(
                [
                    "endpoint_group": .object(
                        endpointGroupBody(filterCountMin: 1), required: ["name", "filters"], others: nil)
                ], required: ["endpoint_group"]), response: endpointGroupAnswer
        ) { try await $0.createEndpointGroup() },
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", .rule("identity:get_endpoint_group"),
            "Shows an endpoint group.", response: endpointGroupAnswer
        ) { endpointGroupNoun.answer(try $0.existing(EndpointGroup.self, "endpoint_group"), $0) },
        IdentityRoute(
            .patch, "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", .rule("identity:update_endpoint_group"),
            "Changes an endpoint group.",
            request: .object(
                ["endpoint_group": .object(endpointGroupBody(filterCountMin: 0), others: nil, minCount: 1)],
                required: ["endpoint_group"]), response: endpointGroupAnswer, status: .ok
        ) { try await $0.updateEndpointGroup() },
        IdentityRoute(
            .delete, "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}", .rule("identity:delete_endpoint_group"),
            "Deletes an endpoint group, and takes it from all projects."
        ) { call in
            let group = try call.existing(EndpointGroup.self, "endpoint_group")
            try await call.delete("identity:delete_endpoint_group", group.key) { directory in
                directory.entry(EndpointGroup.self, group.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/endpoints",
            .rule("identity:list_endpoints_associated_with_endpoint_group"),
            "Lists the endpoints that a group chooses.",
            response: endpointsAnswer
        ) { call in
            let group = try call.existing(EndpointGroup.self, "endpoint_group")
            return try endpointNoun.list(call.directory.now.all(Endpoint.self).filter(group.spec.contains), call)
        },
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects",
            .rule("identity:list_projects_associated_with_endpoint_group"), "Lists the projects that have a group.",
            response: projectsAnswer
        ) { call in
            let group = try call.existing(EndpointGroup.self, "endpoint_group")
            return try call.listProjects(with: group.id)
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func createEndpointGroup() async throws -> APIAnswer {
        let given = object("endpoint_group")
        let id = backend.newID()
        let group = try await change("identity:create_endpoint_group", EndpointGroup.key(id)) { _ in
            var spec = EndpointGroupSpec(name: "", filters: [:])
            spec.apply(given)
            let group = EndpointGroup(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(group)
            return (plan, group)
        }
        return KeystoneAPI.endpointGroupNoun.answer(group, self)
    }

    fileprivate func updateEndpointGroup() async throws -> APIAnswer {
        let given = object("endpoint_group")
        let group = try existing(EndpointGroup.self, "endpoint_group")
        try checkID(given, group.id)
        let changed = try await change("identity:update_endpoint_group", group.key) { directory in
            guard var stored = directory.now.stored(EndpointGroup.self, group.metadata.name) else {
                throw APIError.missing("endpoint group", group.id)
            }
            stored.value.spec.apply(given)
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.endpointGroupNoun.answer(changed, self)
    }

    /// Throws `APIError` 400 when a body names another identifier than the path.
    func checkID(_ given: [String: JSONValue], _ id: String) throws {
        if let said = given["id"], said.string != id { throw APIError.badRequest("Cannot change ID") }
    }
}

extension EndpointGroupSpec {
    fileprivate mutating func apply(_ given: [String: JSONValue]) {
        if let value = given["name"]?.string { name = value }
        if let value = given["description"] { description = value.string }
        if let value = given["filters"]?.object { filters = value }
    }
}
