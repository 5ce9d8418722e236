import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let policyAssociationRoutes: [IdentityRoute] =
        associationRoutes("endpoints/{endpoint_id}", "endpoint")
        + associationRoutes("services/{service_id}", "service")
        + associationRoutes("services/{service_id}/regions/{region_id}", "region_and_service")
        + [
            IdentityRoute(
                .get, "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints",
                .rule("identity:list_endpoints_for_policy"),
                "Lists the endpoints that a policy document is for.", response: endpointsAnswer
            ) { call in
                let policy = try call.existing(PolicyDocument.self, "policy")
                let directory = call.directory
                return try endpointNoun.list(
                    directory.now.all(Endpoint.self).filter { directory.policyID(for: $0) == policy.id }, call)
            },
            IdentityRoute(
                .get, "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy",
                .rule("identity:get_policy_for_endpoint"),
                "Shows the policy document of an endpoint: its own, else its service's in its region or one above, else its service's.",
                response: policyAnswer
            ) { call in
                let endpoint = try call.existing(Endpoint.self, "endpoint")
                guard let id = call.directory.policyID(for: endpoint) else {
                    throw APIError.notFound("No policy is associated with endpoint \(endpoint.id).")
                }
                guard let policy = call.directory.entry(PolicyDocument.self, id) else {
                    throw APIError.missing("policy", id)
                }
                return policyNoun.answer(policy, call)
            },
        ]

    private static func associationRoutes(_ path: String, _ sort: String) -> [IdentityRoute] {
        let path = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/\(path)"
        let words = sort.split(separator: "_").joined(separator: " ")
        return [
            IdentityRoute(
                .put, path, .rule("identity:create_policy_association_for_\(sort)"),
                "Sets the policy document of a \(words).",
                status: .noContent
            ) { try await $0.associate(sort) },
            IdentityRoute(
                .get, path, .rule("identity:check_policy_association_for_\(sort)"),
                "Says whether a policy document is for a \(words)."
            ) { call in
                _ = try call.association()
                return .empty
            },
            IdentityRoute(
                .delete, path, .rule("identity:delete_policy_association_for_\(sort)"),
                "Unsets the policy document of a \(words)."
            ) { call in
                let found = try call.association()
                try await call.change("identity:delete_policy_association_for_\(sort)", found.key) { _ in
                    var plan = IdentityPlan()
                    plan.delete(found)
                    return (plan, ())
                }
                return .empty
            },
        ]
    }
}

extension APICall where Backend == IdentityBackend {
    /// What the path says, of things that are there; throws `APIError` 404.
    private func associationOfPath() throws -> PolicyAssociationSpec {
        var spec = PolicyAssociationSpec(policyID: try existing(PolicyDocument.self, "policy").id)
        if parameters["endpoint_id"] != nil { spec.endpointID = try existing(Endpoint.self, "endpoint").id }
        if parameters["service_id"] != nil { spec.serviceID = try existing(CloudService.self, "service").id }
        if parameters["region_id"] != nil { spec.regionID = try existing(Region.self, "region").spec.id }
        return spec
    }

    fileprivate func association() throws -> PolicyAssociation {
        let spec = try associationOfPath()
        guard let found = directory.now.get(PolicyAssociation.self, spec.name), found.spec.policyID == spec.policyID
        else {
            throw APIError.notFound("Policy \(spec.policyID) is not associated with that.")
        }
        return found
    }

    fileprivate func associate(_ sort: String) async throws -> APIAnswer {
        let spec = try associationOfPath()
        let verb = "identity:create_policy_association_for_\(sort)"
        try await change(verb, PolicyAssociation.key(spec.name)) { directory in
            _ = try associationOfPath()
            var plan = IdentityPlan()
            if var stored = directory.now.stored(PolicyAssociation.self, spec.name) {
                guard stored.value.spec != spec else { return (plan, ()) }
                stored.value.spec = spec
                try plan.update(stored)
            } else {
                try plan.create(PolicyAssociation(name: spec.name, created: backend.clock.now, spec: spec))
            }
            plan.needs(PolicyDocument.self, spec.policyID, in: directory)
            if let id = spec.endpointID { plan.needs(Endpoint.self, id, in: directory) }
            if let id = spec.serviceID { plan.needs(CloudService.self, id, in: directory) }
            if let id = spec.regionID { plan.needs(Region.self, id, in: directory) }
            return (plan, ())
        }
        return .empty
    }
}

extension IdentityDirectory {
    /// The policy document of an endpoint: its own, else its service's in its region or the nearest one above, else its
    /// service's; nil: there is none.
    func policyID(for endpoint: Endpoint) -> String? {
        func policy(endpoint: String? = nil, service: String? = nil, region: String? = nil) -> String? {
            let spec = PolicyAssociationSpec(policyID: "", endpointID: endpoint, serviceID: service, regionID: region)
            return now.get(PolicyAssociation.self, spec.name)?.spec.policyID
        }
        if let own = policy(endpoint: endpoint.id) { return own }
        var region = endpoint.spec.regionID
        var seen: Set<String> = []
        while let id = region, seen.insert(id).inserted {
            if let found = policy(service: endpoint.spec.serviceID, region: id) { return found }
            region = entry(Region.self, id)?.spec.parentID
        }
        return policy(service: endpoint.spec.serviceID)
    }
}
