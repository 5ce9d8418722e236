import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    static let tokenSchema: Schema = .object(
        [
            "token": .object(
                [
                    "methods": .array(of: .string()), "expires_at": .string(form: .time),
                    "issued_at": .string(form: .time),
                    "audit_ids": .array(of: .string()), "user": .object([:], required: ["id", "name", "domain"]),
                ], required: ["methods", "expires_at", "issued_at", "audit_ids", "user"])
        ], required: ["token"])

    private static let catalogSchema: Schema = .array(
        of: .object(
            [
                "id": .string(), "type": .string(), "name": .string(),
                "endpoints": .array(
                    of: .object(
                        ["id": .string(), "interface": .string(), "url": .string()],
                        required: ["id", "interface", "url"])),
            ], required: ["id", "type", "endpoints"]))

    /// The token that a call is about, as rules see it; one that is not valid is not found.
    private static func ofSubject(_ call: IdentityCall) throws -> PolicyTarget {
        guard let text = call.headers[.subjectToken] else { return PolicyTarget() }
        let token = try call.subject(text)
        return PolicyTarget([
            "target": [
                "token": [
                    "user_id": .string(token.user.id),
                    "user": ["id": .string(token.user.id), "domain": ["id": .string(token.userDomain.id)]],
                ]
            ]
        ])
    }

    static let tokenRoutes: [IdentityRoute] = [
        IdentityRoute(
            .post, "/v3/auth/tokens", .open, "Gives a token to who shows who they are.",
            query: [QueryParameter("nocatalog", .any, "Leaves the catalog out.")],
            request: .object(
                [
                    "auth": .object(
                        [
                            "identity": .object(
                                ["methods": .array(of: .string(max: 64), max: 16)], required: ["methods"]),
                            "scope": .either([.string(), .object([:]), .null]),
                        ], required: ["identity"])
                ], required: ["auth"]), response: tokenSchema
        ) { call in
            var request = try AuthenticationBody.parse(
                call.object("auth"), signed: try call.signedRequest("/v3/auth/tokens"))
            request.receipt = call.headers[.authReceipt]
            let places = try call.backend.logins?.take(for: request.proofs, from: call.remotePlace)
            defer { withExtendedLifetime(places) {} }
            let answer = TokenAnswer(directory: call.directory, base: call.base)
            do throws(AuthenticationError) {
                let (text, token) = try await call.backend.authenticator.authenticate(request)
                return answer.answer(token, text: text, hasCatalog: call.query["nocatalog"] == nil, status: .created)
            } catch {
                guard case .moreMethods(let receipt) = error else { throw error }
                return answer.answer(receipt)
            }
        },
        IdentityRoute(
            .get, "/v3/auth/tokens", .rule("identity:validate_token"), "Says what a token gives.",
            response: tokenSchema,
            target: ofSubject
        ) { call in
            let text = try call.subjectText()
            // Before the token: what is kept for a revision may be newer than it, never older.
            let directory = call.directory
            let token = try call.subject(text)
            let form = EncodedAnswers.TokenForm(
                text: text, base: call.base, hasCatalog: call.query["nocatalog"] == nil)
            let answer = TokenAnswer(directory: directory, base: call.base)
            // Roles that end with time are looked up each time.
            guard token.rolesEnd == nil else {
                return answer.answer(token, text: text, hasCatalog: form.hasCatalog)
            }
            let body = call.backend.encoded.token(form, at: directory.tokenRevision) {
                answer.body(token, hasCatalog: form.hasCatalog).text
            }
            return APIAnswer(body: body, headers: [.subjectToken: text])
        },
        IdentityRoute(
            .head, "/v3/auth/tokens", .rule("identity:check_token"), "Says whether a token is valid.", status: .ok,
            target: ofSubject
        ) { call in
            let text = try call.subjectText()
            _ = try call.subject(text)
            return APIAnswer(headers: [.subjectToken: text])
        },
        IdentityRoute(
            .delete, "/v3/auth/tokens", .rule("identity:revoke_token"), "Revokes a token and those that came of it.",
            query: [QueryParameter("cascade", .boolean, "Whether tokens that came of it are revoked too; they are.")],
            target: ofSubject
        ) { call in
            let token = try call.subject(try call.subjectText())
            try await call.revoke(token, isChain: call.query["cascade"] == nil || call.query.flag("cascade"))
            return .empty
        },
        IdentityRoute(
            .get, "/v3/auth/catalog", .rule("identity:get_auth_catalog"), "Shows the token's catalog.",
            response: .object(
                ["catalog": catalogSchema, "links": .links], required: ["catalog", "links"])
        ) { call in
            guard let token = call.caller.token, call.caller.credentials.projectID != nil else {
                throw APIError.forbidden("The token is for no project, and so has no catalog here.")
            }
            return .json([
                "catalog": call.directory.catalog(projectID: call.caller.credentials.projectID, userID: token.user.id),
                "links": ["self": .string("\(call.base)/v3/auth/catalog")],
            ])
        },
        IdentityRoute(
            .get, "/v3/auth/projects", .rule("identity:get_auth_projects"), "Lists the projects of the token's user.",
            response: projectsAnswer
        ) { try $0.ownProjects() },
        IdentityRoute(
            .get, "/v3/auth/domains", .rule("identity:get_auth_domains"), "Lists the domains of the token's user.",
            response: domainAnswer.list("domains")
        ) { try $0.ownDomains() },
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/projects", .rule("identity:get_auth_projects"),
            "Lists the projects of the token's user.", response: projectsAnswer
        ) { try $0.ownProjects() },
        IdentityRoute(
            .get, "/v3/OS-FEDERATION/domains", .rule("identity:get_auth_domains"),
            "Lists the domains of the token's user.",
            response: domainAnswer.list("domains")
        ) { try $0.ownDomains() },
        IdentityRoute(
            .get, "/v3/auth/system", .rule("identity:get_auth_system"),
            "Says whether the user has a role in the system.",
            response: .object(
                ["system": .array(of: .object(["all": .boolean], required: ["all"])), "links": .links],
                required: ["system", "links"])
        ) { call in
            let user = call.caller.credentials.userID ?? ""
            let ids = call.directory.effectiveRoleIDs(
                of: user, moreGroups: call.federatedGroupIDs, in: .system, at: call.backend.clock.now)
            return .json([
                "system": ids.isEmpty ? [] : [["all": true]],
                "links": ["self": .string("\(call.base)/v3/auth/system"), "next": nil, "previous": nil],
            ])
        },
        IdentityRoute(
            .delete, "/v3/users/{user_id}/tokens", .rule("identity:revoke_tokens_for_user"),
            "Revokes all tokens of a user.", target: ofPathUser
        ) { call in
            let user = try call.existingUser()
            try await call.change("identity:revoke_tokens_for_user", user.key) { directory in
                guard var stored = directory.now.stored(User.self, user.metadata.name) else {
                    throw APIError.missing("user", user.id)
                }
                stored.value.spec.tokensFrom = call.backend.clock.now
                var plan = IdentityPlan()
                try plan.update(stored)
                return (plan, ())
            }
            return .empty
        },
        IdentityRoute(
            .get, "/v3/OS-REVOKE/events", .rule("identity:list_revoke_events"), "Lists revocations.",
            response: .object(
                [
                    "events": .array(
                        of: .object(
                            ["issued_before": .string(form: .time), "revoked_at": .string(form: .time)],
                            required: ["issued_before", "revoked_at"])), "links": .links,
                ], required: ["events", "links"])
        ) { call in
            let events = call.directory.now.all(Revocation.self).flatMap { event in
                (event.spec.isChain ? ["audit_id", "audit_chain_id"] : ["audit_id"]).map { name -> JSONValue in
                    [
                        name: .string(event.id), "issued_before": .string(event.spec.revoked.keystone),
                        "revoked_at": .string(event.spec.revoked.keystone),
                    ]
                }
            }
            return .json([
                "events": .array(events),
                "links": ["self": .string("\(call.base)/v3/OS-REVOKE/events"), "next": nil, "previous": nil],
            ])
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    fileprivate func subjectText() throws -> String {
        guard let text = headers[.subjectToken] else { throw APIError.missing("token", "(no X-Subject-Token)") }
        return text
    }

    /// The token that the call is about; throws `APIError` 404 for one that is not valid.
    fileprivate func subject(_ text: String) throws -> ValidToken {
        do { return try backend.tokens.verify(text) } catch {
            throw APIError.notFound("Could not find token: it is not valid, or not any more.")
        }
    }

    /// Revokes a token and, when `isChain`, all that were exchanged for it; the one that it was exchanged for stays.
    fileprivate func revoke(_ token: ValidToken, isChain: Bool) async throws {
        let id = token.payload.auditID
        try await change("identity:revoke_token", Revocation.key(id)) { directory in
            var plan = IdentityPlan()
            guard directory.entry(Revocation.self, id) == nil else { return (plan, ()) }
            let spec = RevocationSpec(
                revoked: backend.clock.now, expires: token.payload.expires, isChain: isChain)
            try plan.create(Revocation(name: id, created: backend.clock.now, spec: spec))
            return (plan, ())
        }
    }

    /// The groups that an identity provider has put the caller in, for this token.
    fileprivate var federatedGroupIDs: [String] { caller.token?.payload.federation?.groupIDs ?? [] }

    fileprivate func ownProjects() throws -> APIAnswer {
        let projects = directory.projects(
            of: caller.credentials.userID ?? "", moreGroups: federatedGroupIDs, at: backend.clock.now)
        return try KeystoneAPI.projectNoun.list(projects.filter(\.spec.isEnabled), self)
    }

    fileprivate func ownDomains() throws -> APIAnswer {
        let domains = directory.domains(
            of: caller.credentials.userID ?? "", moreGroups: federatedGroupIDs, at: backend.clock.now)
        return try KeystoneAPI.domainNoun.list(domains.filter(\.spec.isEnabled), self)
    }
}

