import Crypto
import FoundationEssentials
import HTTPTypes
import Primitives
import TestSupport
import Testing

/// A consumer as its own program signs (RFC 5849 section 3.4), apart from the code that checks it.
private struct Signer {
    var consumer: String
    var secret: String
    var token: String?
    var tokenSecret = ""
    var verifier: String?
    var time: Timestamp

    func header(_ path: String) -> HTTPFields {
        var parameters = [
            "oauth_consumer_key": consumer, "oauth_signature_method": "HMAC-SHA256", "oauth_nonce": "n1",
            "oauth_timestamp": "\(time.millisecondsSinceEpoch / 1000)", "oauth_version": "1.0",
        ]
        parameters["oauth_token"] = token
        parameters["oauth_verifier"] = verifier
        if token == nil { parameters["oauth_callback"] = "oob" }
        let pairs = parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "%26")
        let address = "https%3A%2F%2Fcloud.example%3A9443%2Fidentity%2Fv3" + path.replacing("/", with: "%2F")
        let base = "POST&\(address)&" + pairs.replacing("=", with: "%3D")
        let code = HMAC<SHA256>.authenticationCode(
            for: Array(base.utf8), using: SymmetricKey(data: Array("\(secret)&\(tokenSecret)".utf8)))
        let signature = Data(code).base64EncodedString().replacing("+", with: "%2B").replacing("/", with: "%2F")
            .replacing("=", with: "%3D")
        parameters["oauth_signature"] = signature
        return [
            .authorization: "OAuth " + parameters.map { "\($0.key)=\"\($0.value)\"" }.joined(separator: ", ")
        ]
    }
}

/// The members of a form.
private func form(_ text: String) -> [String: String] {
    Dictionary(
        text.split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            return (parts[0], parts.count == 2 ? parts[1] : "")
        }
    ) { first, _ in first }
}

@Suite struct ConsumerTests {
    private let requestPath = "/OS-OAUTH1/request_token"
    private let accessPath = "/OS-OAUTH1/access_token"

    @Test func aConsumersSecretIsToldOnce() async throws {
        try await withCloud { cloud in
            let made = try await cloud.call(.post, "/OS-OAUTH1/consumers", ["consumer": ["description": "print"]])
            let (id, secret) = (made["consumer/id"].string ?? "", made["consumer/secret"].string ?? "")
            #expect(secret.count == 32)
            #expect(try await cloud.secrets("consumer.").values.elementsEqual([secret]))
            let shown = try await cloud.call(.get, "/OS-OAUTH1/consumers/\(id)")
            #expect(shown.status == 200 && !shown.text.contains(secret))
            let change = try await cloud.call(.patch, "/OS-OAUTH1/consumers/\(id)", ["consumer": ["secret": "x"]])
            #expect(change.status == 400)
            #expect(try await cloud.call(.delete, "/OS-OAUTH1/consumers/\(id)").status == 204)
            #expect(try await cloud.secrets("consumer.").isEmpty)
        }
    }

    /// A consumer and the project `p`, in which the administrator is one.
    private func signer(_ cloud: CloudScene) async throws -> (Signer, project: String, user: String) {
        let made = try await cloud.call(.post, "/OS-OAUTH1/consumers", ["consumer": [:]])
        let project = try await cloud.make("/projects", "project", ["name": "p"])
        let user = try await cloud.call(.get, "/users?name=admin")["users/0/id"].string ?? ""
        let role = try await cloud.roleID("admin")
        #expect(try await cloud.call(.put, "/projects/\(project)/users/\(user)/roles/\(role)").status == 204)
        let signer = Signer(
            consumer: made["consumer/id"].string ?? "", secret: made["consumer/secret"].string ?? "",
            time: cloud.clock.now)
        return (signer, project, user)
    }

    private func request(_ cloud: CloudScene, _ signer: Signer, project: String) async throws -> CloudScene.Answer {
        var headers = signer.header(requestPath)
        headers[HTTPField.Name("Requested-Project-Id")!] = project
        return try await cloud.call(.post, requestPath, token: .some(nil), headers: headers)
    }

    private func login(_ cloud: CloudScene, _ signer: Signer) async throws -> CloudScene.Answer {
        try await cloud.call(
            .post, "/auth/tokens", ["auth": ["identity": ["methods": ["oauth1"], "oauth1": [:]]]], token: .some(nil),
            headers: signer.header("/auth/tokens"))
    }

    /// A signer with an access token of the role `member` in the project.
    private func lent(_ cloud: CloudScene, _ first: Signer, project: String) async throws -> Signer {
        var signer = first
        let asked = form(try await request(cloud, signer, project: project).text)
        signer.token = asked["oauth_token"]
        signer.tokenSecret = asked["oauth_token_secret"] ?? ""
        let authorized = try await cloud.call(
            .put, "/OS-OAUTH1/authorize/\(asked["oauth_token"] ?? "")", ["roles": [["name": "member"]]])
        #expect(authorized.status == 200, "\(authorized.text)")
        signer.verifier = authorized["token/oauth_verifier"].string
        let given = try await cloud.call(.post, accessPath, token: .some(nil), headers: signer.header(accessPath))
        #expect(given.status == 201, "\(given.text)")
        #expect(given.headers[.contentType] == "application/x-www-form-urlencoded")
        let again = try await cloud.call(.post, accessPath, token: .some(nil), headers: signer.header(accessPath))
        #expect(again.status == 404, "a request token is good once")
        signer.verifier = nil
        signer.token = form(given.text)["oauth_token"]
        signer.tokenSecret = form(given.text)["oauth_token_secret"] ?? ""
        return signer
    }

