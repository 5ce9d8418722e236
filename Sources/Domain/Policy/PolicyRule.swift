/// A named rule as the product ships it.
public struct PolicyRule: Sendable, Hashable {
    /// The name, for example `identity:get_user`; names without a colon are parts of other rules.
    public let name: String
    public let check: PolicyCheck
    /// The scopes that a token must have one of; empty when any will do.
    public let scopes: Set<PolicyScope>
    /// What the rule guards, in a few words.
    public let summary: String

    /// A rule named `name` that asks `check` of tokens of one of `scopes`.
    public init(_ name: String, _ check: PolicyCheck, scopes: Set<PolicyScope> = [], summary: String) {
        self.name = name
        self.check = check
        self.scopes = scopes
        self.summary = summary
    }
}
