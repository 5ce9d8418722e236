import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let endpointNoun = Noun<EndpointSpec>(member: "endpoint", collection: "endpoints", path: "/v3/endpoints") {
        endpoint in
        [
            "service_id": .string(endpoint.spec.serviceID), "interface": .string(endpoint.spec.interface),
            "url": .string(endpoint.spec.url), "region_id": .optional(endpoint.spec.regionID),
            "region": .optional(endpoint.spec.regionID), "enabled": .bool(endpoint.spec.isEnabled),
        ].over(endpoint.spec.extra)
    }

    private static let endpointBody: [String: Schema] = [
        "service_id": .string(min: 1, max: 64), "interface": .choice(["admin", "internal", "public"]),
        "url": .string(min: 1, max: 2048, form: .uri), "region_id": Schema.string(max: 255).orNull,
        "region": Schema.string(max: 255).orNull, "enabled": .boolean, "name": .string(max: 255),
        "description": Schema.string().orNull,
    ]
    private static let endpointAnswer = endpointNoun.schema(
        [
            "service_id": .string(), "interface": .string(), "url": .string(),
            "region_id": Schema.string().orNull, "region": Schema.string().orNull, "enabled": .boolean,
        ], required: ["service_id", "interface", "url", "region_id", "region", "enabled"])
    static let endpointsAnswer = endpointAnswer.list("endpoints")

    static let endpointRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/endpoints", .rule("identity:list_endpoints"), "Lists endpoints.", response: endpointsAnswer
        ) { try endpointNoun.list($0.directory.now.all(Endpoint.self), $0) },
        IdentityRoute(
            .post, "/v3/endpoints", .rule("identity:create_endpoint"), "Makes an endpoint.",
            request: .object(
                ["endpoint": .object(endpointBody, required: ["service_id", "interface", "url"])],
                required: ["endpoint"]),
            response: endpointAnswer
        ) { call in
            let given = call.object("endpoint")
            let id = call.backend.newID()
            let endpoint = try await call.change("identity:create_endpoint", Endpoint.key(id)) { directory in
                var spec = EndpointSpec(
                    serviceID: given["service_id"]?.string ?? "", interface: given["interface"]?.string ?? "",
                    url: given["url"]?.string ?? "")
                var plan = IdentityPlan()
                try call.apply(given, to: &spec, directory, &plan)
                let endpoint = Endpoint(name: id, created: call.backend.clock.now, spec: spec)
                try plan.create(endpoint)
                return (plan, endpoint)
            }
            return endpointNoun.answer(endpoint, call)
        },
        IdentityRoute(
            .get, "/v3/endpoints/{endpoint_id}", .rule("identity:get_endpoint"), "Shows an endpoint.",
            response: endpointAnswer
        ) { endpointNoun.answer(try $0.existing(Endpoint.self, "endpoint"), $0) },
        IdentityRoute(
            .patch, "/v3/endpoints/{endpoint_id}", .rule("identity:update_endpoint"), "Changes an endpoint.",
            request: .object(["endpoint": .object(endpointBody, minCount: 1)], required: ["endpoint"]),
            response: endpointAnswer,
            status: .ok
        ) { call in
            let given = call.object("endpoint")
            let endpoint = try call.existing(Endpoint.self, "endpoint")
            let changed = try await call.change("identity:update_endpoint", endpoint.key) { directory in
                guard var stored = directory.now.stored(Endpoint.self, endpoint.metadata.name) else {
                    throw APIError.missing("endpoint", endpoint.id)
                }
                var plan = IdentityPlan()
                try call.apply(given, to: &stored.value.spec, directory, &plan)
                try plan.update(stored)
                return (plan, stored.value)
            }
            return endpointNoun.answer(changed, call)
        },
        IdentityRoute(
            .delete, "/v3/endpoints/{endpoint_id}", .rule("identity:delete_endpoint"), "Deletes an endpoint."
        ) { call in
            let endpoint = try call.existing(Endpoint.self, "endpoint")
            try await call.delete("identity:delete_endpoint", endpoint.key) { directory in
                directory.entry(Endpoint.self, endpoint.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// Takes over what is given; a region by its old name `region` is made when there is none.
    fileprivate func apply(
        _ given: [String: JSONValue], to spec: inout EndpointSpec, _ directory: IdentityDirectory,
        _ plan: inout IdentityPlan
    ) throws {
        let known: Set<String> = ["id", "service_id", "interface", "url", "region_id", "region", "enabled", "links"]
        if let value = given["service_id"]?.string { spec.serviceID = value }
        guard directory.entry(CloudService.self, spec.serviceID) != nil else {
            throw APIError.badRequest("Could not find service: \(spec.serviceID.printable(limit: 64)).")
        }
        plan.needs(CloudService.self, spec.serviceID, in: directory)
        if let value = given["interface"]?.string { spec.interface = value }
        if let value = given["url"]?.string {
            guard EndpointURL.isProper(value) else {
                throw APIError.badRequest(
                    "The endpoint's URL '\(value.printable(limit: 200))' has a substitution that is not known.")
            }
            spec.url = value
        }
        if let value = given["enabled"]?.bool { spec.isEnabled = value }
        if let region = given["region_id"] ?? given["region"] {
            spec.regionID = region.string
            if let id = region.string {
                if directory.entry(Region.self, id) != nil {
                    plan.needs(Region.self, id, in: directory)
                } else if given["region_id"] == nil {
                    try plan.create(
                        Region(name: CatalogName.of(id), created: backend.clock.now, spec: RegionSpec(id: id)))
                } else {
                    throw APIError.badRequest("Could not find region: \(id.printable(limit: 255)).")
                }
            }
        }
        spec.extra = Extra.updated(spec.extra, by: given, known: known)
    }
}