    @Test func aConsumerActsWithTheRolesThatWereLent() async throws {
        try await withCloud { cloud in
            let (first, project, user) = try await signer(cloud)
            let signer = try await lent(cloud, first, project: project)
            let answer = try await login(cloud, signer)
            #expect(answer.status == 201, "\(answer.text)")
            #expect(answer["token/user/id"].string == user)
            #expect(answer["token/project/id"].string == project)
            #expect(answer["token/roles"].array?.compactMap { $0["name"]?.string } == ["member", "reader"])
            #expect(answer["token/OS-OAUTH1/consumer_id"].string == signer.consumer)
            let token = answer.headers[HTTPField.Name("X-Subject-Token")!] ?? ""
            #expect(try await cloud.call(.post, "/projects", ["project": ["name": "q"]], token: token).status == 403)

            let path = "/users/\(user)/OS-OAUTH1/access_tokens"
            let listed = try await cloud.call(.get, path)
            #expect(listed["access_tokens/0/id"].string == signer.token)
            #expect(!listed.text.contains(signer.tokenSecret))
            #expect(try await cloud.call(.get, "\(path)/\(signer.token ?? "")/roles")["roles/0/name"] == "member")
            #expect(try await cloud.call(.get, path, token: token).status == 403)
            #expect(try await cloud.call(.delete, "\(path)/\(signer.token ?? "")").status == 204)
            #expect(try await cloud.secrets("consumertoken.").isEmpty)
            #expect(try await cloud.call(.get, "/auth/projects", token: token).status == 401, "its tokens are void")
            #expect(try await login(cloud, signer).status == 401)
        }
    }

    @Test func whatWasLentIsNotExchanged() async throws {
        try await withCloud { cloud in
            let (first, project, _) = try await signer(cloud)
            let answer = try await login(cloud, try await lent(cloud, first, project: project))
            let token = answer.headers[HTTPField.Name("X-Subject-Token")!] ?? ""
            for scope in ["unscoped", ["project": ["id": .string(project)]], ["system": ["all": true]]] as [JSONValue] {
                let exchanged = try await cloud.call(
                    .post, "/auth/tokens",
                    ["auth": ["identity": ["methods": ["token"], "token": ["id": .string(token)]], "scope": scope]],
                    token: .some(nil))
                #expect(exchanged.status == 403, "\(scope): \(exchanged.text)")
            }
        }
    }

    @Test func whoHasNotSignedGetsNothing() async throws {
        try await withCloud { cloud in
            let (signer, project, _) = try await signer(cloud)
            var other = signer
            other.secret = "another"
            #expect(try await request(cloud, other, project: project).status == 401)
            other = signer
            other.consumer = "nobody"
            #expect(try await request(cloud, other, project: project).status == 401)
            #expect(try await request(cloud, signer, project: "nowhere").status == 404)
            #expect(
                try await cloud.call(.post, requestPath, token: .some(nil), headers: signer.header(requestPath)).status
                    == 400)
            #expect(try await cloud.call(.post, requestPath, token: .some(nil)).status == 401)
            let early = try await request(cloud, signer, project: project)
            #expect(early.status == 201)
            var unauthorized = signer
            unauthorized.token = form(early.text)["oauth_token"]
            unauthorized.tokenSecret = form(early.text)["oauth_token_secret"] ?? ""
            unauthorized.verifier = "guessed"
            let refused = try await cloud.call(
                .post, accessPath, token: .some(nil), headers: unauthorized.header(accessPath))
            #expect(refused.status == 401)
            unauthorized.verifier = nil
            #expect(try await login(cloud, unauthorized).status == 401, "a request token is no access token")
            let path = "/OS-OAUTH1/authorize/\(unauthorized.token ?? "")"
            #expect(try await cloud.call(.put, path, ["roles": []]).status == 401)
            #expect(
                try await cloud.call(.put, path, ["roles": [["name": "service"]]]).status == 401, "it has not that role"
            )
            #expect(try await cloud.call(.put, path, ["roles": [["name": "nobody"]]]).status == 404)
            cloud.clock.advance(by: .seconds(9 * 3600))
            var late = signer
            late.time = cloud.clock.now
            late.token = unauthorized.token
            late.tokenSecret = unauthorized.tokenSecret
            late.verifier = "guessed"
            #expect(
                try await cloud.call(.post, accessPath, token: .some(nil), headers: late.header(accessPath)).status
                    == 401)
        }
    }

    @Test func whatWasLentEndsWithTheConsumerAndTheRole() async throws {
        try await withCloud { cloud in
            let (first, project, user) = try await signer(cloud)
            let signer = try await lent(cloud, first, project: project)
            let token = try await login(cloud, signer).headers[HTTPField.Name("X-Subject-Token")!] ?? ""
            let role = try await cloud.roleID("admin")
            #expect(try await cloud.call(.delete, "/projects/\(project)/users/\(user)/roles/\(role)").status == 204)
            #expect(try await cloud.call(.get, "/auth/projects", token: token).status == 401)
            #expect(try await login(cloud, signer).status == 401)
            #expect(try await cloud.call(.put, "/projects/\(project)/users/\(user)/roles/\(role)").status == 204)
            #expect(try await login(cloud, signer).status == 201)
            #expect(try await cloud.call(.delete, "/OS-OAUTH1/consumers/\(signer.consumer)").status == 204)
            #expect(try await cloud.secrets("consumer").isEmpty)
            #expect(try await login(cloud, signer).status == 401)
        }
    }
}
