import Primitives
import Testing

@testable import Identity

/// Published signatures, and what is none.
@Suite struct SignedTokenTests {
    /// The payload of RFC 7515, appendix A.
    private static let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

    private struct Vector {
        let token: String
        let key: JSONValue
    }

    /// RFC 7515 A.2 (RS256) and A.3 (ES256), RFC 8037 A.4 (EdDSA).
    private static let vectors = [
        Vector(
            token: "eyJhbGciOiJSUzI1NiJ9.\(payload).cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7"
                + "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6x"
                + "BArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnv"
                + "Wh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
            key: [
                "kty": "RSA", "e": "AQAB",
                "n": .string(
                    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT"
                        + "-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB"
                        + "dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9i"
                        + "aGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"),
            ]),
        Vector(
            token: "eyJhbGciOiJFUzI1NiJ9.\(payload)."
                + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
            key: [
                "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            ]),
        Vector(
            token: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                + "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
            key: ["kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"]),
    ]

    @Test func `published signatures are right, and wrong when anything is changed`() throws {
        for (index, vector) in Self.vectors.enumerated() {
            let token = try SignedToken(vector.token)
            let key = try #require(VerificationKey(vector.key))
            #expect(key.fits(token) && key.verifies(token), "\(token.algorithm)")
            for other in Self.vectors.indices where other != index {
                let key = try #require(VerificationKey(Self.vectors[other].key))
                #expect(!key.fits(token) && !key.verifies(token))
            }
            var parts = vector.token.split(separator: ".").map(String.init)
            parts[1] = "e30"
            #expect(!key.verifies(try SignedToken(parts.joined(separator: "."))))
        }
    }

    @Test func `keys for something else are not taken`() {
        let key = Self.vectors[0].key.object ?? [:]
        for (name, value) in [
            ("use", "enc"), ("alg", "RS512"), ("key_ops", ["encrypt"]), ("kty", "oct"), ("n", "AQAB"), ("e", ""),
            ("crv", "P-256"),
        ] as [(String, JSONValue)] {
            #expect(VerificationKey(.object(key.merging([name: value]) { $1 })) == nil, "\(name)")
        }
        #expect(VerificationKey(.object(key.merging(["use": "sig", "alg": "PS256"]) { $1 })) != nil)
    }

    private func token(_ header: String, payload: String = "{}") -> String {
        let parts = [header, payload].map { Base64.urlSafe.encode(Array($0.utf8)) }
        return "\(parts[0]).\(parts[1]).AAAA"
    }

    @Test func `what is no token of ours to look at is refused with a reason`() {
        for text in [
            "", "a", "a.b", "a.b.c.d", "....", ".a.b", "AAA=.AAAA.AAAA", token("[]"), token("{}"),
            token(#"{"alg":"none"}"#), token(#"{"alg":"NONE"}"#), token(#"{"alg":"HS256"}"#),
            token(#"{"alg":"ES384"}"#),
            token(#"{"alg":["RS256"]}"#), token(#"{"alg":"RS256","crit":["b64"],"b64":false}"#),
            token(#"{"alg":"RS256","typ":"logout+jwt"}"#), token(#"{"alg":"RS256","typ":1}"#),
            String(repeating: "A", count: SignedToken.sizeMax + 1),
        ] {
            #expect(throws: FederationError.self, "\(text.prefix(60))") { try SignedToken(text) }
        }
        #expect(throws: Never.self) { try SignedToken(token(#"{"alg":"RS256","typ":"at+JWT","kid":"x"}"#)) }
    }

    @Test func `claims have the names that mappings for Apache's module expect`() {
        let assertion = FederationAssertion(claims: [
            "sub": "u-1", "iss": "https://sso.example", "groups": ["ops", "a;b"], "email_verified": true, "level": 3,
            "preferred_username": "x;admins", "address": ["city": "Z"], "roles": [["name": "p"]], "none": nil,
            "a-b": "1",
            "a_b": "2",
        ])
        #expect(assertion.values["REMOTE_USER"] == ["u-1"])
        #expect(assertion.values["OIDC-groups"] == ["ops", "a;b"])
        #expect(assertion.values["HTTP_OIDC_GROUPS"] == ["ops", "a;b"])
        #expect(assertion.values["HTTP_OIDC_PREFERRED_USERNAME"] == ["x;admins"], "a text is never parted")
        #expect(assertion.values["OIDC-email_verified"] == ["1"])
        #expect(assertion.values["OIDC-level"] == ["3"])
        #expect(assertion.values["OIDC-address"] == [#"{"city":"Z"}"#])
        #expect(assertion.values["OIDC-roles"] == [#"[{"name":"p"}]"#])
        #expect(assertion.values["OIDC-none"] == nil)
        #expect(assertion.values["OIDC-a-b"] == ["1"])
        #expect(assertion.values["HTTP_OIDC_A_B"] == nil, "a name of two claims is neither's")
    }
}
