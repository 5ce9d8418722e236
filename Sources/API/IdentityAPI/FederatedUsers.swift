import APISupport
import CatalogIdentity
import Crypto
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// What an identity provider and its mapping say of somebody who logs in.
struct FederatedLogin: Sendable {
    /// The most groups that a mapping may give at once: they travel in the token.
    static let groupCountMax = 128
    /// The most projects that a mapping may give.
    static let projectCountMax = 64
    /// The most roles that it may give on one of them.
    static let roleCountMax = 32
    /// Characters of names and identifiers.
    private static let textLengthMax = 255

    let provider: IdentityProvider
    let spoken: FederationProtocol
    let identity: MappedIdentity
    /// What the provider calls them when the mapping does not say.
    let subject: String?
    /// Whether roles on projects that the mapping does not give are taken away.
    let replacesRoles: Bool

    /// Who they are at the provider.
    func federated() throws(FederationError) -> UserSpec.FederatedIdentity {
        guard let id = identity.user.id ?? identity.user.name ?? subject else {
            throw .refused("the mapping gives no user; let it give a user's name or id")
        }
        // As Keystone writes it, which is Python's `quote`.
        let unique = id.split(separator: "/", omittingEmptySubsequences: false).map(\.percentEncoded).joined(
            separator: "/")
        guard (1...Self.textLengthMax).contains(unique.utf8.count), id.hasOnlyPrintableScalars else {
            throw .refused("the user's id has control characters, or more than \(Self.textLengthMax) characters")
        }
        return UserSpec.FederatedIdentity(
            provider: provider.spec.id, protocolID: spoken.spec.id, uniqueID: unique)
    }

    /// What they are called here.
    func name() throws(FederationError) -> String {
        let name = identity.user.name ?? identity.user.id ?? subject ?? ""
        try check(name, "name")
        return name
    }

    /// Their address; nil: the mapping gives none.
    func email() throws(FederationError) -> String? {
        guard let email = identity.user.email else { return nil }
        try check(email, "email")
        return email
    }

    private func check(_ text: String, _ what: String) throws(FederationError) {
        guard (1...Self.textLengthMax).contains(text.unicodeScalars.count), text.hasOnlyPrintableScalars,
            text.contains(where: { !$0.isWhitespace })
        else {
            throw .refused(
                "the user's \(what) is empty, has control characters, or more than \(Self.textLengthMax) characters")
        }
    }

    /// The domain that a mapping names; without one, the provider's.
    func domain(_ named: MappedIdentity.Domain?, _ directory: IdentityDirectory) throws(FederationError) -> Project {
        let named = named ?? MappedIdentity.Domain(id: provider.spec.domainID)
        guard
            let found = named.id.flatMap({ directory.domain($0) })
                ?? named.name.flatMap({ directory.domain(named: $0) })
        else {
            throw .refused(
                "the mapping names the domain '\((named.id ?? named.name ?? "").printable(limit: 80))', which there is not"
            )
        }
        return found
    }

    /// The user's identifier: of a known user its own, else a new one.
    func userID(_ directory: IdentityDirectory) throws(FederationError) -> String {
        let federated = try federated()
        if let known = directory.user(federated) { return known.id }
        return Self.userID(federated, in: try domain(identity.user.domain, directory).id)
    }

    /// The identifier of a user whom a login makes: the digest that Keystone makes of domain and name.
    static func userID(_ federated: UserSpec.FederatedIdentity, in domainID: String) -> String {
        Hex.encode(Array(SHA256.hash(data: Array("\(domainID)user\(federated.uniqueID)".utf8))))
    }

    /// The user of a mapping that gives users who are here anyway (`"type": "local"`).
    func localUser(_ directory: IdentityDirectory) throws(FederationError) -> User {
        let asked = identity.user
        let found: User? =
            if let id = asked.id {
                directory.user(id)
            } else if let name = asked.name {
                directory.user(named: name, in: try domain(asked.domain, directory).id)
            } else {
                nil
            }
        guard let found else { throw .refused("the mapping gives a local user, and there is no such one") }
        return found
    }

    /// The groups that the mapping gives, each once: those named by identifiers have to be there, others may not be.
    func groupIDs(_ directory: IdentityDirectory) throws(FederationError) -> [String] {
        var found: [String] = []
        for id in identity.groupIDs {
            guard directory.group(id) != nil else {
                throw .refused("the mapping names the group \(id.printable(limit: 80)), which there is not")
            }
            if !found.contains(id) { found.append(id) }
        }
        for group in identity.groups {
            let domain = try domain(group.domain, directory)
            guard let id = directory.group(named: group.name, in: domain.id)?.id, !found.contains(id) else { continue }
            found.append(id)
        }
        guard found.count <= Self.groupCountMax else {
            throw .refused(
                "the mapping gives \(found.count) groups, and a token holds \(Self.groupCountMax); choose by 'whitelist'"
            )
        }
        return found
    }

