import APISupport
import CatalogBareMetal
import HTTPTypes
import Primitives
import ReconcileRuntime
import ResourceModel

extension IronicAPI {
    private static let body = Schema.object(
        [
            "uuid": Schema.string().orNull, "description": Schema.string(max: 255).orNull,
            "extra": Schema.object([:]).orNull,
        ],
        others: nil)

    static let chassisRoutes: [BareMetalRoute] = [
        BareMetalRoute(
            .get, "/v1/chassis", .rule("baremetal:chassis:get"), "Lists chassis.",
            response: chassisPage
        ) { try $0.listChassis() },
        BareMetalRoute(
            .post, "/v1/chassis", .rule("baremetal:chassis:create"), "Makes a chassis.", request: body,
            response: chassisElement
        ) { try await $0.createChassis() },
        BareMetalRoute(
            .get, "/v1/chassis/{chassis_uuid}", .rule("baremetal:chassis:get"), "Shows a chassis.",
            response: chassisElement
        ) { call in .json(try call.chassis().render(call.base)) },
        BareMetalRoute(
            .delete, "/v1/chassis/{chassis_uuid}", .rule("baremetal:chassis:delete"), "Deletes a chassis without nodes."
        ) { try await $0.deleteChassis() },
    ]
}

extension APICall where Backend == BareMetalBackend {
    fileprivate func chassis() throws -> Chassis {
        let uuid = parameter("chassis_uuid")
        guard let found = now.get(Chassis.self, uuid.lowercased()) else { throw APIError.missing("Chassis", uuid) }
        return found
    }

    fileprivate func listChassis() throws -> APIAnswer {
        let (page, next) = try page(now.all(Chassis.self)[...], path: "chassis", id: \.metadata.name)
        return .list("chassis", page.map { $0.render(base).text }, next)
    }

    fileprivate func createChassis() async throws -> APIAnswer {
        var given = body.object ?? [:]
        let uuid = try givenUUID(&given, of: "chassis")
        let made = Chassis(
            metadata: Metadata(name: uuid, schemaVersion: Chassis.schemaVersion, created: backend.clock.now),
            spec: Chassis.Spec(description: given["description"]?.string, extra: given["extra"]?.object ?? [:]))
        try await change("baremetal:chassis:create", made.key) { now in
            guard now.get(Chassis.self, uuid) == nil else {
                throw APIError.conflict("A chassis with UUID \(uuid) already exists.")
            }
            var plan = BareMetalPlan()
            try plan.create(made)
            return (plan, ())
        }
        return .json(made.render(base), headers: [.location: "\(base)/v1/chassis/\(uuid)"])
    }

    fileprivate func deleteChassis() async throws -> APIAnswer {
        let uuid = try chassis().metadata.name
        try await change("baremetal:chassis:delete", Chassis.key(uuid)) { now in
            guard let stored = now.stored(Chassis.self, uuid) else { throw APIError.missing("Chassis", uuid) }
            let nodes = backend.nodes(now)
            guard !nodes.contains(where: { $0.kept.members["chassis_uuid"]?.string == uuid }) else {
                throw APIError.badRequest("Chassis \(uuid) is not empty; it has nodes.")
            }
            var plan = BareMetalPlan()
            try plan.delete(stored)
            return (plan, ())
        }
        return .empty
    }
}

extension Chassis {
    fileprivate func render(_ base: String) -> JSONValue {
        let uuid = metadata.name
        return [
            "uuid": .string(uuid), "description": .optional(spec.description), "extra": .object(spec.extra),
            "created_at": .string(metadata.created.ironic), "updated_at": .optional(spec.updated?.ironic),
            "links": .array(IronicAPI.links(base, "chassis", uuid)),
            "nodes": .array(IronicAPI.links(base, "chassis", "\(uuid)/nodes")),
        ]
    }
}
