import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let regionNoun = Noun<RegionSpec>(
        member: "region", collection: "regions", path: "/v3/regions",
        members: { region in
            [
                "description": .string(region.spec.description), "parent_region_id": .optional(region.spec.parentID),
            ].over(region.spec.extra)
        }, identifier: { $0.spec.id })

    private static let regionBody: [String: Schema] = [
        "id": Schema.string(max: 255).orNull, "description": Schema.string().orNull,
        "parent_region_id": Schema.string(max: 255).orNull,
    ]
    private static let regionAnswer = regionNoun.schema(
        ["description": .string(), "parent_region_id": Schema.string().orNull],
        required: ["description", "parent_region_id"])

    static let regionRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/regions", .rule("identity:list_regions"), "Lists regions.",
            response: regionAnswer.list("regions")
        ) { try regionNoun.list($0.directory.now.all(Region.self), $0) },
        IdentityRoute(
            .post, "/v3/regions", .rule("identity:create_region"), "Makes a region.",
            request: .object(["region": .object(regionBody)], required: ["region"]), response: regionAnswer
        ) { call in
            let given = call.object("region")
            let id = given["id"]?.string.flatMap { $0.isEmpty ? nil : $0 } ?? call.backend.newID()
            return regionNoun.answer(try await call.createRegion(id), call)
        },
        IdentityRoute(
            .put, "/v3/regions/{region_id}", .rule("identity:create_region"), "Makes a region of a given identifier.",
            request: .object(["region": .object(regionBody)], required: ["region"]), response: regionAnswer
        ) { call in
            let id = call.parameter("region_id")
            if let said = call.object("region")["id"]?.string, said != id {
                throw APIError.badRequest(
                    "Conflicting region IDs specified: \"\(id)\" != \"\(said.printable(limit: 255))\"")
            }
            return regionNoun.answer(try await call.createRegion(id), call)
        },
        IdentityRoute(
            .get, "/v3/regions/{region_id}", .rule("identity:get_region"), "Shows a region.", response: regionAnswer
        ) { regionNoun.answer(try $0.existingRegion(), $0) },
        IdentityRoute(
            .patch, "/v3/regions/{region_id}", .rule("identity:update_region"), "Changes a region.",
            request: .object(["region": .object(regionBody, minCount: 1)], required: ["region"]),
            response: regionAnswer,
            status: .ok
        ) { try await $0.updateRegion() },
        IdentityRoute(
            .delete, "/v3/regions/{region_id}", .rule("identity:delete_region"), "Deletes a region."
        ) { try await $0.deleteRegion() },
    ]
}

extension APICall where Backend == IdentityBackend {
    private static var regionMembers: Set<String> { ["id", "description", "parent_region_id", "links", "enabled"] }

    fileprivate func existingRegion() throws -> Region {
        let id = parameter("region_id")
        guard let region = directory.entry(Region.self, id) else { throw APIError.missing("region", id) }
        return region
    }

    fileprivate func createRegion(_ id: String) async throws -> Region {
        let given = object("region")
        guard id.unicodeScalars.count <= 255 else {
            throw APIError.badRequest("A region's id has at most 255 characters.")
        }
        return try await change("identity:create_region", Region.key(CatalogName.of(id))) { directory in
            guard directory.entry(Region.self, id) == nil else {
                throw APIError.duplicate("region", "Duplicate ID, \(id.printable(limit: 255))")
            }
            var spec = RegionSpec(id: id)
            spec.description = given["description"]?.string ?? ""
            spec.extra = given.others(than: Self.regionMembers)
            var plan = IdentityPlan()
            if let parent = given["parent_region_id"]?.string {
                guard directory.entry(Region.self, parent) != nil else { throw APIError.missing("region", parent) }
                spec.parentID = parent
                plan.needs(Region.self, parent, in: directory)
            }
            let region = Region(name: CatalogName.of(id), created: backend.clock.now, spec: spec)
            try plan.create(region)
            return (plan, region)
        }
    }

    fileprivate func updateRegion() async throws -> APIAnswer {
        let given = object("region")
        let region = try existingRegion()
        if let said = given["id"]?.string, said != region.spec.id { throw APIError.badRequest("Cannot change ID") }
        let changed = try await change("identity:update_region", region.key) { directory in
            guard var stored = directory.now.stored(Region.self, region.metadata.name) else {
                throw APIError.missing("region", region.spec.id)
            }
            var plan = IdentityPlan()
            if let value = given["description"] { stored.value.spec.description = value.string ?? "" }
            if let parent = given["parent_region_id"] {
                try checkParent(parent.string, of: region.spec.id, directory)
                stored.value.spec.parentID = parent.string
                if let parent = parent.string { plan.needs(Region.self, parent, in: directory) }
            }
            stored.value.spec.extra = Extra.updated(stored.value.spec.extra, by: given, known: Self.regionMembers)
            try plan.update(stored)
            return (plan, stored.value)
        }
        return KeystoneAPI.regionNoun.answer(changed, self)
    }

    private func checkParent(_ parent: String?, of id: String, _ directory: IdentityDirectory) throws {
        var next = parent
        var steps = 0
        while let above = next, steps < 1000 {
            guard above != id else { throw APIError.badRequest("Region \(id) would be below itself.") }
            guard let found = directory.entry(Region.self, above) else { throw APIError.missing("region", above) }
            next = found.spec.parentID
            steps += 1
        }
    }

    fileprivate func deleteRegion() async throws -> APIAnswer {
        let region = try existingRegion()
        let id = region.spec.id
        try await delete("identity:delete_region", region.key) { directory in
            guard let found = directory.entry(Region.self, id) else { return Dependents() }
            let gone = Set(directory.regions(in: found).map(\.spec.id))
            guard !directory.now.all(Endpoint.self).contains(where: { $0.spec.regionID.map(gone.contains) == true })
            else {
                throw APIError.forbidden(
                    "Unable to delete region \(id) because it or its child regions have associated endpoints.")
            }
            return directory.dependents(of: found)
        }
        return .empty
    }
}
