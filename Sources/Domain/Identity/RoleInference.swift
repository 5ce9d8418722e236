/// Which roles imply which others: whoever has the prior role has the implied one too, and all that that one implies.
///
/// Implications may go in circles; every walk ends.
public struct RoleInference: Sendable, Hashable {
    /// One role implies another one.
    public struct Rule: Sendable, Hashable {
        /// Whoever has this role…
        public var prior: String
        /// …has this one too.
        public var implied: String

        /// `prior` implies `implied`.
        public init(prior: String, implied: String) {
            self.prior = prior
            self.implied = implied
        }
    }

    private var impliedByPrior: [String: [String]] = [:]

    /// The implications `rules`; one that is there twice counts once.
    public init(_ rules: some Sequence<Rule> = []) {
        var known: Set<Rule> = []
        for rule in rules where known.insert(rule).inserted {
            impliedByPrior[rule.prior, default: []].append(rule.implied)
        }
    }

    /// The roles that `role` implies by itself, in the order of the rules.
    public func impliedDirectly(by role: String) -> [String] { impliedByPrior[role] ?? [] }

    /// `roles` and all that they imply.
    public func closure(of roles: some Sequence<String>) -> Set<String> {
        var found = Set(roles)
        var open = Array(found)
        while let role = open.popLast() {
            for implied in impliedDirectly(by: role) where found.insert(implied).inserted { open.append(implied) }
        }
        return found
    }

    /// The rules that apply to whoever has `role`, each once, those of `role` itself first.
    ///
    /// In a circle the last rule implies `role` again.
    public func rules(from role: String) -> [Rule] {
        var rules: [Rule] = []
        var seen: Set<String> = [role]
        var open = [role]
        var next = 0
        while next < open.count {
            let prior = open[next]
            next += 1
            for implied in impliedDirectly(by: prior) {
                rules.append(Rule(prior: prior, implied: implied))
                if seen.insert(implied).inserted { open.append(implied) }
            }
        }
        return rules
    }
}
