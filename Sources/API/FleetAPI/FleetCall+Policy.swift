import APISupport
import CatalogIdentity
import FleetContract
import Hummingbird
import Identity
import Policy
import Primitives
import ResourceModel

/// Who may do what, and why.
extension FleetCall {
    /// The kind that these routes ask the gate for; nothing of it is stored.
    static let policyKind = "fleet.policy"

    /// All rules, those that an operator's file has changed marked.
    func listPolicyRules() throws -> Response { .json(services.policy.rules) }

    /// Whether `user` may call `route`, in `scope` or wherever the user has a role.
    func explainPolicy() async throws -> Response {
        guard let user = query("user"), let route = query("route"), !user.isEmpty, !route.isEmpty else {
            throw APIError.badRequest("Name a user and a route: ?user=ann&route=GET%20/identity/v3/users.")
        }
        let desk = services.policy
        let matter = try desk.subject(
            route, among: OperatorAPI.guardedRoutes(services.gate), fleet: services.gate.target)
        var reply = PolicyExplainReply(
            user: user, userID: nil, route: matter.route, rule: nil, notes: [], answers: [])
        if case .rule(let name) = matter.access { reply.rule = desk.record(name) }
        if user.hasPrefix(Self.operatorPrefix) {
            try await explain(operatorNamed: String(user.dropFirst(Self.operatorPrefix.count)), matter, &reply)
        } else {
            try explain(user: user, matter, &reply)
        }
        if matter.isOpen, reply.answers.contains(where: { $0.reasons.contains { $0.contains("is missing") } }) {
            reply.notes.append("What the rule compares with the path is missing; give a real path to see it.")
        }
        return .json(reply)
    }

    /// How audit events name operators.
    private static let operatorPrefix = "operator:"

    private func explain(
        operatorNamed name: String, _ matter: AccessQuestion, _ reply: inout PolicyExplainReply
    ) async throws {
        guard let token = try await services.store.fetch(OperatorToken.self, name)?.value else {
            throw APIError.notFound(
                "There is no operator's token of '\(name.printable(limit: 80))'; 'muster token list' shows those there are."
            )
        }
        if !token.isInForce(at: services.clock.now) { reply.notes.append("The token is not taken any more.") }
        let caller = Caller(KnownOperator(name: name, role: token.spec.role))
        let role = PolicyExplainReply.Role(name: token.spec.role.rawValue, origins: ["an operator's token"])
        reply.answers = [answer("the system", caller, [role], matter)]
    }

    private func explain(
        user text: String, _ matter: AccessQuestion, _ reply: inout PolicyExplainReply
    ) throws {
        let subjects = AccessFacts(directory: services.policy.directory(), now: services.clock.now)
        let user = try subjects.user(text)
        reply.user = "\(user.spec.name)@\(subjects.domainName(user.spec.domainID))"
        reply.userID = user.id
        var scopes: [RoleGrant.Target?] = try askedScope(subjects).map { [$0] } ?? subjects.scopes(of: user)
        if scopes.isEmpty {
            reply.notes.append("The user has no role anywhere; a token without a scope is asked for.")
            scopes = [nil]
        }
        if scopes.count > PolicyDesk.scopeCountMax {
            reply.notes.append(
                "The user has roles in \(scopes.count) scopes; the first \(PolicyDesk.scopeCountMax) are shown. Choose one "
                    + "with --project, --domain or --system.")
            scopes = Array(scopes.prefix(PolicyDesk.scopeCountMax))
        }
        reply.answers = scopes.map { scope in
            let roles = scope.map { subjects.roles(of: user, on: $0) } ?? []
            let who = subjects.credentials(of: user, on: scope, roles: roles.map(\.name))
            var answer = answer(
                scope.map(subjects.words) ?? "no scope", Caller(asIf: who, name: user.spec.name), roles, matter)
            var obstacles = subjects.obstacles(of: user, on: scope)
            if scope != nil, roles.isEmpty { obstacles.append("the user has no role there") }
            if !obstacles.isEmpty, matter.access != .open {
                answer.isAllowed = false
                answer.reasons.insert("denied: no token is given, as \(obstacles.joined(separator: ", "))", at: 0)
            }
            return answer
        }
    }

    private func askedScope(_ subjects: AccessFacts) throws -> RoleGrant.Target? {
        if let project = query("project") { return .project(try subjects.project(project).id) }
        if let domain = query("domain") { return .domain(try subjects.domain(domain).id) }
        return try flag("system") ? .system : nil
    }

    private func answer(
        _ scope: String, _ caller: Caller, _ roles: [PolicyExplainReply.Role], _ matter: AccessQuestion
    ) -> PolicyExplainReply.Answer {
        var reply = PolicyExplainReply.Answer(scope: scope, isAllowed: true, roles: roles, reasons: [])
        switch matter.access {
        case .open: reply.reasons = ["allowed: the route needs no token"]
        case .token:
            reply.reasons = ["allowed: the route takes any valid token; what it then does may ask further rules"]
        case .rule(let rule):
            let target = matter.target(caller)
            let policy = services.policy.policy
            reply.isAllowed = policy.isAllowed(rule, caller.credentials, target ?? PolicyTarget())
            reply.reasons = policy.explain(rule, caller.credentials, target ?? PolicyTarget())
            if target == nil { reply.reasons.append("what the path names is not there") }
        }
        return reply
    }
}

extension OperatorAPI {
    /// The routes as the policy sees them.
    static func guardedRoutes(_ gate: Gate) -> [GuardedRoute] {
        routes.map { route in
            GuardedRoute(
                method: route.method, path: route.path, access: route.access.asked, summary: "",
                target: { _, _ in gate.target })
        }
    }
}

extension FleetRoute.Access {
    /// Who may call it.
    var asked: RouteAccess {
        switch self {
        case .open: .open
        case .read(let kind): .rule(Gate.rule(for: .read, kind: kind))
        case .change(let action, let kind): .rule(Gate.rule(for: action, kind: kind))
        }
    }
}