    /// When memberships end that are made now; nil: what the provider says of groups is for the token only.
    func membershipEnd(from now: Timestamp) -> Timestamp? {
        guard let minutes = provider.spec.authorizationTTL, minutes > 0 else { return nil }
        return now.advanced(by: .seconds(minutes * 60))
    }
}

/// The changes that make the record of a federated user what the provider says.
struct FederatedUserPlan {
    /// After as many operations or conditions the rest is for a next plan.
    private static let countMax = StoreLimits.operationCountMax / 2

    let login: FederatedLogin
    let directory: IdentityDirectory
    let now: Timestamp
    let membershipEnd: Timestamp?
    let userID: String
    private(set) var plan = IdentityPlan()
    /// Whether nothing was left for a next plan.
    private(set) var isWhole = true
    /// The groups that the mapping gives.
    private(set) var groupIDs: [String] = []

    init(
        login: FederatedLogin, directory: IdentityDirectory, now: Timestamp, membershipEnd: Timestamp?, userID: String
    ) {
        self.login = login
        self.directory = directory
        self.now = now
        self.membershipEnd = membershipEnd
        self.userID = userID
    }

    /// Plans all of it; throws what refuses the login.
    mutating func make(newProjectIDs: [String]) throws {
        groupIDs = try login.groupIDs(directory)
        let roles = try wantedRoles(newProjectIDs)
        try makeUser()
        try makeMemberships()
        try makeProjects(newProjectIDs)
        try giveRoles(roles)
        if !plan.operations.isEmpty {
            plan.needs(IdentityProvider.self, login.provider.spec.id, in: directory)
            if let stored = directory.now.stored(FederationProtocol.self, login.spoken.spec.name) {
                plan.conditions.append(stored.unchanged)
            }
            plan.summary = "as \(login.provider.spec.id) says by \(login.spoken.spec.id)"
        }
    }

    private var hasRoom: Bool { max(plan.operations.count, plan.conditions.count) < Self.countMax }

    // MARK: The user

    private mutating func makeUser() throws {
        let federated = try login.federated()
        let (name, email) = (try login.name(), try login.email())
        guard var stored = directory.now.stored(User.self, CatalogName.of(userID)) else {
            let domain = try login.domain(login.identity.user.domain, directory)
            try checkName(name, domain.id)
            var spec = UserSpec(name: name, domainID: domain.id)
            spec.federated = [federated]
            if let email { spec.extra = ["email": .string(email)] }
            try plan.create(User(name: userID, created: now, spec: spec))
            try plan.take(.user(name, domain: domain.id), for: userID, at: now)
            plan.needs(Project.self, domain.id, in: directory)
            return
        }
        let before = stored.value.spec
        guard before.federated?.contains(federated) == true else {
            throw FederationError.refused(
                "the user \(userID) is another provider's or protocol's; delete that user, or give it this identity")
        }
        guard before.isEnabled else { throw FederationError.refused("the user is disabled") }
        // A user that an operator has given this identity keeps name and address.
        guard userID == FederatedLogin.userID(federated, in: before.domainID) else { return }
        if name != before.name {
            try checkName(name, before.domainID)
            plan.free(.user(before.name, domain: before.domainID))
            try plan.take(.user(name, domain: before.domainID), for: userID, at: now)
            stored.value.spec.name = name
        }
        if let email, before.extra?["email"] != .string(email) {
            stored.value.spec.extra = (before.extra ?? [:]).merging(["email": .string(email)]) { $1 }
        }
        if stored.value.spec != before { try plan.update(stored) }
    }

    private func checkName(_ name: String, _ domainID: String) throws {
        if let other = directory.user(named: name, in: domainID), other.id != userID {
            throw FederationError.refused(
                "the name '\(name.printable(limit: 80))' is that of another user of the domain; let the mapping make "
                    + "names of a claim that is each user's own")
        }
    }

    // MARK: Groups

    /// Memberships without an end are the operators' own, and stay.
    private mutating func makeMemberships() throws {
        let wanted = membershipEnd == nil ? [] : groupIDs
        for found in directory.memberships(ofUser: userID)
        where found.spec.expires != nil && !wanted.contains(found.spec.groupID) {
            guard hasRoom else { return isWhole = false }
            plan.delete(found)
        }
        for groupID in wanted {
            guard hasRoom else { return isWhole = false }
            var spec = MembershipSpec(groupID: groupID, userID: userID)
            if var stored = directory.now.stored(Membership.self, spec.name) {
                guard stored.value.spec.expires != nil, stored.value.spec.expires != membershipEnd else { continue }
                stored.value.spec.expires = membershipEnd
                try plan.update(stored)
            } else {
                spec.expires = membershipEnd
                try plan.create(Membership(name: spec.name, created: now, spec: spec))
                plan.needs(Group.self, groupID, in: directory)
            }
        }
    }

