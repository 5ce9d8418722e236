import APISupport
import CatalogIdentity
import FoundationEssentials
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let ec2Path = "/v3/users/{user_id}/credentials/OS-EC2"
    private static let ec2Answer: Schema = .object(
        [
            "credential": .object(
                ["access": .string(), "secret": .string(), "user_id": .string(), "tenant_id": Schema.string().orNull],
                required: ["access", "secret", "user_id", "tenant_id"])
        ], required: ["credential"])

    private static func ofPathEC2(_ call: IdentityCall) throws -> PolicyTarget {
        let access = call.parameter("credential_id")
        guard let found = call.directory.entry(Credential.self, CredentialSpec.id(ofAccessKey: access)) else {
            throw APIError.missing("credential", access)
        }
        return PolicyTarget([
            "user_id": .string(call.parameter("user_id")), "target": ["credential": CredentialView.target(found)],
        ])
    }

    private static func ofUser(_ call: IdentityCall) -> PolicyTarget {
        let id: JSONValue = .string(call.parameter("user_id"))
        return PolicyTarget(["user_id": id, "target": ["credential": ["user_id": id]]])
    }

    static let ec2Routes: [IdentityRoute] = [
        IdentityRoute(
            .get, ec2Path, .rule("identity:ec2_list_credentials"), "Lists a user's EC2 credentials.",
            response: ec2Answer.list("credentials"), target: ofUser
        ) { call in
            let user = try call.existingUser()
            try call.refuseDelegated("Credentials")
            let found = call.directory.credentials(of: user.id).filter { $0.spec.type.lowercased() == "ec2" }
            return try call.list(
                "credentials", path: "/v3/users/\(user.id)/credentials/OS-EC2", try found.map { try call.renderEC2($0) }
            )
        },
        IdentityRoute(
            .post, ec2Path, .rule("identity:ec2_create_credential"), "Makes an EC2 credential.",
            request: .object(["tenant_id": .string(min: 1, max: 64)], required: ["tenant_id"]), response: ec2Answer,
            target: ofUser
        ) { call in
            let user = try call.existingUser()
            let project = call.body["tenant_id"]?.string ?? ""
            try call.refuseDelegated("Credentials")
            guard call.directory.project(project) != nil else { throw APIError.missing("project", project) }
            let (access, secret) = (call.backend.newID(), call.backend.newID())
            let spec = CredentialSpec(userID: user.id, type: "ec2", projectID: project)
            let blob: JSONValue = ["access": .string(access), "secret": .string(secret), "trust_id": nil]
            let kept = try await call.keep(
                CredentialSpec.id(ofAccessKey: access), spec, blob: String(decoding: blob.text, as: UTF8.self),
                "identity:ec2_create_credential")
            return .json(["credential": try call.renderEC2(kept)])
        },
        IdentityRoute(
            .get, "\(ec2Path)/{credential_id}", .rule("identity:ec2_get_credential"), "Shows an EC2 credential.",
            response: ec2Answer, target: ofPathEC2
        ) { call in .json(["credential": try call.renderEC2(try call.existingEC2())]) },
        IdentityRoute(
            .delete, "\(ec2Path)/{credential_id}", .rule("identity:ec2_delete_credential"),
            "Deletes an EC2 credential.", target: ofPathEC2
        ) { call in
            try await call.deleteCredential(try call.existingEC2(), "identity:ec2_delete_credential")
            return .empty
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func existingEC2() throws -> Credential {
        let access = parameter("credential_id")
        guard let found = directory.entry(Credential.self, CredentialSpec.id(ofAccessKey: access)) else {
            throw APIError.missing("credential", access)
        }
        guard found.spec.type.lowercased() == "ec2" else { throw APIError.authenticationRequired }
        try refuseDelegated("Credentials")
        return found
    }

    fileprivate func renderEC2(_ credential: Credential) throws -> JSONValue {
        let text = try CredentialView(call: self).blob(credential)
        let blob = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
        let access = blob["access"]?.string ?? ""
        return [
            "user_id": .string(credential.spec.userID), "tenant_id": .optional(credential.spec.projectID),
            "access": .string(access), "secret": blob["secret"] ?? nil, "trust_id": blob["trust_id"] ?? nil,
            "links": [
                "self": .string(
                    "\(base)/v3/users/\(credential.spec.userID)/credentials/OS-EC2/\(access.percentEncoded)")
            ],
        ]
    }
}
