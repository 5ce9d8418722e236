import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let inProject = "/v3/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"
    private static let groupInProject = "/v3/OS-EP-FILTER/endpoint_groups/{endpoint_group_id}/projects/{project_id}"

    static let projectEndpointRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/endpoints/{endpoint_id}/projects", .rule("identity:list_projects_for_endpoint"),
            "Lists the projects that were given an endpoint.", response: projectsAnswer
        ) { try $0.listProjects(with: try $0.existing(Endpoint.self, "endpoint").id) },
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/projects/{project_id}/endpoints", .rule("identity:list_endpoints_for_project"),
            "Lists the endpoints that a project was given, by themselves or in groups.", response: endpointsAnswer
        ) { try endpointNoun.list($0.directory.endpoints(givenTo: try $0.existingProject().id), $0) },
        IdentityRoute(
            .get, "/v3/OS-EP-FILTER/projects/{project_id}/endpoint_groups",
            .rule("identity:list_endpoint_groups_for_project"), "Lists the endpoint groups that a project was given.",
            response: endpointGroupAnswer.list("endpoint_groups")
        ) { call in
            let given = call.directory.projectEndpoints(of: try call.existingProject().id).filter(\.spec.isGroup)
            return try endpointGroupNoun.list(
                given.compactMap { call.directory.entry(EndpointGroup.self, $0.spec.endpointID) }, call)
        },
        IdentityRoute(
            .put, inProject, .rule("identity:add_endpoint_to_project"), "Gives a project an endpoint.",
            status: .noContent
        ) { call in
            try await call.give(Endpoint.self, try call.existing(Endpoint.self, "endpoint"), isGroup: false)
        },
        IdentityRoute(
            .get, inProject, .rule("identity:check_endpoint_in_project"),
            "Says whether a project was given an endpoint."
        ) { call in
            _ = try call.given(try call.existing(Endpoint.self, "endpoint").id, "endpoint")
            return .empty
        },
        IdentityRoute(
            .delete, inProject, .rule("identity:remove_endpoint_from_project"), "Takes an endpoint from a project."
        ) { call in
            try await call.takeBack("identity:remove_endpoint_from_project", call.parameter("endpoint_id"), "endpoint")
        },
        IdentityRoute(
            .put, groupInProject, .rule("identity:add_endpoint_group_to_project"), "Gives a project an endpoint group.",
            status: .noContent
        ) { call in
            try await call.give(
                EndpointGroup.self, try call.existing(EndpointGroup.self, "endpoint_group"), isGroup: true)
        },
        IdentityRoute(
            .get, groupInProject, .rule("identity:get_endpoint_group_in_project"),
            "Shows that a project was given an endpoint group.",
            response: .object(
                ["project_endpoint_group": .object([:], required: ["endpoint_group_id", "project_id", "links"])],
                required: ["project_endpoint_group"])
        ) { call in
            let found = try call.given(try call.existing(EndpointGroup.self, "endpoint_group").id, "endpoint group")
                .spec
            let path =
                "/v3/OS-EP-FILTER/endpoint_groups/\(found.endpointID)/projects/\(found.projectID.percentEncoded)"
            return .json([
                "project_endpoint_group": [
                    "endpoint_group_id": .string(found.endpointID), "project_id": .string(found.projectID),
                    "links": ["self": .string(call.base + path)],
                ]
            ])
        },
        IdentityRoute(
            .delete, groupInProject, .rule("identity:remove_endpoint_group_from_project"),
            "Takes an endpoint group from a project."
        ) { call in
            let group = try call.existing(EndpointGroup.self, "endpoint_group")
            return try await call.takeBack("identity:remove_endpoint_group_from_project", group.id, "endpoint group")
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// The projects that were given an endpoint or an endpoint group.
    func listProjects(with id: String) throws -> APIAnswer {
        let projects = directory.projectEndpoints(with: id).compactMap { directory.project($0.spec.projectID) }
        return try KeystoneAPI.projectNoun.list(projects, self)
    }

    /// That the path's project was given this; throws `APIError` 404.
    fileprivate func given(_ id: String, _ sort: String) throws -> ProjectEndpoint {
        let project = try existingProject()
        let spec = ProjectEndpointSpec(projectID: project.id, endpointID: id, isGroup: false)
        guard let found = directory.now.get(ProjectEndpoint.self, spec.name) else {
            throw APIError.notFound("Could not find \(sort) \(id.printable(limit: 64)) in project \(project.id).")
        }
        return found
    }

    fileprivate func give<Spec: IdentitySpec>(
        _ type: IdentityEntry<Spec>.Type, _ entry: IdentityEntry<Spec>, isGroup: Bool
    ) async throws -> APIAnswer {
        let project = try existingProject()
        let sort = isGroup ? "endpoint_group" : "endpoint"
        let spec = ProjectEndpointSpec(projectID: project.id, endpointID: entry.id, isGroup: isGroup)
        try await change("identity:add_\(sort)_to_project", ProjectEndpoint.key(spec.name)) { directory in
            guard directory.project(project.id) != nil else { throw APIError.missing("project", project.id) }
            guard directory.entry(type, entry.id) != nil else { throw APIError.missing(sort, entry.id) }
            guard directory.now.get(ProjectEndpoint.self, spec.name) == nil else {
                throw APIError.duplicate("project_\(sort)", "the project has it already")
            }
            var plan = IdentityPlan()
            try plan.create(ProjectEndpoint(name: spec.name, created: backend.clock.now, spec: spec))
            plan.needs(Project.self, project.id, in: directory)
            plan.needs(type, entry.id, in: directory)
            return (plan, ())
        }
        return .empty
    }

    fileprivate func takeBack(_ verb: String, _ id: String, _ sort: String) async throws -> APIAnswer {
        let found = try given(id, sort)
        try await change(verb, found.key) { _ in
            var plan = IdentityPlan()
            plan.delete(found)
            return (plan, ())
        }
        return .empty
    }
}
