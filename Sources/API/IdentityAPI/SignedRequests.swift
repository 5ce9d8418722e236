import APISupport
import HTTPTypes
import Identity
import Primitives

extension KeystoneAPI {
    /// What servers send of a request that somebody has signed with an access key.
    private static func signed(_ members: [String: Schema]) -> Schema {
        let request: Schema = .object(
            ["access": .string(), "signature": .string(), "params": .object([:]), "headers": .object([:])]
                .merging(members) { $1 })
        return .object(["credentials": request, "credential": request, "ec2Credentials": request], minCount: 1)
    }

    /// Who has signed requests to other services, with EC2 credentials. Only those services may ask.
    static let signedRequestRoutes: [IdentityRoute] = [
        IdentityRoute(
            .post, "/v3/ec2tokens", .rule("identity:ec2tokens_validate"),
            "Gives a token of who has signed a request to an EC2-like service.",
            request: signed([
                "host": .string(), "verb": .string(), "path": .string(), "body_hash": .string(),
            ]), response: tokenSchema, status: .ok
        ) { call in
            let (text, token) = try await call.tokenOfSigner { members, texts in
                .ec2(
                    EC2Request(
                        verb: members["verb"]?.string ?? "", host: members["host"]?.string ?? "",
                        path: members["path"]?.string ?? "", parameters: texts("params"), headers: texts("headers"),
                        bodyHash: members["body_hash"]?.string ?? "", signature: members["signature"]?.string ?? ""))
            }
            return TokenAnswer(directory: call.directory, base: call.base).answer(token, text: text, hasCatalog: true)
        },
        // As with Keystone, the answer says who it is and has no token to act with.
        IdentityRoute(
            .post, "/v3/s3tokens", .rule("identity:s3tokens_validate"),
            "Says who has signed a request to a storage service.", request: signed(["token": .string()]),
            response: tokenSchema, status: .ok
        ) { call in
            let (_, token) = try await call.tokenOfSigner { members, texts in
                let (parameters, headers) = (texts("params"), texts("headers"))
                return .s3(
                    S3Request(
                        token: members["token"]?.string ?? "", signature: members["signature"]?.string ?? "",
                        time: parameters["Timestamp"] ?? headers["X-Amz-Date"] ?? parameters["X-Amz-Date"]))
            }
            let answer = TokenAnswer(directory: call.directory, base: call.base)
            return .json(answer.body(token, hasCatalog: true))
        },
    ]
}

extension APICall where Backend == IdentityBackend {
    /// A token of who has signed what the body describes; `request` is given its members, and their texts by name.
    ///
    /// Throws `APIError` 401 without an access key, and `AuthenticationError`.
    fileprivate func tokenOfSigner(
        _ request: (_ members: [String: JSONValue], _ texts: (String) -> [String: String]) -> SignedRequest
    ) async throws -> (text: String, token: ValidToken) {
        let members =
            ["credentials", "credential", "ec2Credentials"].lazy.map { object($0) }.first { !$0.isEmpty } ?? [:]
        guard let access = members["access"]?.string else { throw AuthenticationError.signature(.missing) }
        return try await backend.authenticator.authenticate(
            accessKey: access, request(members) { (members[$0]?.object ?? [:]).compactMapValues(\.string) })
    }
}
