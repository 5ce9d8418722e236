import APISupport
import CatalogIdentity
import FleetContract
import Identity
import Policy
import Primitives

/// Tells which rule guards a route, and whether somebody may call it.
public struct PolicyDesk: Sendable {
    /// The most scopes that one explanation goes through.
    static let scopeCountMax = 32

    let policy: PolicyTable
    /// The routes of the cloud's services.
    let routes: [GuardedRoute]
    /// The users, their roles and where these are good.
    let directory: @Sendable () -> IdentityDirectory

    /// A desk that asks `policy` of `routes`, those of the operators' API not among them.
    public init(
        policy: PolicyTable, routes: [GuardedRoute], directory: @escaping @Sendable () -> IdentityDirectory
    ) {
        self.policy = policy
        self.routes = routes
        self.directory = directory
    }

    /// All rules, by name.
    var rules: PolicyRuleList { PolicyRuleList(rules: policy.names.compactMap(record)) }

    /// A rule as operators see it; nil: there is none.
    func record(_ name: String) -> PolicyRuleRecord? {
        guard let rule = policy.rule(name) else { return nil }
        return PolicyRuleRecord(
            name: name, summary: rule.summary, check: "\(rule.check)",
            shippedCheck: policy.shipped(name).map { "\($0.check)" }, scopes: rule.scopes.map(\.rawValue).sorted())
    }
}

/// What an explanation is asked of: a route with the values of its parameters, or a rule by itself.
struct AccessQuestion: Sendable {
    /// As people name it; nil: a rule was asked for.
    var route: String?
    var access: RouteAccess
    /// What its rule sees when somebody calls it; nil: what the path names is not there.
    var target: @Sendable (Caller) -> PolicyTarget?
    /// Whether the path has places in it that nobody has given values.
    var isOpen: Bool
}

extension PolicyDesk {
    /// Finds what `text` names: `GET /identity/v3/users/{user_id}`, a real path, a path alone (GET), or a rule.
    ///
    /// Throws `APIError` 404 with those that are near.
    func subject(_ text: String, among own: [GuardedRoute], fleet: PolicyTarget) throws -> AccessQuestion {
        let words = text.split(separator: " ").map(String.init)
        guard words.count <= 2, let last = words.last else {
            throw APIError.badRequest("A route is written 'METHOD PATH', for example 'GET /identity/v3/users'.")
        }
        guard last.hasPrefix("/") else {
            guard words.count == 1, policy.rule(last) != nil else { throw unknownRule(text) }
            return AccessQuestion(access: .rule(last), target: { _ in fleet }, isOpen: true)
        }
        let method = words.count == 2 ? words[0].uppercased() : "GET"
        let path = String(last.prefix { $0 != "?" })
        let all = routes + own
        let fitting = all.compactMap { route in route.parameters(in: path).map { (route, $0) } }
        let found =
            fitting
            .filter { $0.0.method == method || (method == "HEAD" && $0.0.method == "GET") }
            .min { $0.0.parameterCount < $1.0.parameterCount }
        guard let (route, values) = found else { throw unknownRoute(method, path, fitting.map(\.0), all) }
        return AccessQuestion(
            route: route.name, access: route.access, target: { route.target(values, $0) },
            isOpen: values.count < route.parameterCount)
    }

    private func unknownRule(_ text: String) -> APIError {
        let near = policy.names.nearest(to: text)
        return .notFound(
            "There is no rule '\(text.printable(limit: 80))'\(Self.near(near)); 'muster policy list' shows all. A route is "
                + "written 'METHOD PATH'.")
    }

    private func unknownRoute(
        _ method: String, _ path: String, _ fitting: [GuardedRoute], _ all: [GuardedRoute]
    ) -> APIError {
        let wanted = "\(method) \(path)".printable(limit: 160)
        if !fitting.isEmpty {
            let methods = Set(fitting.map(\.method)).sorted().joined(separator: ", ")
            return .notFound("There is no route '\(wanted)'; that path has \(methods).")
        }
        let near = Set(all.map(\.path)).nearest(to: path)
        return .notFound(
            "There is no route '\(wanted)'\(Self.near(near)). Paths begin with their service, as in "
                + "'GET /identity/v3/users'.")
    }

    static func near(_ names: [String]) -> String {
        names.isEmpty ? "" : "; near it: \(names.map { $0.printable(limit: 120) }.joined(separator: ", "))"
    }
}
