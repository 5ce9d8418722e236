import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ResourceModel

extension KeystoneAPI {
    private static let loginPath = "\(identityProviderNoun.path)/{idp_id}/protocols/{protocol_id}/auth"
    private static let refusalAnswer: Schema = .object(["error": .object([:])], required: ["error"])

    /// Logging in by an identity provider (`OS-FEDERATION`, "Request an unscoped OS-FEDERATION token").
    static let federationLoginRoutes: [IdentityRoute] = [
        login(.get), login(.post),
        unavailable(.post, "/v3/auth/OS-FEDERATION/saml2", saml2),
        unavailable(.post, "/v3/auth/OS-FEDERATION/saml2/ecp", saml2),
        unavailable(.get, "/v3/OS-FEDERATION/saml2/metadata", saml2),
        unavailable(.get, "/v3/auth/OS-FEDERATION/websso/{protocol_id}", browser),
        unavailable(.post, "/v3/auth/OS-FEDERATION/websso/{protocol_id}", browser),
        unavailable(.get, browserPath, browser), unavailable(.post, browserPath, browser),
    ]

    fileprivate static let saml2 = "SAML 2.0 is not spoken here"
    private static let browser = "Logins through a browser are not there"
    private static let browserPath =
        "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso"

    private static func login(_ method: HTTPRequest.Method) -> IdentityRoute {
        IdentityRoute(
            method, loginPath, .open,
            "Gives an unscoped token for a provider's OpenID Connect token, sent as 'Authorization: Bearer TOKEN'.",
            response: tokenSchema, status: .created
        ) { try await $0.logInByProvider() }
    }

    /// A route of Keystone's that says what to use in its place.
    private static func unavailable(_ method: HTTPRequest.Method, _ path: String, _ what: String) -> IdentityRoute {
        IdentityRoute(
            method, path, .open, "Is not there; says what to use.", response: refusalAnswer, status: .notImplemented
        ) { _ in .json(APIError.onlyOpenIDConnect(what).keystoneBody) }
    }
}

extension APIError {
    fileprivate static func onlyOpenIDConnect(_ what: String) -> APIError {
        APIError(
            .notImplemented, "not_implemented",
            "\(what). Log in by OpenID Connect: POST the provider's token to "
                + "/v3/OS-FEDERATION/identity_providers/PROVIDER/protocols/PROTOCOL/auth, as the client's auth types "
                + "v3oidcaccesstoken, v3oidcpassword, v3oidcclientcredentials and v3oidcdeviceauthz do.")
    }
}

extension FederationError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .refused: APIError(.unauthorized, "unauthorized", publicMessage)
        case .unavailable:
            APIError(.serviceUnavailable, "provider_unavailable", publicMessage, headers: [.retryAfter: "60"])
        }
    }
}

extension MappingError: APIErrorConvertible {
    /// For whoever logs in; whoever writes a mapping is told by `MappingForm`.
    public var apiError: APIError { APIError(.unauthorized, "unauthorized", publicMessage) }
}

extension APICall where Backend == IdentityBackend {
    /// Checks the provider's token, asks the mapping who that is here, makes their record what the provider says, and
    /// gives them a token.
    fileprivate func logInByProvider() async throws -> APIAnswer {
        let provider = try enabledProvider()
        let spoken = try existingProtocol()
        guard spoken.spec.id != "saml2" else { return saml2Answer }
        guard let mapping = directory.entry(FederationMapping.self, spoken.spec.mappingID) else {
            throw FederationError.refused("the protocol's mapping '\(spoken.spec.mappingID)' is gone")
        }
        let assertion = FederationAssertion(claims: try await verifiedClaims(provider))
        if let attribute = spoken.spec.remoteIDAttribute {
            let names = assertion.values[attribute] ?? []
            guard !Set(names).isDisjoint(with: provider.spec.remoteIDs) else {
                throw FederationError.refused(
                    "the protocol's remote_id_attribute '\(attribute)' is none of the provider's remote_ids")
            }
        }
        let rules = try MappingRules(mapping.spec.rules, schemaVersion: mapping.spec.formVersion)
        let login = FederatedLogin(
            provider: provider, spoken: spoken, identity: try rules.evaluate(assertion),
            subject: assertion.values["REMOTE_USER"]?.first, replacesRoles: rules.replacesRoles)
        let (user, federation) = try await record(login)
        let (text, token) = try await backend.authenticator.authenticate(user, by: spoken.spec.id, federation)
        return TokenAnswer(directory: directory, base: base).answer(token, text: text, hasCatalog: true)
    }

    private var saml2Answer: APIAnswer {
        .json(APIError.onlyOpenIDConnect(KeystoneAPI.saml2).keystoneBody, status: .notImplemented)
    }

    private func enabledProvider() throws -> IdentityProvider {
        let provider = try existingProvider()
        guard provider.spec.isEnabled else {
            throw APIError.forbidden("Identity Provider \(provider.spec.id) is disabled.")
        }
        return provider
    }

    private func verifiedClaims(_ provider: IdentityProvider) async throws -> [String: JSONValue] {
        let parts = headers[.authorization]?.split(separator: " ") ?? []
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw FederationError.refused("there is none; send it as 'Authorization: Bearer TOKEN'")
        }
        guard let verifier = backend.openID else {
            throw FederationError.refused("the conductor was not told of any issuer; start it with --oidc-settings")
        }
        return try await verifier.claims(of: String(parts[1]), from: provider.spec.remoteIDs)
    }

    /// Makes the user's record, memberships, projects and roles so; in several commits when there is much to write.
    private func record(_ login: FederatedLogin) async throws -> (User, TokenPayload.Federation?) {
        guard !login.identity.user.isLocal else { return (try login.localUser(directory), nil) }
        let ends = login.membershipEnd(from: backend.clock.now)
        let projectIDs = login.identity.projects.map { _ in backend.newID() }
        while true {
            let userID = try login.userID(directory)
            let (isWhole, groupIDs) = try await change("identity:federated_login", User.key(userID)) { directory in
                _ = try enabledProvider()
                _ = try existingProtocol()
                var plan = FederatedUserPlan(
                    login: login, directory: directory, now: backend.clock.now, membershipEnd: ends, userID: userID)
                try plan.make(newProjectIDs: projectIDs)
                return (plan.plan, (plan.isWhole, plan.groupIDs))
            }
            guard isWhole else { continue }
            guard let user = directory.user(userID) else { throw APIError.authenticationRequired }
            let federation = TokenPayload.Federation(
                identityProvider: login.provider.spec.id, protocol: login.spoken.spec.id, groupIDs: groupIDs)
            return (user, federation)
        }
    }
}
