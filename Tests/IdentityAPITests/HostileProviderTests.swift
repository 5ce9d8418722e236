import Crypto
import CryptoExtras
import Foundation
import HTTPTypes
import Identity
import Primitives
import StoreMemory
import TestSupport
import Testing

/// Tokens that are nobody's, and providers that misbehave.
@Suite struct HostileProviderTests {
    private func refuses(
        _ scene: FederationScene, _ token: String, _ part: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answer = try await scene.present(token)
        #expect(
            answer.status == 401 && answer.text.contains(part), "\(part): \(answer.status) \(answer.text)",
            sourceLocation: sourceLocation)
        #expect(answer.headers[HTTPField.Name("X-Subject-Token")!] == nil, sourceLocation: sourceLocation)
    }

    @Test func `claims of another issuer, audience or time are refused`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let now = base.clock.now.millisecondsSinceEpoch / 1000
            for (name, value, part) in [
                ("iss", "https://evil.example", "remote_ids"), ("iss", .string(TestIssuer.url + "/"), "remote_ids"),
                ("iss", nil, "remote_ids"), ("aud", "other", "audience"), ("aud", ["Muster"], "audience"),
                ("aud", nil, "audience"), ("aud", ["muster": true], "audience"), ("exp", .integer(now - 60), "expired"),
                ("exp", nil, "no end"), ("exp", "9999999999", "no end"), ("exp", .number(1e300), "no end"),
                ("nbf", .integer(now + 61), "'nbf'"), ("nbf", "x", "'nbf'"), ("iat", .integer(now + 61), "'iat'"),
                ("sub", nil, "'sub'"), ("sub", "", "'sub'"), ("sub", 5, "'sub'"),
            ] as [(String, JSONValue, String)] {
                try await refuses(scene, try scene.issuer.token(scene.claims([name: value])), part)
            }
            for more in [
                ["exp": .integer(now - 59)], ["nbf": .integer(now + 60), "iat": .integer(now + 60)], ["aud": "muster"],
                ["exp": .number(Double(now) + 0.5)], ["iat": nil],
            ] as [[String: JSONValue]] {
                let answer = try await scene.logIn(more)
                #expect(answer.status == 201, "\(more): \(answer.text)")
            }
        }
    }

    @Test func `signatures by nothing, by a secret that everybody knows, or by another key are refused`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let (issuer, claims) = (scene.issuer, scene.claims())
            #expect(try await scene.present(try issuer.token(claims, key: TestIssuer.p256)).status == 201)
            guard case .rsa(let rsa, _) = try TestIssuer.rsa.get().material else { return }
            let pss = TestIssuer.Key(id: "rsa-1", material: .rsa(rsa, isPSS: true))
            #expect(try await scene.present(try issuer.token(claims, key: pss)).status == 201)
            let payload = Base64.urlSafe.encode(JSONValue.object(claims).text)
            func header(_ text: String) -> String { Base64.urlSafe.encode(Array(text.utf8)) }
            try await refuses(scene, "\(header(#"{"alg":"none"}"#)).\(payload).", "algorithm")
            // The public key, in each of its forms, as the secret of an HMAC.
            let signed = "\(header(#"{"alg":"HS256","kid":"rsa-1"}"#)).\(payload)"
            for secret in [
                Data(rsa.publicKey.pemRepresentation.utf8), rsa.publicKey.derRepresentation,
                Data(try TestIssuer.rsa.get().published.text),
            ] {
                let code = HMAC<SHA256>.authenticationCode(for: Data(signed.utf8), using: SymmetricKey(data: secret))
                try await refuses(scene, "\(signed).\(Base64.urlSafe.encode(Array(code)))", "algorithm")
            }
            let stranger = TestIssuer.Key(id: "ec-1", material: .p256(P256.Signing.PrivateKey()))
            try await refuses(scene, try issuer.token(claims, key: stranger), "signature")
            let key: JSONValue = stranger.published
            try await refuses(
                scene, try issuer.token(claims, key: stranger, header: ["jwk": key, "jku": "https://evil.example/k"]),
                "signature")
            try await refuses(
                scene, try issuer.token(claims, key: TestIssuer.p256, header: ["alg": "RS256"]), "does not publish")
            let good = try issuer.token(claims).split(separator: ".").map(String.init)
            try await refuses(scene, "\(good[0]).\(good[1]).\(Base64.urlSafe.encode([0, 1, 2]))", "signature")
            try await refuses(scene, "\(good[0]).\(good[1])", "no signed JSON Web Token")
            let answer = try await scene.cloud.call(.post, FederationScene.login, token: .some(nil))
            #expect(answer.status == 401 && answer.text.contains("Bearer"))
        }
    }

    @Test func `keys are fetched once, and anew for a key that is new, once a minute at most`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let issuer = scene.issuer
            for _ in 0..<3 { #expect(try await scene.logIn().status == 201) }
            #expect(issuer.addresses.count == 2, "\(issuer.addresses)")
            // The provider takes another key.
            base.clock.advance(by: .seconds(60))
            let next = TestIssuer.Key(id: "ec-2", material: .p256(P256.Signing.PrivateKey()))
            issuer.publish([next])
            #expect(try await scene.present(try issuer.token(scene.claims(), key: next)).status == 201)
            #expect(issuer.addresses.count == 4)
            try await refuses(scene, try issuer.token(scene.claims()), "does not publish")
            // Names of keys that there are not, many at once.
            base.clock.advance(by: .seconds(60))
            try await withThrowingTaskGroup(of: Int.self) { group in
                for number in 0..<50 {
                    let token = try issuer.token(scene.claims(), key: next, header: ["kid": .string("none-\(number)")])
                    group.addTask { try await scene.present(token).status }
                }
                for try await status in group { #expect(status == 401) }
            }
            #expect(issuer.addresses.count == 6)
            #expect(try await scene.present(try issuer.token(scene.claims(), key: next)).status == 201)
            // A key that was withdrawn is good for an hour at most.
            issuer.publish([TestIssuer.p256])
            base.clock.advance(by: .seconds(3600))
            try await refuses(scene, try issuer.token(scene.claims(), key: next), "does not publish")
            #expect(issuer.addresses.count == 8)
        }
    }

    @Test func `a provider that does not answer, or answers nonsense, is asked again after a minute`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let discovery = "\(TestIssuer.url)/.well-known/openid-configuration"
            scene.issuer.setDown(true)
            for _ in 0..<5 {
                let answer = try await scene.logIn()
                #expect(answer.status == 503 && answer.headers[.retryAfter] == "60", "\(answer.text)")
            }
            #expect(scene.issuer.addresses == [discovery])
            #expect(scene.issuer.failures.count == 1, "a log is not filled by those who try")
            scene.issuer.setDown(false)
            for body in [
                "", "[]", "{}", #"{"issuer":"https://evil.example","jwks_uri":"\#(TestIssuer.keysURL)"}"#,
                #"{"issuer":"\#(TestIssuer.url)","jwks_uri":"http://keys.example/k"}"#,
                #"{"issuer":"\#(TestIssuer.url)","jwks_uri":"https://a@keys.example/k"}"#,
                #"{"issuer":"\#(TestIssuer.url)","jwks_uri":"file:///etc/passwd"}"#,
            ] {
                scene.issuer.answer(discovery, body)
                base.clock.advance(by: .seconds(60))
                #expect(try await scene.logIn().status == 503, "\(body)")
            }
            #expect(Set(scene.issuer.addresses) == [discovery], "nothing else was asked")
            let good: JSONValue = ["issuer": .string(TestIssuer.url), "jwks_uri": .string(TestIssuer.keysURL)]
            scene.issuer.answer(discovery, String(decoding: good.text, as: UTF8.self))
            for body in [#"{"keys":[]}"#, #"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, #"{"keys":5}"#, "null"] {
                scene.issuer.answer(TestIssuer.keysURL, body)
                base.clock.advance(by: .seconds(60))
                #expect(try await scene.logIn().status == 503, "\(body)")
            }
        }
    }

    @Test func `an issuer that the operator has not named is not asked`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let url = "https://169.254.169.254/latest"
            try await scene.expect(
                200, .patch, FederationScene.path, ["identity_provider": ["remote_ids": [.string(url)]]])
            try await refuses(scene, try scene.issuer.token(scene.claims(["iss": .string(url)])), "--oidc-settings")
            #expect(scene.issuer.addresses.isEmpty)
            #expect(try await base.call(.get, FederationScene.login, token: .some(nil)).status == 401)
        }
    }

    @Test func `claims that are none of a person are refused, and make nothing`() async throws {
        try await withCloud { base in
            let scene = try await FederationScene(base)
            let revision = try await base.store.currentRevision()
            let manyGroups = JSONValue.array((0..<10_000).map { .string("g\($0)") })
            for (more, part) in [
                (["preferred_username": "al\u{0}ice"], "control characters"),
                (["preferred_username": "al\u{202E}ice"], "control characters"),
                (["preferred_username": .string(String(repeating: "a", count: 300))], "255"),
                (["preferred_username": "  "], "empty"), (["preferred_username": ""], "empty"),
                (["sub": .string(String(repeating: "u", count: 300))], "255"), (["sub": "u\n1"], "control characters"),
                (["email": "a\u{7}@example.com"], "control characters"), (["groups": manyGroups], "longer than"),
                (["preferred_username": nil], "no rule"), (["groups": []], "no rule"), (["email": nil], "no rule"),
            ] as [([String: JSONValue], String)] {
                try await refuses(scene, try scene.issuer.token(scene.claims(more)), part)
            }
            #expect(try await base.store.currentRevision() == revision)
            // Groups by thousands that fit a token of the provider's, and of which one is here.
            let some = JSONValue.array((0..<1_000).map { .string("g\($0)") } + ["ops"])
            let answer = try await scene.logIn(["groups": some])
            #expect(answer["token/user/OS-FEDERATION/groups"].array?.count == 1, "\(answer.text)")
        }
    }
}
