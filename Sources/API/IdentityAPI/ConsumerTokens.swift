import APISupport
import CatalogIdentity
import HTTPTypes
import Identity
import Policy
import Primitives
import ReconcileRuntime
import ResourceModel

extension KeystoneAPI {
    /// The steps by which a consumer gets an access token (RFC 5849 section 2); their answers are forms.
    static let consumerTokenRoutes: [IdentityRoute] = [
        IdentityRoute(
            .post, "/v3/OS-OAUTH1/request_token", .open,
            "Gives a consumer, which signs this, a request token for a project.",
            status: .created
        ) { try await $0.createRequestToken() },
        IdentityRoute(
            .put, "/v3/OS-OAUTH1/authorize/{request_token_id}", .rule("identity:authorize_request_token"),
            "Lends roles to a consumer that has asked for them.",
            request: .object(
                [
                    "roles": .array(
                        of: .either([
                            .object(["id": .string(min: 1, max: 64)], required: ["id"], others: nil),
                            .object(["name": .string(min: 1, max: 255)], required: ["name"], others: nil),
                        ]), max: 100)
                ], required: ["roles"]),
            response: .object(
                ["token": .object(["oauth_verifier": .string()], required: ["oauth_verifier"])], required: ["token"]),
            status: .ok
        ) { try await $0.authorizeRequestToken() },
        IdentityRoute(
            .post, "/v3/OS-OAUTH1/access_token", .open,
            "Gives a consumer, which signs this with an authorized request token, an access token in its place.",
            status: .created
        ) { try await $0.createAccessToken() },
    ]
}

extension ConsumerError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .incomplete: .badRequest(publicMessage)
        case .refused: .authenticationRequired
        case .vault(let error): error.apiError
        }
    }
}

extension APICall where Backend == IdentityBackend {
    /// How long a request token is good.
    private static var requestLifetime: Duration { .seconds(8 * 3600) }
    /// How long an access token is good.
    private static var accessLifetime: Duration { .seconds(24 * 3600) }

    /// The request at this path as a consumer has signed it; nil: its header is none of OAuth's.
    ///
    /// Throws `APIError` 400 when the signature is not complete.
    func signedRequest(_ path: String) throws -> OAuth1Request? {
        guard let header = headers[.authorization], header.prefix(6).lowercased() == "oauth " else { return nil }
        let query = query.items.map { "\($0.name.percentEncoded)=\($0.value.percentEncoded)" }.joined(
            separator: "&")
        do throws(OAuth1Error) {
            return try OAuth1Request(
                verb: method.rawValue, url: "\(base)\(path)?\(query)", authorization: header)
        } catch { throw ConsumerError.incomplete(error) }
    }

    private func signed(_ path: String) throws -> OAuth1Request {
        guard let request = try signedRequest(path) else { throw APIError.authenticationRequired }
        return request
    }

    private var consumers: ConsumerDesk {
        ConsumerDesk(cache: backend.cache, vault: backend.vault, clock: backend.clock)
    }

    fileprivate func createRequestToken() async throws -> APIAnswer {
        let request = try signed("/v3/OS-OAUTH1/request_token")
        guard let projectID = headers[.requestedProjectID], !projectID.isEmpty else {
            throw APIError.badRequest("The header Requested-Project-Id is missing.")
        }
        let consumer = try await consumers.consumer(of: request)
        guard directory.project(projectID) != nil else { throw APIError.missing("project", projectID) }
        let spec = ConsumerTokenSpec(
            consumerID: consumer.id, projectID: projectID, phase: .requested,
            expires: backend.clock.now.advanced(by: Self.requestLifetime))
        return try await give("identity:create_request_token", spec, insteadOf: nil)
    }

