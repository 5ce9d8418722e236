import ArgumentParser
import ClientSDK
import FleetContract

struct PolicyExplain: FleetCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Tell whether a user may call a route, by which rule, and why.",
        discussion: """
            The user is a name, name@domain, an identifier, or operator:NAME for the holder of an operator's token. The route \
            is METHOD and path, with places such as {user_id} or with real identifiers, which the rule is then asked of; a \
            path alone means GET; or it is the name of a rule. Without a scope every one is asked in which the user has a \
            role. Each part of the rule is shown with whether it holds and what it has compared.
            """)

    @Argument(help: "The user.")
    var user: String

    @Argument(help: ArgumentHelp("The route, or a rule's name.", valueName: "route"))
    var route: [String]

    @Option(help: ArgumentHelp("Ask of a token of this project, NAME or NAME@DOMAIN.", valueName: "name"))
    var project: String?

    @Option(help: ArgumentHelp("Ask of a token of this domain.", valueName: "name"))
    var domain: String?

    @Flag(help: "Ask of a token of the system.")
    var system = false

    @OptionGroup(title: "Connection") var connection: ConnectionOptions

    func validate() throws {
        guard !route.isEmpty else { throw ValidationError("Name a route, such as GET /identity/v3/users.") }
        guard [project != nil, domain != nil, system].count(where: \.self) <= 1 else {
            throw ValidationError("--project, --domain and --system exclude each other.")
        }
    }

    func run(_ client: FleetClient, _ terminal: Terminal) async throws {
        let reply = try await client.explainPolicy(
            user: user, route: route.joined(separator: " "), project: project, domain: domain, inSystem: system)
        if terminal.isJSON { return terminal.json(reply) }
        for line in Self.lines(reply, terminal) { terminal.print(line) }
    }

    static func lines(_ reply: PolicyExplainReply, _ terminal: Terminal) -> [String] {
        var facts = Facts()
        facts.add("user", reply.userID.map { "\(reply.user) (\($0))" } ?? reply.user)
        if let route = reply.route { facts.add("route", route) }
        if let rule = reply.rule {
            facts.add("rule", "\(rule.name) (\(rule.shippedCheck == nil ? "as shipped" : "overridden"))")
            facts.add("guards", rule.summary)
            facts.add("check", rule.check)
            if let shipped = rule.shippedCheck { facts.add("shipped", shipped) }
            if !rule.scopes.isEmpty { facts.add("scopes", rule.scopes.joined(separator: ", ")) }
        } else {
            facts.add("rule", "none")
        }
        var lines = facts.lines(for: terminal)
        for note in reply.notes { lines += note.wrapped(to: terminal.width) }
        for answer in reply.answers {
            let verdict = terminal.styled(answer.isAllowed ? "may" : "may not", answer.isAllowed ? .green : .red)
            lines += ["", "\(terminal.styled(answer.scope, .bold)): \(verdict)"]
            let roles = answer.roles.map { "\($0.name) (\($0.origins.joined(separator: "; also ")))" }
            for (index, role) in (roles.isEmpty ? ["none"] : roles).enumerated() {
                lines += terminal.hanging(index == 0 ? "  roles  " : "         ", 9, role)
            }
            for reason in answer.reasons { lines += self.lines(reason, terminal) }
        }
        return lines
    }

    /// A part of a rule, its depth and its `yes` or `no` before what is wrapped.
    private static func lines(_ reason: String, _ terminal: Terminal) -> [String] {
        let depth = reason.prefix { $0 == " " }.count
        let isPart = reason.dropFirst(depth).hasPrefix("yes  ") || reason.dropFirst(depth).hasPrefix("no   ")
        let head = "  " + reason.prefix(depth + (isPart ? 5 : 0))
        return terminal.hanging(head, head.count, String(reason.dropFirst(head.count - 2)))
    }
}