/// A token as the API shows it.
struct TokenAnswer {
    let directory: IdentityDirectory
    let base: String

    func answer(_ token: ValidToken, text: String, hasCatalog: Bool, status: HTTPResponse.Status? = nil) -> APIAnswer {
        .json(body(token, hasCatalog: hasCatalog), headers: [.subjectToken: text], status: status)
    }

    /// What was shown is right and not enough: 401 with the receipt (Keystone API v3, "Multi-Factor Authentication").
    func answer(_ receipt: LoginReceipt) -> APIAnswer {
        let body: JSONValue = [
            "receipt": [
                "methods": .array(receipt.methods.map { .string($0) }),
                "user": [
                    "id": .string(receipt.user.id), "name": .string(receipt.user.spec.name),
                    "domain": reference(receipt.domain),
                ],
                "issued_at": .string(receipt.issued.keystone), "expires_at": .string(receipt.expires.keystone),
            ],
            "required_auth_methods": .array(receipt.rules.map { .array($0.map { .string($0) }) }),
        ]
        return .json(body, headers: [.authReceipt: receipt.text], status: .unauthorized)
    }

    func body(_ token: ValidToken, hasCatalog: Bool) -> JSONValue {
        ["token": .object(members(token, hasCatalog: hasCatalog))]
    }

