import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let limitNoun = Noun<LimitSpec>(member: "limit", collection: "limits", path: "/v3/limits") { limit in
        [
            "service_id": .string(limit.spec.serviceID), "region_id": .optional(limit.spec.regionID),
            "resource_name": .string(limit.spec.resourceName),
            "resource_limit": .integer(Int64(limit.spec.resourceLimit)),
            "project_id": .optional(limit.spec.projectID), "domain_id": .optional(limit.spec.domainID),
            "description": .optional(limit.spec.description),
        ]
    }

    private static let ownerID: Schema = Schema.string(min: 1, max: 64).orNull
    private static let limitBody = limitedResource.merging([
        "resource_limit": limitAmount, "project_id": ownerID, "domain_id": ownerID,
    ]) { $1 }
    private static let limitAnswer = limitNoun.schema(
        [
            "service_id": .string(), "region_id": Schema.string().orNull, "resource_name": .string(),
            "resource_limit": limitAmount, "project_id": Schema.string().orNull, "domain_id": Schema.string().orNull,
            "description": Schema.string().orNull,
        ],
        required: [
            "service_id", "region_id", "resource_name", "resource_limit", "project_id", "domain_id", "description",
        ])
    private static let limitsAnswer = limitAnswer.list("limits", hasLinks: false)

    /// The limit with its whole project or domain; nothing when it is not there.
    private static func ofPathLimit(_ call: IdentityCall) -> PolicyTarget {
        guard let limit = call.directory.entry(Limit.self, call.parameter("limit_id")) else { return PolicyTarget() }
        var members = limitNoun.target(limit)["limit"]?.object ?? [:]
        if let id = limit.spec.projectID {
            members["project"] = projectNoun.target(call.directory.project(id))["project"] ?? .object([:])
        } else if let id = limit.spec.domainID {
            members["domain"] = domainNoun.target(call.directory.domain(id))["domain"] ?? .object([:])
        }
        return PolicyTarget(["target": ["limit": .object(members)]])
    }

    /// The same, and 404 for everybody when it is not there.
    private static func ofExistingLimit(_ call: IdentityCall) throws -> PolicyTarget {
        _ = try call.existing(Limit.self, "limit")
        return ofPathLimit(call)
    }

    static let limitRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/limits/model", .rule("identity:get_limit_model"), "Says how limits are enforced.",
            response: .object(["model": .object(["name": .string(), "description": .string()])], required: ["model"])
        ) { _ in
            .json([
                "model": [
                    "name": "flat",
                    "description": "Each project's limits hold by themselves, whatever is above or below it.",
                ]
            ])
        },
        IdentityRoute(
            .get, "/v3/limits", .rule("identity:list_limits"),
            "Lists limits: all for the system, administrators and services, else those of the token's project or domain.",
            response: limitsAnswer
        ) { try limitNoun.list($0.visibleLimits(), $0) },
        IdentityRoute(
            .post, "/v3/limits", .rule("identity:create_limits"), "Makes limits, all or none.",
            request: .object(
                [
                    "limits": .array(
                        of: .object(
                            limitBody, required: ["service_id", "resource_name", "resource_limit"], others: nil))
                ], required: ["limits"], others: nil), response: limitsAnswer
        ) { try await $0.createLimits() },
        IdentityRoute(
            .get, "/v3/limits/{limit_id}", .rule("identity:get_limit"), "Shows a limit.", response: limitAnswer,
            target: ofPathLimit
        ) { limitNoun.answer(try $0.existing(Limit.self, "limit"), $0) },
        IdentityRoute(
            .patch, "/v3/limits/{limit_id}", .rule("identity:update_limit"), "Changes a limit.",
            request: .object(
                [
                    "limit": .object(
                        ["resource_limit": limitAmount, "description": Schema.string().orNull], others: nil)
                ], required: ["limit"], others: nil), response: limitAnswer, status: .ok, target: ofExistingLimit
        ) { try await $0.updateLimit() },
        IdentityRoute(
            .delete, "/v3/limits/{limit_id}", .rule("identity:delete_limit"), "Deletes a limit.",
            target: ofExistingLimit
        ) { call in
            let limit = try call.existing(Limit.self, "limit")
            try await call.delete("identity:delete_limit", limit.key) { directory in
                directory.entry(Limit.self, limit.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// The limits that the caller sees.
    fileprivate func visibleLimits() -> [Limit] {
        let all = directory.now.all(Limit.self)
        let who = caller.credentials
        let seesAll = who.isSystemScoped || who.roles.contains { ["admin", "service"].contains($0.lowercased()) }
        if seesAll { return all }
        if let domain = who.domainID {
            return all.filter { limit in
                limit.spec.domainID == domain
                    || limit.spec.projectID.flatMap { directory.project($0) }?.spec.domainID == domain
            }
        }
        guard let project = who.projectID else { return [] }
        return directory.limits(of: project).filter { $0.spec.projectID != nil }
    }

    fileprivate func createLimits() async throws -> APIAnswer {
        let wanted = try bulk("limits")
        let ids = wanted.map { _ in backend.newID() }
        let limits = try await change("identity:create_limits", Limit.key(ids[0])) { directory in
            var plan = IdentityPlan()
            var limits: [Limit] = []
            for (id, given) in zip(ids, wanted) {
                let spec = try limit(given, directory, &plan)
                let others = directory.limits(of: spec.projectID ?? spec.domainID ?? "") + limits
                guard !others.contains(where: { $0.spec.uniqueName == spec.uniqueName }) else {
                    throw APIError.duplicate("limit", "Duplicate entry")
                }
                let limit = Limit(name: id, created: backend.clock.now, spec: spec)
                try plan.create(limit)
                try plan.take(spec.uniqueName, for: id, at: backend.clock.now)
                limits.append(limit)
            }
            try plan.checkBulk("limits", limits.count)
            return (plan, limits)
        }
        return .json(["limits": .array(limits.map { KeystoneAPI.limitNoun.render($0, base: base) })])
    }

    /// One limit as asked for; throws `APIError` 400 for an owner that is not there, 403 without a registered limit.
    private func limit(
        _ given: [String: JSONValue], _ directory: IdentityDirectory, _ plan: inout IdentityPlan
    ) throws -> LimitSpec {
        var (projectID, domainID) = (given["project_id"]?.string, given["domain_id"]?.string)
        guard (projectID == nil) != (domainID == nil) else {
            throw APIError.badRequest(
                "A limit is either for a project or for a domain: give one of project_id and domain_id.")
        }
        if let id = projectID {
            guard let project = directory.project(id) else {
                throw APIError.badRequest("Could not find project: \(id.printable(limit: 64)).")
            }
            if project.spec.isDomain { (projectID, domainID) = (nil, id) }
        }
        if let id = domainID, directory.domain(id) == nil {
            throw APIError.badRequest("Could not find domain: \(id.printable(limit: 64)).")
        }
        let (service, region) = (given["service_id"]?.string ?? "", given["region_id"]?.string)
        guard directory.entry(CloudService.self, service) != nil else {
            throw APIError.badRequest("Could not find service: \(service.printable(limit: 64)).")
        }
        if let region, directory.entry(Region.self, region) == nil {
            throw APIError.badRequest("Could not find region: \(region.printable(limit: 255)).")
        }
        let resource = given["resource_name"]?.string ?? ""
        let name = UniqueName.registeredLimit(service: service, region: region, resource: resource)
        guard let registered = directory.registeredLimit(name) else {
            throw APIError.forbidden(
                "Unable to create a limit that has no corresponding registered limit: register '\(resource.printable(limit: 255))' of the service first."
            )
        }
        plan.needs(RegisteredLimit.self, registered.id, in: directory)
        plan.needs(Project.self, projectID ?? domainID ?? "", in: directory)
        return LimitSpec(
            projectID: projectID, domainID: domainID, registered: registered,
            resourceLimit: Int(given["resource_limit"]?.integer ?? 0), description: given["description"]?.string)
    }

    fileprivate func updateLimit() async throws -> APIAnswer {
        let given = object("limit")
        let limit = try existing(Limit.self, "limit")
        let changed = try await change("identity:update_limit", limit.key) { directory in
            guard var stored = directory.now.stored(Limit.self, limit.metadata.name) else {
                throw APIError.missing("limit", limit.id)
            }
            if let value = given["resource_limit"]?.integer { stored.value.spec.resourceLimit = Int(value) }
            if let value = given["description"] { stored.value.spec.description = value.string }
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.limitNoun.answer(changed, self)
    }
}
