import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    private static let accessTokensPath = "/v3/users/{user_id}/OS-OAUTH1/access_tokens"
    private static let accessTokenPath = "\(accessTokensPath)/{access_token_id}"

    private static let accessTokenAnswer: Schema = .object(
        [
            "access_token": .object(
                [
                    "id": .string(), "consumer_id": .string(), "project_id": .string(),
                    "authorizing_user_id": Schema.string().orNull, "expires_at": Schema.string(form: .time).orNull,
                    "links": .links,
                ], required: ["id", "consumer_id", "project_id", "authorizing_user_id", "expires_at", "links"])
        ], required: ["access_token"])

    /// What a user has lent to consumers.
    static let accessTokenRoutes: [IdentityRoute] = [
        IdentityRoute(
            .get, accessTokensPath, .rule("identity:list_access_tokens"),
            "Lists the access tokens that a user has authorized.",
            response: accessTokenAnswer.list("access_tokens")
        ) { call in
            try call.refuseDelegated("Access tokens")
            let user = call.parameter("user_id")
            let tokens = call.directory.now.all(ConsumerToken.self).filter {
                $0.spec.isAccessToken && $0.spec.lender == user
            }
            return try call.list(
                "access_tokens", path: "/v3/users/\(user.percentEncoded)/OS-OAUTH1/access_tokens",
                tokens.map(call.render))
        },
        IdentityRoute(
            .get, accessTokenPath, .rule("identity:get_access_token"),
            "Shows an access token that a user has authorized.",
            response: accessTokenAnswer
        ) { call in
            try call.refuseDelegated("Access tokens")
            return .json(["access_token": call.render(try call.accessToken())])
        },
        // Keystone asks this rule, and not one of the access token's own.
        IdentityRoute(
            .delete, accessTokenPath, .rule("identity:ec2_delete_credential"),
            "Takes back what a user has lent; tokens of it are void."
        ) { call in
            try call.refuseDelegated("Access tokens")
            let token = try call.accessToken()
            try await call.delete("identity:delete_access_token", token.key) { directory in
                directory.entry(ConsumerToken.self, token.id).map { directory.dependents(of: $0) } ?? Dependents()
            }
            return .empty
        },
        IdentityRoute(
            .get, "\(accessTokenPath)/roles", .rule("identity:list_access_token_roles"),
            "Lists the roles of an access token.",
            response: rolesAnswer
        ) { call in
            let token = try call.accessToken()
            return try roleNoun.list(token.spec.roleIDs.compactMap { call.directory.role($0) }, call)
        },
        IdentityRoute(
            .get, "\(accessTokenPath)/roles/{role_id}", .rule("identity:get_access_token_role"),
            "Shows a role of an access token.",
            response: roleAnswer
        ) { call in
            let id = call.parameter("role_id")
            guard try call.accessToken().spec.roleIDs.contains(id), let role = call.directory.role(id) else {
                throw APIError.missing("role", id)
            }
            return roleNoun.answer(role, call)
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// The access token that the path names, of the path's user; throws `APIError` 404.
    fileprivate func accessToken() throws -> ConsumerToken {
        let id = parameter("access_token_id")
        guard let token = directory.entry(ConsumerToken.self, id), token.spec.isAccessToken,
            token.spec.lender == parameter("user_id")
        else { throw APIError.missing("access token", id) }
        return token
    }

    fileprivate func render(_ token: ConsumerToken) -> JSONValue {
        let address = "\(base)/v3/users/\(token.spec.lender ?? "")/OS-OAUTH1/access_tokens/\(token.id)"
        return [
            "id": .string(token.id), "consumer_id": .string(token.spec.consumerID),
            "project_id": .string(token.spec.projectID), "authorizing_user_id": .optional(token.spec.lender),
            "expires_at": .optional(token.spec.expires?.keystone),
            "links": ["self": .string(address), "roles": .string("\(address)/roles")],
        ]
    }
}
