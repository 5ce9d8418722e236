import HTTPTypes
import Primitives
import Testing

/// Endpoint groups, what projects are given, and policy documents.
@Suite struct EndpointFilterTests {
    private let groups = "/OS-EP-FILTER/endpoint_groups"

    private struct Catalog {
        var service: String
        var publicEndpoint: String
        var adminEndpoint: String
    }

    private func catalog(_ cloud: CloudScene) async throws -> Catalog {
        let service = try await cloud.make("/services", "service", ["type": "compute", "name": "nova"])
        _ = try await cloud.make("/regions", "region", ["id": "world"])
        _ = try await cloud.make("/regions", "region", ["id": "north", "parent_region_id": "world"])
        func endpoint(_ interface: JSONValue) async throws -> String {
            try await cloud.make(
                "/endpoints", "endpoint",
                ["service_id": .string(service), "interface": interface, "url": "https://x", "region_id": "north"])
        }
        return Catalog(
            service: service, publicEndpoint: try await endpoint("public"), adminEndpoint: try await endpoint("admin"))
    }

    @Test func groupsHaveFiltersThatAreKnown() async throws {
        try await withCloud { cloud in
            for (body, status) in [
                (["name": "g"] as JSONValue, 400), (["name": "g", "filters": [:]], 400),
                (["name": "g", "filters": ["color": "red"]], 400),
                (["name": "g", "filters": ["interface": "back"]], 400),
                (["name": " ", "filters": ["interface": "public"]], 400),
                (["name": "g", "filters": ["interface": "public"], "color": "red"], 400),
                (["name": "g", "filters": ["interface": "public", "region_id": nil]], 201),
            ] {
                let answer = try await cloud.call(.post, groups, ["endpoint_group": body])
                #expect(answer.status == status, "\(body): \(answer.text)")
            }
        }
    }

    @Test func aProjectsTokenHasWhatTheProjectWasGiven() async throws {
        try await withCloud { cloud in
            let catalog = try await catalog(cloud)
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let member = try await cloud.user(role: "member", in: project)
            func endpoints() async throws -> Set<String> {
                let services = try await cloud.call(.get, "/auth/catalog", token: member.token)["catalog"].array ?? []
                return Set(services.flatMap { $0["endpoints"]?.array ?? [] }.compactMap { $0["id"]?.string })
            }
            #expect(try await endpoints() == [catalog.publicEndpoint, catalog.adminEndpoint])
            let path = "/OS-EP-FILTER/projects/\(project)/endpoints/\(catalog.publicEndpoint)"
            #expect(try await cloud.call(.get, path).status == 404)
            #expect(try await cloud.call(.put, path).status == 204)
            #expect(try await cloud.call(.put, path).status == 409)
            #expect(try await cloud.call(.get, path).status == 204)
            #expect(try await endpoints() == [catalog.publicEndpoint])
            let group = try await cloud.make(
                groups, "endpoint_group", ["name": "g", "filters": ["interface": "admin"]])
            let inProject = "\(groups)/\(group)/projects/\(project)"
            #expect(try await cloud.call(.put, inProject).status == 204)
            #expect(try await endpoints() == [catalog.publicEndpoint, catalog.adminEndpoint])
            #expect(try await cloud.call(.get, inProject)["project_endpoint_group/project_id"].string == project)
            let given = try await cloud.call(.get, "/OS-EP-FILTER/projects/\(project)/endpoints")
            #expect(given["endpoints"].array?.count == 2)
            #expect(try await cloud.call(.delete, path).status == 204)
            #expect(try await cloud.call(.delete, path).status == 404)
            #expect(try await endpoints() == [catalog.adminEndpoint])
            #expect(try await cloud.call(.delete, "\(groups)/\(group)").status == 204)
            #expect(try await cloud.call(.get, inProject).status == 404)
            #expect(try await endpoints() == [catalog.publicEndpoint, catalog.adminEndpoint])
        }
    }

