import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let credentialsPath = "/v3/users/{user_id}/application_credentials"
    private static let appCredentialAnswer: Schema = .object(
        [
            "application_credential": .object(
                [
                    "id": .string(), "name": .string(), "project_id": .string(), "unrestricted": .boolean,
                    "roles": .array(of: .object([:], required: ["id", "name"])), "links": .links,
                ], required: ["id", "name", "project_id", "unrestricted", "roles", "links"])
        ], required: ["application_credential"])
    private static let appCredentialBody: Schema = .object(
        [
            "application_credential": .object(
                [
                    "name": .string(min: 1, max: 255, form: .notBlank), "description": Schema.string().orNull,
                    "secret": Schema.string(max: 255).orNull, "expires_at": Schema.string().orNull,
                    "unrestricted": Schema.boolean.orNull, "project_id": .string(max: 64),
                    "roles": .array(
                        of: .object(["id": .string(max: 64), "name": .string(max: 255)], minCount: 1), max: 64),
                    "access_rules": .array(of: AccessRuleView.schema, max: 100),
                ], required: ["name"])
        ], required: ["application_credential"])

    /// Whose the credential in the path is; of one that is not there, the user in the path.
    private static func ofPathAppCredential(_ call: IdentityCall) -> PolicyTarget {
        let found = call.directory.entry(ApplicationCredential.self, call.parameter("application_credential_id"))
        let owner: JSONValue = .string(found?.spec.userID ?? call.parameter("user_id"))
        return PolicyTarget(["user_id": owner, "target": ["user_id": owner]])
    }

    private static func ofUserInPath(_ call: IdentityCall) -> PolicyTarget {
        PolicyTarget(["user_id": .string(call.parameter("user_id"))])
    }

    static let applicationCredentialRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, credentialsPath, .rule("identity:list_application_credentials"),
            "Lists a user's application credentials.",
            response: appCredentialAnswer.list("application_credentials"),
            target: ofUserInPath
        ) { call in
            try call.refuseDelegated("Application credentials", exceptApplicationCredentials: true)
            let user = call.parameter("user_id")
            return try call.list(
                "application_credentials", path: "/v3/users/\(user)/application_credentials",
                call.directory.applicationCredentials(of: user).map { call.render($0) })
        },
        IdentityRoute(
            .post, credentialsPath, .rule("identity:create_application_credential"),
            "Makes an application credential for the project of the token.", request: appCredentialBody,
            response: appCredentialAnswer, target: ofUserInPath
        ) { try await $0.createApplicationCredential() },
        IdentityRoute(
            .get, "\(credentialsPath)/{application_credential_id}", .rule("identity:get_application_credential"),
            "Shows an application credential.", response: appCredentialAnswer, target: ofPathAppCredential
        ) { call in
            try call.refuseDelegated("Application credentials", exceptApplicationCredentials: true)
            return .json(["application_credential": call.render(try call.existingApplicationCredential())])
        },
        IdentityRoute(
            .delete, "\(credentialsPath)/{application_credential_id}", .rule("identity:delete_application_credential"),
            "Deletes an application credential.", target: ofPathAppCredential
        ) { call in
            try call.refuseDelegated("Application credentials", exceptApplicationCredentials: true)
            try call.refuseRestricted()
            let found = try call.existingApplicationCredential()
            try await call.change("identity:delete_application_credential", found.key) { _ in
                var plan = IdentityPlan()
                plan.delete(found)
                plan.free(.applicationCredential(found.spec.name, user: found.spec.userID))
                return (plan, ())
            }
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func existingApplicationCredential() throws -> ApplicationCredential {
        let id = parameter("application_credential_id")
        guard let found = directory.entry(ApplicationCredential.self, id), found.spec.userID == parameter("user_id")
        else {
            throw APIError.missing("application credential", id)
        }
        return found
    }

    fileprivate func render(_ credential: ApplicationCredential, secret: String? = nil) -> JSONValue {
        let spec = credential.spec
        var members: [String: JSONValue] = [
            "id": .string(credential.id), "name": .string(spec.name), "description": .optional(spec.description),
            "project_id": .string(spec.projectID), "user_id": .string(spec.userID),
            "expires_at": .optional(spec.expiresText),
            "unrestricted": .bool(spec.isUnrestricted), "system": nil,
            "roles": .array(
                spec.roleIDs.compactMap { directory.role($0) }.map { KeystoneAPI.roleNoun.render($0, base: base) }),
            "links": ["self": .string("\(base)/v3/users/\(spec.userID)/application_credentials/\(credential.id)")],
        ]
        if let secret { members["secret"] = .string(secret) }
        if let ids = spec.accessRuleIDs {
            members["access_rules"] = .array(
                ids.compactMap { directory.entry(AccessRule.self, $0) }.map { .object(AccessRuleView.members($0)) })
        }
        return .object(members)
    }

    fileprivate func createApplicationCredential() async throws -> APIAnswer {
        let given = object("application_credential")
        try refuseDelegated("Application credentials", exceptApplicationCredentials: true)
        try refuseRestricted()
        let userID = parameter("user_id")
        guard let token = caller.token, caller.credentials.userID == userID else {
            throw APIError.forbidden("An application credential cannot be made for another user.")
        }
        guard let project = caller.credentials.projectID else {
            throw APIError.badRequest("An application credential is for a project; the token has none.")
        }
        let roles = try roles(given["roles"]?.array, of: token)
        let expires = try given["expires_at"]?.string.map { try future($0) }
        let secret = given["secret"]?.string ?? Base64.urlSafe.encode(backend.random(64))
        let hash = try await backend.passwords.hash(secret)
        let (id, name) = (backend.newID(), given["name"]?.string ?? "")
        let made = try await change("identity:create_application_credential", ApplicationCredential.key(id)) {
            directory in
            guard !directory.applicationCredentials(of: userID).contains(where: { $0.spec.name == name }) else {
                throw APIError.duplicate("application_credential", "Duplicate entry found with name \(name)")
            }
            var plan = IdentityPlan()
            let rules = try given["access_rules"]?.array.map { try accessRules($0, of: userID, directory, &plan) }
            var spec = ApplicationCredentialSpec(
                userID: userID, projectID: project, name: name, description: given["description"]?.string, hash: hash,
                roleIDs: roles, expires: expires, isUnrestricted: given["unrestricted"]?.bool ?? false,
                accessRuleIDs: rules)
            spec.expiresText = given["expires_at"]?.string.map(Self.withFraction)
            let credential = ApplicationCredential(name: id, created: backend.clock.now, spec: spec)
            try plan.create(credential)
            plan.after = nil
            try plan.take(.applicationCredential(name, user: userID), for: id, at: backend.clock.now)
            plan.needs(User.self, userID, in: directory)
            plan.needs(Project.self, project, in: directory)
            return (plan, credential)
        }
        return .json(["application_credential": render(made, secret: secret)])
    }

    /// A time without its zone and with six digits of fraction, as application credentials have it.
    private static func withFraction(_ text: String) -> String {
        let time = text.prefix { $0 != "Z" && $0 != "z" && $0 != "+" }
        return time.contains(".") ? String(time) : "\(time).000000"
    }

    /// A time that is still to come; throws `APIError` 400.
    func future(_ text: String) throws -> Timestamp {
        let time: Timestamp
        do { time = try Timestamp(keystone: text) } catch { throw APIError.badRequest(error.publicMessage) }
        guard time > backend.clock.now else {
            throw APIError.badRequest("The time '\(text.printable(limit: 40))' is over already.")
        }
        return time
    }

    /// The roles that are lent: those given with what they imply, or all of the token; no more than the token has.
    private func roles(_ given: [JSONValue]?, of token: ValidToken) throws -> [String] {
        guard let given, !given.isEmpty else { return token.roles.map(\.id) }
        var ids: Set<String> = []
        for reference in given { ids.insert(try roleID(reference)) }
        ids = directory.withImplied(ids)
        guard ids.isSubset(of: Set(token.roles.map(\.id))) else {
            throw APIError.badRequest(
                "Cannot create an application credential with a role that the token does not have.")
        }
        return ids.sorted()
    }

    /// A role by its `id` or `name`; throws `APIError` 404.
    func roleID(_ reference: JSONValue) throws -> String {
        if let id = reference["id"]?.string { return id }
        let name = reference["name"]?.string ?? ""
        guard let role = directory.role(named: name) else { throw APIError.missing("role", name) }
        return role.id
    }

    /// The user's rules that are given, made where there are none yet.
    private func accessRules(
        _ given: [JSONValue], of user: String, _ directory: IdentityDirectory, _ plan: inout IdentityPlan
    ) throws -> [String] {
        var known = directory.accessRules(of: user)
        return try given.map { reference in
            if let id = reference["id"]?.string {
                guard known.contains(where: { $0.id == id }) else { throw APIError.missing("access rule", id) }
                return id
            }
            let spec = AccessRuleSpec(
                userID: user, service: reference["service"]?.string ?? "", method: reference["method"]?.string ?? "",
                path: reference["path"]?.string ?? "")
            if let same = known.first(where: { $0.spec == spec }) { return same.id }
            let rule = AccessRule(name: backend.newID(), created: backend.clock.now, spec: spec)
            try plan.create(rule)
            known.append(rule)
            return rule.id
        }
    }
}