    // MARK: Projects

    private struct WantedRoles {
        let projectID: String
        var roleIDs: Set<String>
    }

    /// The roles on each project, which are looked for before anything is made.
    private func wantedRoles(_ newProjectIDs: [String]) throws -> [WantedRoles] {
        let projects = login.identity.projects
        guard projects.count <= FederatedLogin.projectCountMax else {
            throw FederationError.refused("the mapping gives more than \(FederatedLogin.projectCountMax) projects")
        }
        var wanted: [WantedRoles] = []
        var ids: [UniqueName: String] = [:]
        for (project, newID) in zip(projects, newProjectIDs) {
            let domain = try login.domain(project.domain, directory)
            let unique = UniqueName.project(project.name, domain: domain.id)
            let id = ids[unique] ?? directory.project(named: project.name, in: domain.id)?.id ?? newID
            ids[unique] = id
            var roleIDs: Set<String> = []
            for name in project.roles {
                guard let role = directory.role(named: name) ?? directory.role(named: name, in: domain.id) else {
                    throw FederationError.refused(
                        "the mapping gives the role '\(name.printable(limit: 80))', which there is not; make it first")
                }
                roleIDs.insert(role.id)
            }
            if let index = wanted.firstIndex(where: { $0.projectID == id }) {
                wanted[index].roleIDs.formUnion(roleIDs)
            } else {
                wanted.append(WantedRoles(projectID: id, roleIDs: roleIDs))
            }
        }
        guard wanted.allSatisfy({ $0.roleIDs.count <= FederatedLogin.roleCountMax }) else {
            throw FederationError.refused(
                "the mapping gives more than \(FederatedLogin.roleCountMax) roles on one project")
        }
        return wanted
    }

    private mutating func makeProjects(_ newProjectIDs: [String]) throws {
        var made: Set<UniqueName> = []
        for (project, newID) in zip(login.identity.projects, newProjectIDs) {
            let domain = try login.domain(project.domain, directory)
            let name = UniqueName.project(project.name, domain: domain.id)
            guard directory.project(named: project.name, in: domain.id) == nil, made.insert(name).inserted else {
                continue
            }
            guard (1...64).contains(project.name.unicodeScalars.count), project.name.hasOnlyPrintableScalars,
                project.name.contains(where: { !$0.isWhitespace })
            else {
                throw FederationError.refused(
                    "the mapping gives a project whose name is empty, has control characters, or more than 64 characters"
                )
            }
            guard hasRoom else { return isWhole = false }
            let spec = ProjectSpec(name: project.name, domainID: domain.id, parentID: domain.id)
            try plan.create(Project(name: newID, created: now, spec: spec))
            try plan.take(name, for: newID, at: now)
            plan.needs(Project.self, domain.id, in: directory)
        }
    }

    private mutating func giveRoles(_ wanted: [WantedRoles]) throws {
        for entry in wanted { try giveRoles(entry.roleIDs, on: entry.projectID) }
        guard login.replacesRoles else { return }
        for assignment in directory.assignments(of: .user(userID)) {
            guard case .project(let id) = assignment.spec.target, !wanted.contains(where: { $0.projectID == id }) else {
                continue
            }
            try giveRoles([], on: id)
        }
    }

    /// Changes the roles on a project itself; those for the projects below it stay.
    private mutating func giveRoles(_ wanted: Set<String>, on projectID: String) throws {
        guard isWhole, hasRoom else { return isWhole = false }
        let (actor, target) = (AssignmentSpec.Actor.user(userID), AssignmentSpec.Target.project(projectID))
        let name = AssignmentSpec.name(actor, target)
        let stored = directory.now.stored(Assignment.self, name)
        let before = stored?.value.spec.roles ?? []
        let direct = Set(before.filter { !$0.isInherited }.map(\.roleID))
        let after = login.replacesRoles ? wanted : direct.union(wanted)
        guard after != direct else { return }
        let roles =
            (before.filter(\.isInherited) + after.map { AssignmentSpec.Grant(roleID: $0) }).sorted {
                ($0.roleID, $0.isInherited ? 1 : 0) < ($1.roleID, $1.isInherited ? 1 : 0)
            }
        guard roles.count <= AssignmentSpec.roleCountMax else {
            throw FederationError.refused("the user would have over \(AssignmentSpec.roleCountMax) roles on a project")
        }
        plan.needs(Project.self, projectID, in: directory)
        for id in after.subtracting(direct) { plan.needs(UserRole.self, id, in: directory) }
        if var stored {
            guard !roles.isEmpty else {
                plan.conditions.append(stored.unchanged)
                plan.delete(stored.value)
                return
            }
            stored.value.spec.roles = roles
            try plan.update(stored)
        } else {
            let spec = AssignmentSpec(actor: actor, target: target, roles: roles)
            try plan.create(Assignment(name: name, created: now, spec: spec))
        }
    }
}
