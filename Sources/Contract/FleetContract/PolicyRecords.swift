/// A rule of the policy.
public struct PolicyRuleRecord: Codable, Sendable, Hashable {
    /// Its name, for example `identity:get_user`.
    public var name: String
    /// What it guards.
    public var summary: String
    /// The check that is in force, in the rule language.
    public var check: String
    /// What the product ships, where an operator's file has another check; nil: the rule is as shipped.
    public var shippedCheck: String?
    /// The scopes that a token must have one of: system, domain, project; empty: any.
    public var scopes: [String]

    /// A rule.
    public init(name: String, summary: String, check: String, shippedCheck: String?, scopes: [String]) {
        self.name = name
        self.summary = summary
        self.check = check
        self.shippedCheck = shippedCheck
        self.scopes = scopes
    }
}

/// GET `policy/rules`: all rules, by name.
public struct PolicyRuleList: Codable, Sendable, Hashable {
    /// The rules.
    public var rules: [PolicyRuleRecord]

    /// A list.
    public init(rules: [PolicyRuleRecord]) { self.rules = rules }
}

/// GET `policy/explain`: whether a user may call a route, and why.
public struct PolicyExplainReply: Codable, Sendable, Hashable {
    /// The user, as `name@domain`.
    public var user: String
    /// The user's identifier; nil: it is an operator with a token of their own.
    public var userID: String?
    /// The route, as method and path; nil: a rule was asked for by its name.
    public var route: String?
    /// The rule that decides; nil: the route has none.
    public var rule: PolicyRuleRecord?
    /// What else there is to know, for example that the user is off.
    public var notes: [String]
    /// An answer for each scope that was asked for.
    public var answers: [Answer]

    /// An answer for a token of one scope.
    public struct Answer: Codable, Sendable, Hashable {
        /// `the system`, `the project NAME@DOMAIN`, `the domain NAME`, or `no scope`.
        public var scope: String
        /// Whether the user may.
        public var isAllowed: Bool
        /// The user's roles in that scope.
        public var roles: [Role]
        /// Why: the outcome, then the rule's parts, two spaces deeper with each level, with what each has compared.
        public var reasons: [String]

        /// An answer.
        public init(scope: String, isAllowed: Bool, roles: [Role], reasons: [String]) {
            self.scope = scope
            self.isAllowed = isAllowed
            self.roles = roles
            self.reasons = reasons
        }
    }

    /// A role and where it comes from.
    public struct Role: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// Each grant that gives it, in words.
        public var origins: [String]

        /// A role.
        public init(name: String, origins: [String]) {
            self.name = name
            self.origins = origins
        }
    }

    /// An explanation.
    public init(
        user: String, userID: String?, route: String?, rule: PolicyRuleRecord?, notes: [String], answers: [Answer]
    ) {
        self.user = user
        self.userID = userID
        self.route = route
        self.rule = rule
        self.notes = notes
        self.answers = answers
    }
}