    fileprivate func createAccessToken() async throws -> APIAnswer {
        let request = try signed("/v3/OS-OAUTH1/access_token")
        guard let verifier = request.verifier else { throw ConsumerError.incomplete(.missing("oauth_verifier")) }
        guard let id = request.token else { throw ConsumerError.incomplete(.missing("oauth_token")) }
        guard directory.entry(ConsumerToken.self, id)?.spec.isAccessToken == false else {
            throw APIError.notFound("Request token not found.")
        }
        let token = try await consumers.token(of: request)
        guard case .authorized(let user, let roles, let expected) = token.spec.phase, verifier == expected else {
            throw ConsumerError.refused("the verifier is another, or nobody has authorized the token")
        }
        let spec = ConsumerTokenSpec(
            consumerID: token.spec.consumerID, projectID: token.spec.projectID,
            phase: .access(of: user, roleIDs: roles),
            expires: backend.clock.now.advanced(by: Self.accessLifetime))
        return try await give("identity:create_access_token", spec, insteadOf: token)
    }

    /// Keeps a new token with a new secret, in the place of the request token where it is one's, and tells both.
    private func give(_ verb: String, _ spec: ConsumerTokenSpec, insteadOf used: ConsumerToken?) async throws
        -> APIAnswer
    {
        let (id, secret) = (backend.newID(), SecretText(backend.newID()))
        let sealed = try backend.vault.sealed(
            ConsumerTokenSpec.secretName(id), purpose: "what the OAuth consumer \(spec.consumerID) signs with", secret)
        try await change(verb, ConsumerToken.key(id)) { directory in
            guard directory.entry(Consumer.self, spec.consumerID) != nil, directory.project(spec.projectID) != nil
            else {
                throw ConsumerError.refused("the consumer or the project is gone")
            }
            var plan = IdentityPlan()
            if let used {
                guard let stored = directory.now.stored(ConsumerToken.self, used.metadata.name),
                    stored.value.spec == used.spec
                else { throw ConsumerError.refused("the request token was used or changed") }
                plan.need(stored)
                plan.operations += directory.dependents(of: used).keys.map { .delete($0) }
            }
            plan.needs(Consumer.self, spec.consumerID, in: directory)
            plan.needs(Project.self, spec.projectID, in: directory)
            try plan.create(ConsumerToken(name: id, created: backend.clock.now, spec: spec))
            plan.operations.append(try sealed.put())
            return (plan, ())
        }
        var form = "oauth_token=\(id)&oauth_token_secret=\(secret.revealed)"
        if let end = spec.expires { form += "&oauth_expires_at=\(end.keystone)" }
        return APIAnswer(body: Array(form.utf8), headers: [.contentType: "application/x-www-form-urlencoded"])
    }

    fileprivate func authorizeRequestToken() async throws -> APIAnswer {
        try refuseDelegated("Access tokens")
        let id = parameter("request_token_id")
        let user = caller.credentials.userID ?? ""
        let verifier = backend.newID()
        let key = ConsumerToken.key(CatalogName.of(id))
        try await change("identity:authorize_request_token", key) { directory in
            guard var stored = directory.now.stored(ConsumerToken.self, key.name), !stored.value.spec.isAccessToken
            else {
                throw APIError.missing("request token", id)
            }
            let spec = stored.value.spec
            guard spec.expires.map({ backend.clock.now < $0 }) ?? true else {
                throw ConsumerError.refused("the request token has ended")
            }
            let roles = try lentRoles(directory)
            let own = directory.effectiveRoleIDs(of: user, in: .project(spec.projectID), at: backend.clock.now)
            guard !roles.isEmpty, roles.isSubset(of: own) else {
                throw ConsumerError.refused("the user has not the roles that it wants to lend")
            }
            stored.value.spec.phase = .authorized(by: user, roleIDs: roles.sorted(), verifier: verifier)
            var plan = IdentityPlan()
            try plan.update(stored)
            return (plan, ())
        }
        return .json(["token": ["oauth_verifier": .string(verifier)]])
    }

    /// The roles of the body; throws `APIError` 404 for one that is not there.
    private func lentRoles(_ directory: IdentityDirectory) throws -> Set<String> {
        Set(
            try (body["roles"]?.array ?? []).map { given in
                let name = given["name"]?.string
                let id = given["id"]?.string ?? name.flatMap { directory.role(named: $0)?.id } ?? ""
                guard directory.role(id) != nil else { throw APIError.missing("role", name ?? id) }
                return id
            })
    }
}

extension HTTPField.Name {
    fileprivate static let requestedProjectID = HTTPField.Name("Requested-Project-Id")!
}
