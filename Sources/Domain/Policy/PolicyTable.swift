import Primitives

/// Rules that are ready to decide: every check parsed, every reference known to lead to a rule, no circles, and the
/// cost of a decision bounded.
///
/// Decisions are those of oslo.policy with `enforce_scope` and `enforce_new_defaults`. One thing is stricter: a text
/// that spells `None` is not the same as null, and `None` in a rule means null.
public struct PolicyTable: Sendable {
    let rules: [String: PolicyRule]
    /// The rules as the product ships them, of those that were overridden.
    private let replaced: [String: PolicyRule]

    /// A table of `defaults`, with the check of some replaced by `overrides` (name to rule language).
    ///
    /// Throws `PolicyError` for text that is not the rule language, references to rules that do not exist, circles,
    /// rules that are too large, and overrides of rules that do not exist.
    public init(_ defaults: [PolicyRule], overrides: [String: String] = [:]) throws(PolicyError) {
        var rules: [String: PolicyRule] = [:]
        for rule in defaults {
            guard rules.updateValue(rule, forKey: rule.name) == nil else {
                throw PolicyError(rule: rule.name, .duplicate)
            }
        }
        var replaced: [String: PolicyRule] = [:]
        for (name, text) in overrides.sorted(by: { $0.key < $1.key }) {
            guard let rule = rules[name] else { throw PolicyError(rule: name, .unknownOverride) }
            let check = try PolicyParser.parse(text, rule: name)
            rules[name] = PolicyRule(name, check, scopes: rule.scopes, summary: rule.summary)
            replaced[name] = rule
        }
        try PolicyRuleGraph.check(rules)
        self.rules = rules
        self.replaced = replaced
    }

    /// The rule of this name as it is in force; nil: there is none.
    public func rule(_ name: String) -> PolicyRule? { rules[name] }

    /// What the product ships in the place of a rule that an operator has overridden; nil: nobody has.
    public func shipped(_ name: String) -> PolicyRule? { replaced[name] }

    /// The names of all rules, sorted.
    public var names: [String] { rules.keys.sorted() }

    /// Whether `rule` lets `who` act on `target`; a rule that does not exist lets nobody.
    ///
    /// Takes about a microsecond and allocates nothing for rules without `roles` attributes and joined texts.
    public func isAllowed(_ rule: String, _ who: PolicyCredentials, _ target: PolicyTarget) -> Bool {
        guard let rule = rules[rule], rule.admits(who.scope) else { return false }
        return PolicyQuestion(rules: rules, who: who, target: target).holds(rule.check)
    }

    /// Like `isAllowed`, with the reason of a refusal for logs.
    public func decide(_ rule: String, _ who: PolicyCredentials, _ target: PolicyTarget) -> PolicyDecision {
        guard let found = rules[rule] else { return .denied(reason: "there is no rule '\(rule.printable(limit: 80))'") }
        guard found.admits(who.scope) else { return .denied(reason: found.scopeReason(who.scope)) }
        let holds = PolicyQuestion(rules: rules, who: who, target: target).holds(found.check)
        return holds ? .allowed : .denied(reason: "'\(rule)' does not hold: \(found.check)")
    }
}

/// What a table says to a request.
public enum PolicyDecision: Sendable, Hashable {
    case allowed
    /// The reason names rules and scopes and is meant for operators.
    case denied(reason: String)
}

extension PolicyRule {
    /// Whether a token of `scope` may use this rule. An unscoped one counts as of a project, as in oslo.policy; it has
    /// no roles, so that only checks of the user can hold.
    func admits(_ scope: PolicyScope?) -> Bool { scopes.isEmpty || scopes.contains(scope ?? .project) }

    /// Why a token of `scope` is not admitted.
    func scopeReason(_ scope: PolicyScope?) -> String {
        let wanted = PolicyScope.allCases.filter(scopes.contains).map(\.rawValue).joined(separator: " or ")
        return
            "'\(name)' needs a token of \(wanted) scope, and this one is \(scope.map { "of \($0) scope" } ?? "unscoped")"
    }
}
