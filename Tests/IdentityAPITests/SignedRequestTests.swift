import CatalogIdentity
import Crypto
import FoundationEssentials
import HTTPTypes
import Identity
import IdentityAPI
import Primitives
import ReconcileRuntime
import ResourceModel
import TestSupport
import Testing

/// `ec2tokens` and `s3tokens`: who may ask, for whom the answer is, and what bounds it.
@Suite struct SignedRequestTests {
    private struct Keys: Sendable {
        let access: String
        let secret: String

        /// A request that these have signed (AWS' version 2), as a server describes it.
        func ec2(at time: Timestamp, host: String = "compute.example") -> JSONValue {
            let parameters = [
                "AWSAccessKeyId": access, "SignatureMethod": "HmacSHA256", "SignatureVersion": "2",
                "Timestamp": "\(time)",
            ]
            let query = parameters.sorted { $0.key < $1.key }.map {
                "\($0.key)=\($0.value.replacing(":", with: "%3A"))"
            }
            let text = "GET\n\(host)\n/\n\(query.joined(separator: "&"))"
            let code = HMAC<SHA256>.authenticationCode(
                for: Array(text.utf8), using: SymmetricKey(data: Array(secret.utf8)))
            return [
                "credentials": [
                    "access": .string(access), "signature": .string(Data(code).base64EncodedString()), "verb": "GET",
                    "host": .string(host), "path": "/", "params": .object(parameters.mapValues { .string($0) }),
                ]
            ]
        }

        /// A text that these have signed (HMAC-SHA-1).
        var s3: JSONValue {
            let text = Array("GET\n\n\n\n/bucket".utf8)
            let code = HMAC<Insecure.SHA1>.authenticationCode(
                for: text, using: SymmetricKey(data: Array(secret.utf8)))
            return [
                "credentials": [
                    "access": .string(access), "token": .string(Data(text).base64EncodedString()),
                    "signature": .string(Data(code).base64EncodedString()),
                ]
            ]
        }
    }

    private static let subject = HTTPField.Name("X-Subject-Token")!

    private static func key(_ cloud: CloudScene, of user: String, _ project: String, token: String) async throws -> Keys
    {
        let made = try await cloud.call(
            .post, "/users/\(user)/credentials/OS-EC2", ["tenant_id": .string(project)], token: token)
        #expect(made.status == 201)
        return Keys(access: made["credential/access"].string ?? "", secret: made["credential/secret"].string ?? "")
    }

    /// Keeps a credential whose blob says what bounds it.
    private static func bounded(
        _ cloud: CloudScene, by bound: [String: JSONValue], of user: String, _ project: String, token: String
    ) async throws -> (keys: Keys, id: String) {
        let keys = Keys(access: UUID().uuidString, secret: UUID().uuidString)
        let blob = JSONValue.object(
            bound.merging(["access": .string(keys.access), "secret": .string(keys.secret)]) { $1 })
        let made = try await cloud.call(
            .post, "/credentials",
            [
                "credential": [
                    "type": "ec2", "user_id": .string(user), "project_id": .string(project),
                    "blob": .string(String(decoding: blob.text, as: UTF8.self)),
                ]
            ], token: token)
        #expect(made.status == 201, "\(made.text)")
        return (keys, made["credential/id"].string ?? "")
    }

