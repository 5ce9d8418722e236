/// The checks that the identity rules are composed of.
extension PolicyCheck {
    static let admin = PolicyCheck.rule("admin_required")
    /// The user that the path names.
    static let owner = PolicyCheck.rule("owner")
    static let systemReader = inSystem("reader")
    static let adminOrSystemReader = any([admin, systemReader])

    /// Administrators, readers of the system, and those of whom one of `others` holds.
    static func readers(_ others: PolicyCheck...) -> PolicyCheck { any([admin, systemReader] + others) }

    /// Administrators, and those of whom one of `others` holds.
    static func writers(_ others: PolicyCheck...) -> PolicyCheck { any([admin] + others) }

    /// The caller is the user at `member`.
    static func userIs(_ member: PolicyPath) -> PolicyCheck { same(.attribute(.userID), .target(member)) }

    /// The token is scoped to the project at `member`.
    static func projectIs(_ member: PolicyPath) -> PolicyCheck { same(.attribute(.projectID), .target(member)) }

    /// The token is scoped to the domain at `member`. A token of another scope has null here, and so the same as a
    /// `member` that is there and null.
    static func domainIs(_ member: PolicyPath) -> PolicyCheck { same(.attribute(.domainID), .target(member)) }

    /// The token is scoped to the domain at `member`, never true of a token of another scope.
    static func domainTokenIs(_ member: PolicyPath) -> PolicyCheck {
        same(.attribute(.tokenDomainID), .target(member))
    }

    /// A role in the system.
    static func inSystem(_ role: PolicyText) -> PolicyCheck {
        all([.role(role), same(.attribute(.systemScope), "all")])
    }

    /// A role in the domain that every one of `members` names.
    static func inDomain(_ role: PolicyText, of members: PolicyPath...) -> PolicyCheck {
        all([.role(role)] + members.map(domainIs))
    }

    /// The member is there and null.
    static func isNull(_ member: PolicyPath) -> PolicyCheck { same(.null, .target(member)) }
}
