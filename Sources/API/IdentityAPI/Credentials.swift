import APISupport
import CatalogIdentity
import Crypto
import FoundationEssentials
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let credentialAnswer: Schema = .object(
        [
            "credential": .object(
                [
                    "id": .string(), "blob": .string(), "type": .string(), "user_id": .string(),
                    "project_id": Schema.string().orNull, "links": .links,
                ], required: ["id", "blob", "type", "user_id"])
        ], required: ["credential"])

    static func ofPathCredential(_ call: IdentityCall) -> PolicyTarget {
        guard let found = call.directory.entry(Credential.self, call.parameter("credential_id")) else {
            return PolicyTarget()
        }
        return PolicyTarget(["target": ["credential": CredentialView.target(found)]])
    }

    static let credentialRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, "/v3/credentials", .rule("identity:list_credentials"), "Lists credentials.",
            response: credentialAnswer.list("credentials"),
            target: { call in
                guard !call.caller.credentials.isSystemScoped else { return PolicyTarget() }
                return PolicyTarget(["target": ["credential": ["user_id": .optional(call.caller.credentials.userID)]]])
            }
        ) { call in
            let found =
                call.query["user_id"].map { call.directory.credentials(of: $0) }
                ?? call.directory.now.all(Credential.self)
            let seen = found.filter { credential in
                let target = PolicyTarget(["target": ["credential": CredentialView.target(credential)]])
                return !call.isDelegated
                    && call.policy.isAllowed("identity:get_credential", call.caller.credentials, target)
            }
            let view = CredentialView(call: call)
            return try call.list("credentials", path: "/v3/credentials", try seen.map(view.render))
        },
        IdentityRoute(
            .post, "/v3/credentials", .rule("identity:create_credential"), "Keeps a credential.",
            request: .object(
                [
                    "credential": .object(
                        [
                            "blob": .string(), "type": .string(min: 1, max: 255), "user_id": .string(max: 64),
                            "project_id": Schema.string(max: 64).orNull,
                        ], required: ["blob", "type", "user_id"])
                ], required: ["credential"]), response: credentialAnswer,
            target: { call in
                var given = call.object("credential")
                given["blob"] = nil
                return PolicyTarget(["target": ["credential": .object(given)]])
            }
        ) { try await $0.createCredential() },
        IdentityRoute(
            .get, "/v3/credentials/{credential_id}", .rule("identity:get_credential"), "Shows a credential.",
            response: credentialAnswer, target: ofPathCredential
        ) { call in
            let found = try call.existing(Credential.self, "credential")
            try call.refuseDelegated("Credentials")
            return .json(["credential": try CredentialView(call: call).render(found)])
        },
        IdentityRoute(
            .patch, "/v3/credentials/{credential_id}", .rule("identity:update_credential"), "Changes a credential.",
            request: .object(
                [
                    "credential": .object(
                        [
                            "blob": .string(), "type": .string(min: 1, max: 255), "user_id": .string(max: 64),
                            "project_id": Schema.string(max: 64).orNull,
                        ], minCount: 1)
                ], required: ["credential"]), response: credentialAnswer, status: .ok, target: ofPathCredential
        ) { try await $0.updateCredential() },
        IdentityRoute(
            .delete, "/v3/credentials/{credential_id}", .rule("identity:delete_credential"), "Deletes a credential.",
            target: ofPathCredential
        ) { call in
            let found = try call.existing(Credential.self, "credential")
            try call.refuseDelegated("Credentials")
            try await call.deleteCredential(found, "identity:delete_credential")
            return .empty
        },
    ]
}

/// Credentials as the API shows them.
struct CredentialView {
    let call: IdentityCall

    /// With its blob, opened.
    func render(_ credential: Credential) throws -> JSONValue {
        var members = Self.members(credential)
        members["blob"] = .string(try blob(credential))
        members["links"] = ["self": .string("\(call.base)/v3/credentials/\(credential.id)")]
        return .object(members)
    }

    func blob(_ credential: Credential) throws -> String {
        let name = CredentialSpec.secretName(credential.id)
        guard let secret = call.directory.now.get(Secret.self, name) else { throw VaultError.unknown(name) }
        return try call.backend.vault.open(secret).revealed
    }

    static func target(_ credential: Credential) -> JSONValue { .object(members(credential)) }

    private static func members(_ credential: Credential) -> [String: JSONValue] {
        [
            "id": .string(credential.id), "type": .string(credential.spec.type),
            "user_id": .string(credential.spec.userID), "project_id": .optional(credential.spec.projectID),
        ].over(credential.spec.extra)
    }

