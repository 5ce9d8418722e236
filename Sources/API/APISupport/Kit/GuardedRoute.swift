import HTTPTypes
import Policy
import Primitives

/// A route of any service as the policy sees it, for those who ask who may call it.
public struct GuardedRoute: Sendable {
    /// The HTTP method.
    public let method: String
    /// The whole path, with parameters such as `{user_id}`.
    public let path: String
    /// Who may call it.
    public let access: RouteAccess
    /// What it does; empty where nobody says.
    public let summary: String
    /// What its rule sees when `caller` calls it with these parameters, no query and no body; nil: what the path names is
    /// not there.
    public let target: @Sendable (_ parameters: [String: String], _ caller: Caller) -> PolicyTarget?

    /// A route.
    public init(
        method: HTTPRequest.Method, path: String, access: RouteAccess, summary: String,
        target: @escaping @Sendable ([String: String], Caller) -> PolicyTarget?
    ) {
        self.method = method.rawValue
        self.path = path
        self.access = access
        self.summary = summary
        self.target = target
    }

    /// Method and path, as people name it.
    public var name: String { "\(method) \(path)" }

    /// The parameters with which `path`, without a query, is one of this route's; nil: it is not.
    ///
    /// The route's own path, with its places, is one too, and gives the places no values.
    public func parameters(in path: String) -> [String: String]? {
        let parts = path.split(separator: "/")
        let places = self.path.split(separator: "/")
        guard parts.count == places.count else { return nil }
        var values: [String: String] = [:]
        for (part, place) in zip(parts, places) where part != place {
            guard place.first == "{" else { return nil }
            values[String(place.dropFirst().dropLast())] = String(part)
        }
        return values
    }

    /// How many parts of the path are parameters; of two routes that a path fits, the one with fewer is called.
    public var parameterCount: Int { path.split(separator: "/").count { $0.first == "{" } }
}

extension APIService {
    /// All routes as the policy sees them.
    public var guardedRoutes: [GuardedRoute] {
        routes.map { route in
            GuardedRoute(
                method: route.method, path: path + route.path, access: route.access, summary: route.summary
            ) { parameters, caller in try? route.target(probe(route, parameters, caller)) }
        }
    }

    /// A call that nobody makes, for what rules see of it.
    private func probe(
        _ route: APIRoute<Backend>, _ parameters: [String: String], _ caller: Caller
    ) throws -> APICall<Backend> {
        APICall(
            backend: backend, policy: door.policy, parameters: parameters, query: try APIQuery(""), body: .null,
            caller: caller, version: microversions?.range.upperBound, headers: [:], method: route.method, base: path,
            requestID: "none", remoteAddress: nil)
    }
}