    @Test func theNearestPolicyIsAnEndpoints() async throws {
        try await withCloud { cloud in
            let catalog = try await catalog(cloud)
            func policy(_ name: String) async throws -> String {
                try await cloud.make("/policies", "policy", ["type": "application/json", "blob": .string(name)])
            }
            func found(_ endpoint: String) async throws -> String? {
                try await cloud.call(.get, "/endpoints/\(endpoint)/OS-ENDPOINT-POLICY/policy")["policy/id"].string
            }
            let (service, region, own) = (try await policy("s"), try await policy("r"), try await policy("e"))
            func path(_ policy: String, _ target: String) -> String {
                "/policies/\(policy)/OS-ENDPOINT-POLICY/\(target)"
            }
            #expect(try await found(catalog.publicEndpoint) == nil)
            #expect(try await cloud.call(.put, path(service, "services/\(catalog.service)")).status == 204)
            #expect(try await found(catalog.publicEndpoint) == service)
            let world = "services/\(catalog.service)/regions/world"
            #expect(try await cloud.call(.put, path(region, world)).status == 204)
            #expect(try await found(catalog.publicEndpoint) == region, "of the region above")
            #expect(try await cloud.call(.put, path(own, "endpoints/\(catalog.publicEndpoint)")).status == 204)
            #expect(try await found(catalog.publicEndpoint) == own)
            #expect(try await found(catalog.adminEndpoint) == region)
            let listed = try await cloud.call(.get, "/policies/\(region)/OS-ENDPOINT-POLICY/endpoints")
            #expect(listed["endpoints"].array?.map { $0["id"]?.string } == [catalog.adminEndpoint])
            #expect(try await cloud.call(.get, path(own, world)).status == 404)
            #expect(try await cloud.call(.put, path(own, world)).status == 204, "in the place of the other")
            #expect(try await cloud.call(.delete, path(region, world)).status == 404)
            #expect(try await found(catalog.adminEndpoint) == own)
            #expect(try await cloud.call(.delete, "/policies/\(own)").status == 204)
            #expect(try await found(catalog.publicEndpoint) == service)
        }
    }

    @Test func policyDocumentsAreTexts() async throws {
        try await withCloud { cloud in
            for body in [["type": "x"], ["blob": "x"], ["type": "x", "blob": ["a": 1]], ["type": 1, "blob": "x"]]
                as [JSONValue]
            {
                #expect(try await cloud.call(.post, "/policies", ["policy": body]).status == 400)
            }
            let id = try await cloud.make("/policies", "policy", ["type": "x", "blob": "y", "owner": "ann"])
            #expect(try await cloud.call(.get, "/policies/\(id)")["policy/owner"] == "ann")
            #expect(try await cloud.call(.patch, "/policies/\(id)", ["policy": ["id": "other"]]).status == 400)
            #expect(try await cloud.call(.patch, "/policies/\(id)", ["policy": [:]]).status == 400)
            let text = String(repeating: "\"", count: 50_000)
            let large = try await cloud.make("/policies", "policy", ["type": "x", "blob": .string(text)])
            #expect(try await cloud.call(.get, "/policies/\(large)")["policy/blob"].string == text)
            let larger: JSONValue = ["policy": ["type": "x", "blob": .string(text + text)]]
            #expect(try await cloud.call(.post, "/policies", larger).status == 413, "more than a request may have")
            let mapping: JSONValue = [
                "mapping": ["rules": [["local": [["user": ["name": .string(text)]]], "remote": [["type": "x"]]]]]
            ]
            #expect(try await cloud.call(.put, "/OS-FEDERATION/mappings/large", mapping).status == 201)
            let other: JSONValue = [
                "region": ["id": "r", "description": .string(String(repeating: "y", count: 20_000))]
            ]
            #expect(try await cloud.call(.post, "/regions", other).status == 413, "more than such a document may have")
        }
    }

    @Test func endpointsTakeTheirAssociationsAlong() async throws {
        try await withCloud { cloud in
            let catalog = try await catalog(cloud)
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let policy = try await cloud.make("/policies", "policy", ["type": "x", "blob": "y"])
            let endpoint = catalog.publicEndpoint
            #expect(try await cloud.call(.put, "/OS-EP-FILTER/projects/\(project)/endpoints/\(endpoint)").status == 204)
            #expect(
                try await cloud.call(.put, "/policies/\(policy)/OS-ENDPOINT-POLICY/endpoints/\(endpoint)").status == 204
            )
            #expect(try await cloud.call(.delete, "/endpoints/\(endpoint)").status == 204)
            let given = try await cloud.call(.get, "/OS-EP-FILTER/projects/\(project)/endpoints")
            #expect(given["endpoints"].array?.isEmpty == true)
            #expect(try await cloud.call(.delete, "/regions/world").status == 403, "a region below it has an endpoint")
            #expect(try await cloud.call(.delete, "/endpoints/\(catalog.adminEndpoint)").status == 204)
            #expect(try await cloud.call(.delete, "/regions/world").status == 204)
            #expect(try await cloud.call(.get, "/regions/north").status == 404)
        }
    }
}