    /// The access key of an EC2 credential's blob; throws `APIError` 400.
    static func accessKey(in blob: String) throws -> String {
        let value = try? JSONDecoder().decode(JSONValue.self, from: Data(blob.utf8))
        guard let access = value?["access"]?.string, !access.isEmpty else {
            throw APIError.badRequest(
                "The blob of a credential of type ec2 must be a JSON object with 'access' and 'secret'.")
        }
        return access
    }

    /// The identifier of an EC2 credential: SHA-256 of its access key.
    static func id(ofAccessKey access: String) -> String { Hex.encode(Array(SHA256.hash(data: Array(access.utf8)))) }
}

extension APICall where Backend == IdentityBackend {
    private static var credentialMembers: Set<String> { ["id", "blob", "type", "user_id", "project_id", "links"] }

    /// Keeps a new credential with its sealed blob; throws `APIError` 409 when there is one of the identifier.
    func keep(_ id: String, _ spec: CredentialSpec, blob: String, _ verb: String) async throws -> Credential {
        let secret = CredentialSpec.secretName(id)
        let sealed = try backend.vault.sealed(secret, purpose: "credential of user \(spec.userID)", SecretText(blob))
        return try await change(verb, Credential.key(CatalogName.of(id))) { directory in
            guard directory.entry(Credential.self, id) == nil else {
                throw APIError.duplicate("credential", "Duplicate entry found with ID \(id)")
            }
            let credential = Credential(name: id, created: backend.clock.now, spec: spec)
            var plan = IdentityPlan()
            try plan.create(credential)
            plan.conditions.append(sealed.unchanged)
            plan.operations.append(try sealed.put())
            plan.needs(User.self, spec.userID, in: directory)
            return (plan, credential)
        }
    }

    func deleteCredential(_ credential: Credential, _ verb: String) async throws {
        try await change(verb, credential.key) { _ in
            var plan = IdentityPlan()
            plan.delete(credential)
            plan.delete(Secret.key(CredentialSpec.secretName(credential.id)))
            return (plan, ())
        }
    }

    fileprivate func createCredential() async throws -> APIAnswer {
        let given = object("credential")
        try refuseDelegated("Credentials")
        let (type, blob) = (given["type"]?.string ?? "", given["blob"]?.string ?? "")
        var spec = CredentialSpec(
            userID: given["user_id"]?.string ?? "", type: type, projectID: given["project_id"]?.string)
        spec.extra = given.others(than: Self.credentialMembers)
        let isEC2 = type.lowercased() == "ec2"
        let id = isEC2 ? CredentialView.id(ofAccessKey: try CredentialView.accessKey(in: blob)) : backend.newID()
        let kept = try await keep(id, spec, blob: blob, "identity:create_credential")
        return .json(["credential": try CredentialView(call: self).render(kept)])
    }

    fileprivate func updateCredential() async throws -> APIAnswer {
        let given = object("credential")
        let found = try existing(Credential.self, "credential")
        try refuseDelegated("Credentials")
        var after = CredentialView.target(found).object ?? [:]
        for (name, value) in given where name != "blob" { after[name] = value }
        try demand("identity:update_credential", PolicyTarget(["target": ["credential": .object(after)]]))
        let blob = given["blob"]?.string
        if found.spec.type.lowercased() == "ec2", let blob { _ = try CredentialView.accessKey(in: blob) }
        let secret = CredentialSpec.secretName(found.id)
        let changed = try await change("identity:update_credential", found.key) { directory in
            guard var stored = directory.now.stored(Credential.self, found.metadata.name) else {
                throw APIError.missing("credential", found.id)
            }
            if let value = given["type"]?.string { stored.value.spec.type = value }
            if let value = given["user_id"]?.string { stored.value.spec.userID = value }
            if let value = given["project_id"] { stored.value.spec.projectID = value.string }
            stored.value.spec.extra = Extra.updated(stored.value.spec.extra, by: given, known: Self.credentialMembers)
            var plan = IdentityPlan()
            try plan.update(stored)
            if let blob {
                let sealed = try backend.vault.sealed(
                    secret, purpose: "credential of user \(stored.value.spec.userID)", SecretText(blob),
                    replacing: directory.now.stored(Secret.self, secret))
                plan.conditions.append(sealed.unchanged)
                plan.operations.append(try sealed.put())
            }
            return (plan, stored.value)
        }
        return .json(["credential": try CredentialView(call: self).render(changed)])
    }
}