    private func members(_ token: ValidToken, hasCatalog: Bool) -> [String: JSONValue] {
        let payload = token.payload
        var members: [String: JSONValue] = [
            "methods": .array(payload.methods.map { .string($0) }), "issued_at": .string(payload.issued.keystone),
            "expires_at": .string(payload.expires.keystone), "user": user(token),
            "audit_ids": .array(
                payload.auditChainID == payload.auditID
                    ? [.string(payload.auditID)] : [.string(payload.auditID), .string(payload.auditChainID)]),
        ]
        switch payload.scope {
        case .unscoped: break
        case .system: members["system"] = ["all": true]
        case .domain: members["domain"] = reference(token.scope)
        case .project:
            members["project"] = [
                "id": .optional(token.scope?.id), "name": .optional(token.scope?.spec.name),
                "domain": reference(token.scopeDomain),
            ]
            members["is_domain"] = .bool(token.scope?.spec.isDomain ?? false)
        }
        if payload.scope != .unscoped {
            members["roles"] = .array(token.roles.map { ["id": .string($0.id), "name": .string($0.spec.name)] })
            if hasCatalog {
                let project: String? = if case .project(let id) = payload.scope { id } else { nil }
                members["catalog"] = directory.catalog(projectID: project, userID: token.user.id)
            }
        }
        if let trust = token.trust {
            members["OS-TRUST:trust"] = [
                "id": .string(trust.id), "impersonation": .bool(trust.spec.isImpersonation),
                "trustor_user": ["id": .string(trust.spec.trustorID)],
                "trustee_user": ["id": .string(trust.spec.trusteeID)],
            ]
        }
        if let credential = token.applicationCredential {
            members["application_credential"] = render(credential, token)
        }
        if let id = payload.accessTokenID {
            let consumer = directory.entry(ConsumerToken.self, id)?.spec.consumerID
            members["OS-OAUTH1"] = ["access_token_id": .string(id), "consumer_id": .optional(consumer)]
        }
        return members
    }

    private func render(_ credential: ApplicationCredential, _ token: ValidToken) -> JSONValue {
        var members: [String: JSONValue] = [
            "id": .string(credential.id), "name": .string(credential.spec.name),
            "restricted": .bool(!credential.spec.isUnrestricted),
        ]
        if let rules = token.accessRules {
            members["access_rules"] = .array(
                rules.map {
                    [
                        "id": .string($0.id), "service": .string($0.spec.service), "method": .string($0.spec.method),
                        "path": .string($0.spec.path),
                    ]
                })
        }
        return .object(members)
    }

    private func reference(_ domain: Project?) -> JSONValue {
        ["id": .optional(domain?.id), "name": .optional(domain?.spec.name)]
    }

    private func user(_ token: ValidToken) -> JSONValue {
        var members: [String: JSONValue] = [
            "id": .string(token.user.id), "name": .string(token.user.spec.name), "domain": reference(token.userDomain),
            "password_expires_at": .optional(token.user.spec.passwords.last?.expires?.keystone),
        ]
        if let federation = token.payload.federation {
            members["OS-FEDERATION"] = [
                "identity_provider": ["id": .string(federation.identityProvider)],
                "protocol": ["id": .string(federation.protocol)],
                "groups": .array(federation.groupIDs.map { ["id": .string($0)] }),
            ]
        }
        return .object(members)
    }
}
