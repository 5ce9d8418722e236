import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let registeredLimitNoun = Noun<RegisteredLimitSpec>(
        member: "registered_limit", collection: "registered_limits", path: "/v3/registered_limits"
    ) { limit in
        [
            "service_id": .string(limit.spec.serviceID), "region_id": .optional(limit.spec.regionID),
            "resource_name": .string(limit.spec.resourceName),
            "default_limit": .integer(Int64(limit.spec.defaultLimit)),
            "description": .optional(limit.spec.description),
        ]
    }

    /// How much of something: -1 is any.
    static let limitAmount: Schema = .integer(min: -1, max: Int(Int32.max))
    static let limitedResource: [String: Schema] = [
        "service_id": .string(min: 1, max: 64), "region_id": Schema.string(min: 1, max: 255).orNull,
        "resource_name": .string(min: 1, max: 255, form: .notBlank), "description": Schema.string().orNull,
    ]
    private static let registeredLimitBody = limitedResource.merging(["default_limit": limitAmount]) { $1 }
    private static let registeredLimitAnswer = registeredLimitNoun.schema(
        [
            "service_id": .string(), "region_id": Schema.string().orNull, "resource_name": .string(),
            "default_limit": limitAmount, "description": Schema.string().orNull,
        ], required: ["service_id", "region_id", "resource_name", "default_limit", "description"])
    private static let registeredLimitsAnswer = registeredLimitAnswer.list("registered_limits", hasLinks: false)

    static let registeredLimitRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/registered_limits", .rule("identity:list_registered_limits"), "Lists registered limits.",
            response: registeredLimitsAnswer
        ) { try registeredLimitNoun.list($0.directory.now.all(RegisteredLimit.self), $0) },
        IdentityRoute(
            .post, "/v3/registered_limits", .rule("identity:create_registered_limits"),
            "Makes registered limits, all or none.",
            request: .object(
                [
                    "registered_limits": .array(
                        of: .object(
                            registeredLimitBody, required: ["service_id", "resource_name", "default_limit"], others: nil
                        ))
                ], required: ["registered_limits"], others: nil), response: registeredLimitsAnswer
        ) { try await $0.createRegisteredLimits() },
        IdentityRoute(
            .get, "/v3/registered_limits/{registered_limit_id}", .rule("identity:get_registered_limit"),
            "Shows a registered limit.", response: registeredLimitAnswer
        ) { registeredLimitNoun.answer(try $0.existing(RegisteredLimit.self, "registered_limit"), $0) },
        IdentityRoute(
            .patch, "/v3/registered_limits/{registered_limit_id}", .rule("identity:update_registered_limit"),
            "Changes a registered limit that no limit takes the place of.",
            request: .object(
                ["registered_limit": .object(registeredLimitBody, others: nil)], required: ["registered_limit"],
                others: nil),
            response: registeredLimitAnswer, status: .ok
        ) { try await $0.updateRegisteredLimit() },
        IdentityRoute(
            .delete, "/v3/registered_limits/{registered_limit_id}", .rule("identity:delete_registered_limit"),
            "Deletes a registered limit that no limit takes the place of."
        ) { call in
            let limit = try call.existing(RegisteredLimit.self, "registered_limit")
            try await call.delete("identity:delete_registered_limit", limit.key) { directory in
                try directory.refuseUsed(limit)
                return directory.entry(RegisteredLimit.self, limit.id).map { directory.dependents(of: $0) }
                    ?? Dependents()
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func createRegisteredLimits() async throws -> APIAnswer {
        let wanted = try bulk("registered_limits")
        let ids = wanted.map { _ in backend.newID() }
        let limits = try await change("identity:create_registered_limits", RegisteredLimit.key(ids[0])) { directory in
            var plan = IdentityPlan()
            var limits: [RegisteredLimit] = []
            for (id, given) in zip(ids, wanted) {
                var spec = RegisteredLimitSpec(
                    serviceID: "", regionID: nil, resourceName: "", defaultLimit: 0, description: nil)
                spec.apply(given)
                try checkPlace(spec.serviceID, spec.regionID, directory, &plan)
                guard directory.registeredLimit(spec.uniqueName) == nil,
                    !limits.contains(where: { $0.spec.uniqueName == spec.uniqueName })
                else { throw APIError.duplicate("registered_limit", "Duplicate entry") }
                let limit = RegisteredLimit(name: id, created: backend.clock.now, spec: spec)
                try plan.create(limit)
                try plan.take(spec.uniqueName, for: id, at: backend.clock.now)
                limits.append(limit)
            }
            try plan.checkBulk("registered_limits", limits.count)
            return (plan, limits)
        }
        return .json([
            "registered_limits": .array(limits.map { KeystoneAPI.registeredLimitNoun.render($0, base: base) })
        ])
    }

    fileprivate func updateRegisteredLimit() async throws -> APIAnswer {
        let given = object("registered_limit")
        let limit = try existing(RegisteredLimit.self, "registered_limit")
        let changed = try await change("identity:update_registered_limit", limit.key) { directory in
            guard var stored = directory.now.stored(RegisteredLimit.self, limit.metadata.name) else {
                throw APIError.missing("registered limit", limit.id)
            }
            try directory.refuseUsed(limit)
            let before = stored.value.spec
            stored.value.spec.apply(given)
            let after = stored.value.spec
            var plan = IdentityPlan()
            try checkPlace(after.serviceID, after.regionID, directory, &plan)
            if after.uniqueName != before.uniqueName {
                guard directory.registeredLimit(after.uniqueName) == nil else {
                    throw APIError.duplicate("registered_limit", "Duplicate entry")
                }
                plan.free(before.uniqueName)
                try plan.take(after.uniqueName, for: limit.id, at: backend.clock.now)
            }
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.registeredLimitNoun.answer(changed, self)
    }

    /// What is to be made; throws `APIError` 400 when it is nothing.
    func bulk(_ member: String) throws -> [[String: JSONValue]] {
        let wanted = body[member]?.array?.compactMap(\.object) ?? []
        guard !wanted.isEmpty else { throw APIError.badRequest("'\(member)' is empty: one at least.") }
        return wanted
    }

    /// Throws `APIError` 400 for a service or region that is not there.
    private func checkPlace(
        _ service: String, _ region: String?, _ directory: IdentityDirectory, _ plan: inout IdentityPlan
    ) throws {
        guard directory.entry(CloudService.self, service) != nil else {
            throw APIError.badRequest("Could not find service: \(service.printable(limit: 64)).")
        }
        plan.needs(CloudService.self, service, in: directory)
        guard let region else { return }
        guard directory.entry(Region.self, region) != nil else {
            throw APIError.badRequest("Could not find region: \(region.printable(limit: 255)).")
        }
        plan.needs(Region.self, region, in: directory)
    }
}

extension RegisteredLimitSpec {
    fileprivate mutating func apply(_ given: [String: JSONValue]) {
        if let value = given["service_id"]?.string { serviceID = value }
        if let value = given["region_id"] { regionID = value.string }
        if let value = given["resource_name"]?.string { resourceName = value }
        if let value = given["default_limit"]?.integer { defaultLimit = Int(value) }
        if let value = given["description"] { description = value.string }
    }
}

extension IdentityDirectory {
    fileprivate func refuseUsed(_ limit: RegisteredLimit) throws {
        guard limits(for: limit).isEmpty else {
            throw APIError.forbidden(
                "Unable to update or delete registered limit \(limit.id) because there are project limits associated with it."
            )
        }
    }

    /// The registered limit of this name; nil: there is none.
    func registeredLimit(_ name: UniqueName) -> RegisteredLimit? {
        now.all(RegisteredLimit.self).first { $0.spec.uniqueName == name }
    }
}

extension IdentityPlan {
    /// Throws `APIError` 400 when one commit cannot hold so many; says how many in the audit event.
    mutating func checkBulk(_ member: String, _ count: Int) throws {
        guard operations.count < StoreLimits.operationCountMax, conditions.count <= StoreLimits.operationCountMax else {
            throw APIError.badRequest(
                "'\(member)' has \(count) elements, which is too many for one request: send fewer.")
        }
        if count > 1 { (after, summary) = (nil, "\(count) \(member)") }
    }
}
