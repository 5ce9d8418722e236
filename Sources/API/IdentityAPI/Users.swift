import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let userNoun = Noun<UserSpec>(member: "user", collection: "users", path: "/v3/users") { user in
        var members: [String: JSONValue] = [
            "name": .string(user.spec.name), "domain_id": .string(user.spec.domainID),
            "enabled": .bool(user.spec.isEnabled), "options": .object(user.spec.options ?? [:]),
            "password_expires_at": .optional(user.spec.passwords.last?.expires?.keystone),
        ]
        if let description = user.spec.description { members["description"] = .string(description) }
        if let project = user.spec.defaultProjectID { members["default_project_id"] = .string(project) }
        if let federated = user.spec.federated, !federated.isEmpty {
            members["federated"] = UserFederation.render(federated)
        }
        return members.over(user.spec.extra)
    }

    private static let optionMembers: [String: Schema] = [
        "ignore_change_password_upon_first_use": Schema.boolean.orNull, "ignore_password_expiry": Schema.boolean.orNull,
        "ignore_lockout_failure_attempts": Schema.boolean.orNull, "lock_password": Schema.boolean.orNull,
        "ignore_user_inactivity": Schema.boolean.orNull, "multi_factor_auth_enabled": Schema.boolean.orNull,
        "multi_factor_auth_rules": Schema.array(of: .array(of: .string(), max: 16), max: 64).orNull,
    ]
    private static let userMembers: [String: Schema] = [
        "name": .string(min: 1, max: 255, form: .notBlank), "description": Schema.string().orNull, "enabled": .boolean,
        "default_project_id": Schema.string(max: 64).orNull, "domain_id": .string(max: 64),
        "password": Schema.string(max: 4096).orNull, "options": .object(optionMembers, others: nil),
        "federated": UserFederation.schema,
    ]
    static let userAnswer = userNoun.schema(
        [
            "name": .string(), "enabled": .boolean, "domain_id": .string(), "options": .object([:]),
            "password_expires_at": .string().orNull, "links": .links,
        ], required: ["name", "enabled", "domain_id"])

    static func ofPathUser(_ call: IdentityCall) -> PolicyTarget {
        let id = call.parameter("user_id")
        return PolicyTarget(["user_id": .string(id), "target": .object(userNoun.target(call.directory.user(id)))])
    }

    static func ofDomainScope(_ call: IdentityCall) -> PolicyTarget {
        guard let id = call.caller.credentials.domainID else { return PolicyTarget() }
        return PolicyTarget(["target": ["domain_id": .string(id)]])
    }

    static let userRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/users", .rule("identity:list_users"), "Lists users.",
            response: userAnswer.list("users"), target: ofDomainScope
        ) { call in
            let directory = call.directory
            let domain = call.caller.credentials.domainID ?? call.query["domain_id"]
            let users = domain.map { directory.users(in: $0) } ?? directory.now.all(User.self)
            let visible = directory.inLivingDomains(users) { $0.spec.domainID }
            let names = UserFilters.names.union(call.query["domain_id"] == domain ? ["domain_id"] : [])
            return try userNoun.list(try UserFilters.apply(call, visible), call, ignoring: names)
        },
        IdentityRoute(
            .post, "/v3/users", .rule("identity:create_user"), "Makes a user.",
            request: .object(["user": .object(userMembers, required: ["name"])], required: ["user"]),
            response: userAnswer,
            target: { call in
                var user = call.object("user")
                user["password"] = nil
                return PolicyTarget(["target": ["user": .object(user)]])
            }
        ) { try await $0.createUser() },
        IdentityRoute(
            .get, "/v3/users/{user_id}", .rule("identity:get_user"), "Shows a user.", response: userAnswer,
            target: ofPathUser
        ) { call in userNoun.answer(try call.existingUser(), call) },
        IdentityRoute(
            .patch, "/v3/users/{user_id}", .rule("identity:update_user"), "Changes a user.",
            request: .object(["user": .object(userMembers, minCount: 1)], required: ["user"]), response: userAnswer,
            status: .ok, target: ofPathUser
        ) { try await $0.updateUser() },
        IdentityRoute(
            .delete, "/v3/users/{user_id}", .rule("identity:delete_user"), "Deletes a user.", target: ofPathUser
        ) { call in
            let user = try call.existingUser()
            try await call.delete("identity:delete_user", user.key) { directory in
                directory.user(user.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
        IdentityRoute(
            .post, "/v3/users/{user_id}/password", .open, "Changes one's own password; the one before is the proof.",
            request: .object(
                [
                    "user": .object(
                        ["original_password": .string(max: 4096), "password": .string(max: 4096)],
                        required: ["original_password", "password"])
                ], required: ["user"])
        ) { try await $0.changeOwnPassword() },
        IdentityRoute(
            .get, "/v3/users/{user_id}/groups", .rule("identity:list_groups_for_user"), "Lists a user's groups.",
            response: groupAnswer.list("groups"), target: ofPathUser
        ) { call in
            let user = try call.existingUser()
            let groups = call.directory.groupIDs(of: user.id, at: call.backend.clock.now).compactMap {
                call.directory.group($0)
            }
            return try groupNoun.list(groups.filter { call.isInDomainScope($0.spec.domainID) }, call)
        },
        IdentityRoute(
            .get, "/v3/users/{user_id}/projects", .rule("identity:list_user_projects"),
            "Lists the projects where a user has a role.", response: projectsAnswer, target: ofPathUser
        ) { call in
            let user = try call.existingUser()
            return try projectNoun.list(call.directory.projects(of: user.id, at: call.backend.clock.now), call)
        },
    ]
}

/// Filters of lists of users that are no members.
enum UserFilters {
    static let names: Set<String> = ["password_expires_at", "idp_id", "protocol_id", "unique_id"]

    static func apply(_ call: IdentityCall, _ users: [User]) throws -> [User] {
        var users = users
        if let text = call.query["password_expires_at"] {
            let parts = text.split(separator: ":", maxSplits: 1)
            let known = ["lt", "lte", "gt", "gte", "eq", "neq"]
            let operation = parts.count == 2 && known.contains(String(parts[0])) ? String(parts[0]) : "eq"
            let rest = operation == "eq" && !text.hasPrefix("eq:") ? text : String(parts[1])
            let limit: Timestamp
            do { limit = try Timestamp(keystone: rest) } catch { throw APIError.badRequest(error.publicMessage) }
            users.removeAll { user in
                guard let end = user.spec.passwords.last?.expires else { return true }
                return switch operation {
                case "lt": !(end < limit)
                case "lte": !(end <= limit)
                case "gt": !(end > limit)
                case "gte": !(end >= limit)
                case "neq": end == limit
                default: end != limit
                }
            }
        }
        for (name, member) in [
            ("idp_id", \UserSpec.FederatedIdentity.provider), ("protocol_id", \.protocolID), ("unique_id", \.uniqueID),
        ] {
            guard let value = call.query[name] else { continue }
            users.removeAll { !($0.spec.federated ?? []).contains { $0[keyPath: member] == value } }
        }
        return users
    }
}

/// The member `federated` of users.
enum UserFederation {
    static let schema: Schema = .array(
        of: .object(
            [
                "idp_id": .string(),
                "protocols": .array(
                    of: .object(
                        ["protocol_id": .string(), "unique_id": .string()], required: ["protocol_id", "unique_id"])),
            ], required: ["idp_id", "protocols"]))

    static func render(_ identities: [UserSpec.FederatedIdentity]) -> JSONValue {
        let providers = Dictionary(grouping: identities, by: \.provider).sorted { $0.key < $1.key }
        return .array(
            providers.map { provider, entries in
                [
                    "idp_id": .string(provider),
                    "protocols": .array(
                        entries.map { ["protocol_id": .string($0.protocolID), "unique_id": .string($0.uniqueID)] }),
                ]
            })
    }

    static func parse(_ value: JSONValue) -> [UserSpec.FederatedIdentity] {
        (value.array ?? []).flatMap { provider in
            (provider["protocols"]?.array ?? []).map {
                UserSpec.FederatedIdentity(
                    provider: provider["idp_id"]?.string ?? "", protocolID: $0["protocol_id"]?.string ?? "",
                    uniqueID: $0["unique_id"]?.string ?? "")
            }
        }
    }
}

extension IdentityDirectory {
    /// The projects where a user has a role, by itself, by its groups, or inherited.
    func projects(of user: String, moreGroups: [String] = [], at time: Timestamp) -> [Project] {
        roleFacts(at: time).reach(ofUser: user, moreGroups: moreGroups).projects.sorted().compactMap { project($0) }
            .filter {
                !$0.spec.isDomain
            }
    }

    /// The domains where a user has a role.
    func domains(of user: String, moreGroups: [String] = [], at time: Timestamp) -> [Project] {
        roleFacts(at: time).reach(ofUser: user, moreGroups: moreGroups).domains.sorted().compactMap { domain($0) }
    }
}

extension APICall where Backend == IdentityBackend {
    static var userMembers: Set<String> {
        [
            "id", "name", "description", "enabled", "default_project_id", "domain_id", "password", "options",
            "federated",
            "links", "password_expires_at", "original_password",
        ]
    }

    func existingUser() throws -> User {
        let id = parameter("user_id")
        guard let user = directory.user(id) else { throw APIError.missing("user", id) }
        return user
    }

    /// The domain of a new user or group: as said, or that of the caller's scope.
    func domainOfNew(_ given: [String: JSONValue]) -> String? {
        let who = caller.credentials
        return given["domain_id"]?.string ?? who.domainID ?? who.projectDomainID ?? who.userDomainID
    }

    /// Whether a thing of this domain is seen: with a domain's token only what is in it.
    func isInDomainScope(_ domain: String) -> Bool { caller.credentials.domainID.map { $0 == domain } ?? true }

    fileprivate func createUser() async throws -> APIAnswer {
        let given = object("user")
        let name = given["name"]?.string ?? ""
        let domainID = domainOfNew(given) ?? "default"
        var spec = UserSpec(name: name, domainID: domainID)
        apply(given, to: &spec)
        if let password = given["password"]?.string { try await take(password, isOwn: false, into: &spec) }
        let id = backend.newID()
        let user = try await change("identity:create_user", User.key(id)) { directory in
            guard directory.domain(domainID) != nil else { throw APIError.missing("domain", domainID) }
            try checkDefaultProject(spec, directory)
            guard directory.user(named: name, in: domainID) == nil else {
                throw APIError.duplicate("user", "Duplicate entry found with name \(name) at domain ID \(domainID)")
            }
            let user = User(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(user)
            try plan.take(.user(name, domain: domainID), for: id, at: backend.clock.now)
            plan.needs(Project.self, domainID, in: directory)
            plan.after = nil
            return (plan, user)
        }
        return KeystoneAPI.userNoun.answer(user, self)
    }

    private func checkDefaultProject(_ spec: UserSpec, _ directory: IdentityDirectory) throws {
        guard let id = spec.defaultProjectID, let project = directory.project(id), project.spec.isDomain else { return }
        throw APIError.badRequest("The default project of a user cannot be a domain: \(id).")
    }

    private func apply(_ given: [String: JSONValue], to spec: inout UserSpec) {
        if let value = given["description"] { spec.description = value.string ?? "" }
        if let value = given["enabled"]?.bool { spec.isEnabled = value }
        if let value = given["default_project_id"] { spec.defaultProjectID = value.string }
        if let value = given["options"]?.object {
            var options = spec.options ?? [:]
            for (name, option) in value { options[name] = option == .null ? nil : option }
            spec.options = options.isEmpty ? nil : options
        }
        if let value = given["federated"] { spec.federated = UserFederation.parse(value) }
        spec.extra = Extra.updated(spec.extra, by: given, known: Self.userMembers)
    }

    fileprivate func updateUser() async throws -> APIAnswer {
        let given = object("user")
        let user = try existingUser()
        var hash: String?
        if let password = given["password"]?.string {
            try rules.checkStrength(password)
            hash = try await backend.passwords.hash(password)
        }
        let changed = try await change("identity:update_user", user.key) { directory in
            guard var stored = directory.now.stored(User.self, user.metadata.name), directory.user(user.id) != nil
            else {
                throw APIError.missing("user", user.id)
            }
            let before = stored.value.spec
            if let domain = given["domain_id"]?.string, domain != before.domainID {
                throw APIError.forbidden("The domain of a user cannot be changed.")
            }
            apply(given, to: &stored.value.spec)
            try checkDefaultProject(stored.value.spec, directory)
            if let hash { stored.value.take(hash, isOwn: false, rules, at: backend.clock.now) }
            if hash != nil || (before.isEnabled && !stored.value.spec.isEnabled) {
                stored.value.spec.tokensFrom = backend.clock.now
            }
            var plan = IdentityPlan()
            if let name = given["name"]?.string, name != before.name {
                guard directory.user(named: name, in: before.domainID) == nil else {
                    throw APIError.duplicate(
                        "user", "Duplicate entry found with name \(name) at domain ID \(before.domainID)")
                }
                stored.value.spec.name = name
                plan.free(.user(before.name, domain: before.domainID))
                try plan.take(.user(name, domain: before.domainID), for: user.id, at: backend.clock.now)
            }
            if given["enabled"]?.bool == true { try forgiveFailures(of: user, directory, &plan) }
            try plan.update(stored)
            plan.after = nil
            return (plan, stored.value)
        }
        return KeystoneAPI.userNoun.answer(changed, self)
    }

    fileprivate func changeOwnPassword() async throws -> APIAnswer {
        let given = object("user")
        let id = parameter("user_id")
        let user = directory.user(id)
        let places = try backend.logins?.take(names: [id], from: remotePlace)
        defer { withExtendedLifetime(places) {} }
        try await backend.authenticator.checkForChange(
            of: user, SecretText(given["original_password"]?.string ?? ""))
        guard let user else { throw APIError.authenticationRequired }
        let password = given["password"]?.string ?? ""
        let record = directory.passwordRecord(of: user)
        try rules.checkOwnChange(record, now: backend.clock.now)
        try rules.checkStrength(password)
        for old in rules.hashesToDifferFrom(record) {
            guard try await !backend.passwords.verify(password, old) else {
                throw APIError.badRequest("The new password must not be one of the last \(rules.uniqueCount).")
            }
        }
        let hash = try await backend.passwords.hash(password)
        try await change("identity:change_password", user.key) { directory in
            guard var stored = directory.now.stored(User.self, user.metadata.name) else {
                throw APIError.authenticationRequired
            }
            // Somebody has changed it meanwhile: what was proved is not the password any more.
            guard stored.value.spec.passwords.last == user.spec.passwords.last else {
                throw APIError.authenticationRequired
            }
            stored.value.take(hash, isOwn: true, rules, at: backend.clock.now)
            stored.value.spec.tokensFrom = backend.clock.now
            var plan = IdentityPlan()
            try plan.update(stored)
            plan.after = nil
            return (plan, ())
        }
        return .empty
    }

    private var rules: PasswordRules { backend.authenticator.settings.passwordRules }

    private func take(_ password: String, isOwn: Bool, into spec: inout UserSpec) async throws {
        try rules.checkStrength(password)
        var user = User(name: "", created: backend.clock.now, spec: spec)
        user.take(try await backend.passwords.hash(password), isOwn: isOwn, rules, at: backend.clock.now)
        spec = user.spec
    }

    /// Whoever is let in again by an administrator has all tries again, and the days without a login count anew.
    private func forgiveFailures(of user: User, _ directory: IdentityDirectory, _ plan: inout IdentityPlan) throws {
        let record = rules.enabling(directory.passwordRecord(of: user), now: backend.clock.now)
        guard var stored = directory.now.stored(LoginRecord.self, user.metadata.name) else {
            let spec = LoginRecordSpec().after(record)
            guard spec != LoginRecordSpec() else { return }
            return try plan.create(LoginRecord(name: user.metadata.name, created: backend.clock.now, spec: spec))
        }
        let next = stored.value.spec.after(record)
        guard next != stored.value.spec else { return }
        stored.value.spec = next
        try plan.update(stored)
    }
}

extension User {
    /// Makes the password with this hash the one in force, as the rules say.
    mutating func take(_ hash: String, isOwn: Bool, _ rules: PasswordRules, at time: Timestamp) {
        let record = PasswordRecord(
            created: metadata.created, options: UserOptions(spec.options ?? [:]), passwords: spec.passwords)
        spec.passwords = rules.changing(record, to: hash, isOwn: isOwn, now: time).passwords
    }
}
