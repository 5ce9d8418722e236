import CatalogIdentity
import Primitives
import ReconcileRuntime

/// What may stand in an endpoint's URL in the place of parts: `$(project_id)s`, or `%(project_id)s`.
public enum EndpointURL {
    static let names: Set<String> = ["project_id", "tenant_id", "user_id", "public_bind_host", "admin_bind_host", "compute_host", "admin_port", "public_port", "public_endpoint", "admin_endpoint"]

    /// Whether all substitutions are known ones.
    public static func isProper(_ url: String) -> Bool { filled(url) { names.contains($0) ? "" : nil } != nil }

    /// The URL of a catalog for this project and user; nil: it needs a project and there is none.
    public static func filled(_ url: String, projectID: String?, userID: String) -> String? {
        filled(url) { name in
            switch name {
            case "project_id", "tenant_id": projectID
            case "user_id": userID
            default: nil
            }
        }
    }

    private static func filled(_ url: String, _ value: (String) -> String?) -> String? {
        var result = ""
        var rest = Substring(url)
        while let start = rest.firstIndex(where: { $0 == "$" || $0 == "%" }) {
            result += rest[..<start]
            rest = rest[start...]
            guard rest.dropFirst().first == "(" else {
                result.append(rest.removeFirst())
                continue
            }
            guard let end = rest.firstIndex(of: ")"), rest[rest.index(after: end)...].first == "s" else { return nil }
            let name = String(rest[rest.index(start, offsetBy: 2)..<end])
            guard let filled = value(name) else { return nil }
            result += filled
            rest = rest[end...].dropFirst(2)
        }
        return result + rest
    }
}

extension IdentityDirectory {
    /// The endpoints that a project may use: all that are on, or those that it was given where it was given any.
    func endpoints(forProject id: String?) -> [Endpoint] {
        guard let id, !projectEndpoints(of: id).isEmpty else { return now.all(Endpoint.self).filter(\.spec.isEnabled) }
        return endpoints(givenTo: id).filter(\.spec.isEnabled)
    }

    /// The endpoints that a project was given, by themselves or in groups.
    public func endpoints(givenTo project: String) -> [Endpoint] {
        let given = projectEndpoints(of: project)
        let direct = Set(given.filter { !$0.spec.isGroup }.map(\.spec.endpointID))
        let groups = given.filter(\.spec.isGroup).compactMap { entry(EndpointGroup.self, $0.spec.endpointID) }
        return now.all(Endpoint.self).filter { endpoint in
            direct.contains(endpoint.id) || groups.contains { $0.spec.contains(endpoint) }
        }
    }

    /// The catalog of a token, as JSON: services that are on with endpoints that are.
    public func catalog(projectID: String?, userID: String) -> JSONValue {
        let byService = Dictionary(grouping: endpoints(forProject: projectID), by: \.spec.serviceID)
        let services = now.all(CloudService.self).filter(\.spec.isEnabled)
        return .array(
            services.compactMap { service in
                let endpoints = (byService[service.id] ?? []).compactMap { endpoint -> JSONValue? in
                    guard let url = EndpointURL.filled(endpoint.spec.url, projectID: projectID, userID: userID) else { return nil }
                    return [
                        "id": .string(endpoint.id), "interface": .string(endpoint.spec.interface), "url": .string(url),
                        "region": .optional(endpoint.spec.regionID), "region_id": .optional(endpoint.spec.regionID),
                    ]
                }
                return [
                    "id": .string(service.id), "type": .string(service.spec.type),
                    "name": .string(service.spec.name ?? ""), "endpoints": .array(endpoints),
                ]
            })
    }
}

extension EndpointGroupSpec {
    /// Whether an endpoint is what the filters ask for.
    public func contains(_ endpoint: Endpoint) -> Bool {
        filters.allSatisfy { name, value in
            switch name {
            case "interface": value.string == endpoint.spec.interface
            case "service_id": value.string == endpoint.spec.serviceID
            case "region_id": value.string == endpoint.spec.regionID
            case "enabled": value.bool == endpoint.spec.isEnabled
            default: false
            }
        }
    }
}