    @Test func `only services learn whose signature it is (USN-7857-1, CVE-2025-65073)`() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let (user, token) = try await cloud.user(role: "member", in: project)
            let (_, service) = try await cloud.user(role: "service", in: project)
            let keys = try await Self.key(cloud, of: user, project, token: token)
            for (path, body) in [("/ec2tokens", keys.ec2(at: cloud.clock.now)), ("/s3tokens", keys.s3)] {
                #expect(try await cloud.call(.post, path, body, token: .some(nil)).status == 401)
                #expect(try await cloud.call(.post, path, body, token: "mst_nothing").status == 401)
                #expect(try await cloud.call(.post, path, body, token: token).status == 403)
                let answer = try await cloud.call(.post, path, body, token: service)
                #expect(answer.status == 200, "\(answer.text)")
                #expect(answer["token/user/id"].string == user)
                #expect(answer["token/project/id"].string == project)
                #expect(answer["token/methods"] == ["ec2credential"])
                #expect(answer["token/roles"].array?.compactMap { $0["name"]?.string } == ["member", "reader"])
                #expect((answer.headers[Self.subject] != nil) == (path == "/ec2tokens"))
            }
        }
    }

    @Test func `the token of an access key opens no other door of this service`() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let (user, token) = try await cloud.user(role: "admin", in: project)
            let keys = try await Self.key(cloud, of: user, project, token: token)
            let answer = try await cloud.call(.post, "/ec2tokens", keys.ec2(at: cloud.clock.now))
            let got = try #require(answer.headers[Self.subject])
            for (method, path) in [(HTTPRequest.Method.get, "/regions"), (.post, "/users"), (.get, "/auth/projects")] {
                #expect(try await cloud.call(method, path, token: got).status == 403)
            }
            let exchange: JSONValue = [
                "auth": ["identity": ["methods": ["token"], "token": ["id": .string(got)]], "scope": "unscoped"]
            ]
            #expect(try await cloud.call(.post, "/auth/tokens", exchange, token: .some(nil)).status == 403)
            #expect(try await cloud.call(.get, "/auth/tokens", headers: [Self.subject: got]).status == 200)
            #expect(try await cloud.call(.patch, "/users/\(user)", ["user": ["enabled": false]]).status == 200)
            #expect(try await cloud.call(.get, "/auth/tokens", headers: [Self.subject: got]).status == 404)
            #expect(try await cloud.call(.post, "/ec2tokens", keys.ec2(at: cloud.clock.now)).status == 401)
        }
    }

    @Test func `an access key gives no more than what it was made through (CVE-2026-43001)`() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let elsewhere = try await cloud.make("/projects", "project", ["name": "elsewhere"])
            let (user, token) = try await cloud.user(role: "admin", in: project)
            let granted = try await cloud.call(
                .put, "/projects/\(elsewhere)/users/\(user)/roles/\(try await cloud.roleID("admin"))")
            #expect(granted.status == 204)
            let made = try await cloud.call(
                .post, "/users/\(user)/application_credentials",
                ["application_credential": ["name": "ci", "roles": [["name": "reader"]]]], token: token)
            let credential = try #require(made["application_credential/id"].string)
            let bound: [String: JSONValue] = ["app_cred_id": .string(credential)]
            let (keys, id) = try await Self.bounded(cloud, by: bound, of: user, project, token: token)
            func ask(_ keys: Keys) async throws -> CloudScene.Answer {
                try await cloud.call(.post, "/ec2tokens", keys.ec2(at: cloud.clock.now))
            }
            let answer = try await ask(keys)
            #expect(answer.status == 200)
            #expect(answer["token/roles"].array?.compactMap { $0["name"]?.string } == ["reader"])
            #expect(answer["token/application_credential/id"].string == credential)

            let crossing = try await Self.bounded(cloud, by: bound, of: user, elsewhere, token: token).keys
            #expect(try await ask(crossing).status == 401, "the application credential is for another project")
            let free: JSONValue = [
                "credential": [
                    "blob": .string(#"{"access":"\#(keys.access)","secret":"\#(keys.secret)"}"#)
                ]
            ]
            #expect(try await cloud.call(.patch, "/credentials/\(id)", free, token: token).status == 400)
            let (stranger, theirs) = try await cloud.user(role: "member", in: project)
            let borrowed = try await Self.bounded(cloud, by: bound, of: stranger, project, token: theirs).keys
            #expect(try await ask(borrowed).status == 401, "the application credential is another user's")

            let gone = try await cloud.call(
                .delete, "/users/\(user)/application_credentials/\(credential)", token: token)
            #expect(gone.status == 204)
            #expect(try await ask(keys).status == 401, "what bounded it is gone")
        }
    }

    @Test func `a trust bounds the access keys of its trustee and of nobody else (CVE-2026-43001)`() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let elsewhere = try await cloud.make("/projects", "project", ["name": "elsewhere"])
            let (trustor, token) = try await cloud.user(role: "member", in: project)
            let (trustee, theirs) = try await cloud.user(role: "member", in: elsewhere)
            let made = try await cloud.call(
                .post, "/OS-TRUST/trusts",
                [
                    "trust": [
                        "trustor_user_id": .string(trustor), "trustee_user_id": .string(trustee),
                        "project_id": .string(project), "impersonation": true, "roles": [["name": "reader"]],
                    ]
                ], token: token)
            let bound: [String: JSONValue] = ["trust_id": made["trust/id"]]
            let keys = try await Self.bounded(cloud, by: bound, of: trustee, project, token: theirs).keys
            let answer = try await cloud.call(.post, "/ec2tokens", keys.ec2(at: cloud.clock.now))
            #expect(answer.status == 200, "\(answer.text)")
            #expect(answer["token/user/id"].string == trustor)
            #expect(answer["token/roles"].array?.compactMap { $0["name"]?.string } == ["reader"])
            let (thief, stolen) = try await cloud.user(role: "reader", in: elsewhere)
            for (user, project, token) in [(thief, project, stolen), (trustee, elsewhere, theirs)] {
                let keys = try await Self.bounded(cloud, by: bound, of: user, project, token: token).keys
                let refused = try await cloud.call(.post, "/ec2tokens", keys.ec2(at: cloud.clock.now))
                #expect([401, 403].contains(refused.status))
            }
        }
    }

    @Test func `what is late, changed or nobody's is refused`() async throws {
        try await withCloud { cloud in
            let project = try await cloud.make("/projects", "project", ["name": "p"])
            let (user, token) = try await cloud.user(role: "member", in: project)
            let keys = try await Self.key(cloud, of: user, project, token: token)
            let now = cloud.clock.now
            func ask(_ body: JSONValue) async throws -> CloudScene.Answer {
                try await cloud.call(.post, "/ec2tokens", body)
            }
            #expect(try await ask(keys.ec2(at: now.advanced(by: .seconds(-899)))).status == 200)
            #expect(try await ask(keys.ec2(at: now.advanced(by: .seconds(-902)))).status == 401)
            #expect(try await ask(keys.ec2(at: now.advanced(by: .seconds(902)))).status == 401)
            let wrong = try await ask(Keys(access: keys.access, secret: "x").ec2(at: now))
            let unknown = try await ask(Keys(access: "nobody's", secret: keys.secret).ec2(at: now))
            #expect(wrong.status == 401 && unknown.status == 404)
            #expect(try await ask(["credentials": [:]]).status == 401)
            #expect(try await ask([:]).status == 400)
            let gone = try await cloud.call(
                .delete, "/users/\(user)/credentials/OS-EC2/\(keys.access)", token: token)
            #expect(gone.status == 204)
            #expect(try await ask(keys.ec2(at: now)).status == 404)
        }
    }
}
