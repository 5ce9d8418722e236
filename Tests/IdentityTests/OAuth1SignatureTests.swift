import Primitives
import Testing

@testable import Identity

@Suite struct OAuth1SignatureTests {
    private func seconds(_ count: Int64) -> Timestamp { Timestamp(millisecondsSinceEpoch: count * 1000) }

    /// A request for temporary credentials like that of RFC 5849's printer; its signature is nobody's.
    private func initiate(
        _ more: String = "", signature: String = "AAAA", verb: String = "POST",
        url: String = "https://photos.example.net/initiate", time: String = "137131200", method: String = "HMAC-SHA1"
    ) throws(OAuth1Error) -> OAuth1Request {
        try OAuth1Request(
            verb: verb, url: url,
            authorization: """
                OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_signature_method="\(method)", \
                oauth_timestamp="\(time)", oauth_nonce="wIjqoxSl0", \
                oauth_callback="http%3A%2F%2Fprinter.example.com%2Fready", oauth_signature="\(signature)"\(more)
                """)
    }

    /// RFC 5849 section 1.2: the printer asks for a photo, and before that for its token.
    @Test func `has the requests of RFC 5849`() throws {
        let photos = try OAuth1Request(
            verb: "GET", url: "http://photos.example.net/photos?file=vacation.jpg&size=original",
            authorization: """
                OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk", \
                oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH", \
                oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"
                """)
        #expect(photos.token == "nnch734d00sl2jdk" && photos.nonce == "chapoH")
        try photos.verify(
            consumerSecret: "kd94hf93k423kf44", tokenSecret: "pfkkdhi9sl3r4s00", now: seconds(137_131_202))
        #expect(throws: OAuth1Error.mismatch) {
            try photos.verify(consumerSecret: "kd94hf93k423kf44", tokenSecret: nil, now: seconds(137_131_202))
        }
        let token = try OAuth1Request(
            verb: "POST", url: "https://photos.example.net/token",
            authorization: """
                OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="hh5s93j4hdidpola", \
                oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="walatlh", \
                oauth_verifier="hfdp7dh39dks9884", oauth_signature="gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D"
                """)
        #expect(token.verifier == "hfdp7dh39dks9884")
        try token.verify(consumerSecret: "kd94hf93k423kf44", tokenSecret: "hdhd0244k9j7ao03", now: seconds(137_131_201))
    }

    /// RFC 5849 section 3.4.1.1: a form with a repeated, an empty and an encoded parameter.
    @Test func `has the base string of RFC 5849`() throws {
        let request = try OAuth1Request(
            verb: "POST", url: "http://example.com/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b",
            authorization: """
                OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", \
                oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", \
                oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"
                """, form: "c2&a3=2+q")
        #expect(
            request.base
                == "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26"
                + "c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26"
                + "oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7")
    }

    /// Computed with oauthlib 3, which Keystone and its clients use.
    @Test(arguments: [
        (
            "HMAC-SHA1", "http://Host:35357/v3/auth/tokens",
            #"OAuth oauth_nonce="12345", oauth_timestamp="1800000000", oauth_version="1.0", oauth_signature_method="HMAC-SHA1", oauth_consumer_key="0123456789abcdef0123456789abcdef", oauth_token="ffffffffffffffffffffffffffffffff", oauth_verifier="abcd1234", oauth_signature="UAz2uUZ5cgFdxmF5NGW93%2B%2BZNj0%3D""#
        ),
        (
            "HMAC-SHA256", "https://[::1]:9443/identity/v3/OS-OAUTH1/access_token?a=b+c&a=%C3%A9",
            #"OAuth oauth_nonce="12345", oauth_timestamp="1800000000", oauth_version="1.0", oauth_signature_method="HMAC-SHA256", oauth_consumer_key="0123456789abcdef0123456789abcdef", oauth_token="ffffffffffffffffffffffffffffffff", oauth_verifier="abcd1234", oauth_signature="%2BI%2FjpaFcyuMAPViA9RDu1AtSReiWKdfGrt4lVRTfLQs%3D""#
        ),
        (
            "HMAC-SHA512", "https://[::1]:9443/identity/v3/OS-OAUTH1/access_token?a=b+c&a=%C3%A9",
            #"OAuth oauth_nonce="12345", oauth_timestamp="1800000000", oauth_version="1.0", oauth_signature_method="HMAC-SHA512", oauth_consumer_key="0123456789abcdef0123456789abcdef", oauth_token="ffffffffffffffffffffffffffffffff", oauth_verifier="abcd1234", oauth_signature="FMthAU%2F%2FeOUq2BofU4ztV2glyUYaGXab6Qg2l4ePPHc3%2Fa9sZmmCJnyMl0SM3%2Fh0972UB%2FhXwIKkr7SLu4amnQ%3D%3D""#
        ),
    ])
    func `takes what oauthlib signs`(method: String, url: String, header: String) throws {
        let request = try OAuth1Request(verb: "POST", url: url, authorization: header)
        try request.verify(consumerSecret: "se&cret é", tokenSecret: "to=ken", now: seconds(1_800_000_000))
        #expect(throws: OAuth1Error.mismatch) {
            try request.verify(consumerSecret: "se&cret e", tokenSecret: "to=ken", now: seconds(1_800_000_000))
        }
    }

    @Test func `a port that is the scheme's own does not count, and neither do capitals`() throws {
        let base = try initiate().base
        #expect(try initiate(url: "HTTPS://Photos.Example.NET:443/initiate").base == base)
        #expect(try initiate(url: "https://photos.example.net:80/initiate").base != base)
        #expect(
            try initiate(url: "https://photos.example.net:443").base
                == initiate(url: "https://photos.example.net/").base)
    }

    @Test func `a signed request is for now`() throws {
        let request = try initiate()
        #expect(request.consumerKey == "dpf43f3p2l4k3l03" && request.token == nil && request.verifier == nil)
        for distance: Int64 in [-601, 601, 100_000] {
            #expect(throws: OAuth1Error.notNow) {
                try request.verify(
                    consumerSecret: "x", tokenSecret: nil, now: seconds(137_131_200 + distance))
            }
        }
        for distance: Int64 in [-600, 0, 600] {
            #expect(throws: OAuth1Error.mismatch) {
                try request.verify(consumerSecret: "x", tokenSecret: nil, now: seconds(137_131_200 + distance))
            }
        }
    }

    @Test func `other forms are refused`() {
        #expect(throws: OAuth1Error.unknownMethod) { try initiate(method: "PLAINTEXT") }
        #expect(throws: OAuth1Error.unknownMethod) { try initiate(method: "RSA-SHA1") }
        #expect(throws: OAuth1Error.missing("oauth_signature")) { try initiate(signature: "") }
        for time in ["-1", "1e9", "999999999999", "１２３"] {
            #expect(throws: OAuth1Error.malformed) { try initiate(time: time) }
        }
        for more in [", oauth_nonce=\"x\"", ", x=y", ", x", ", oauth_version=\"2.0\"", ", x=\"%zz\"", ", x=\"%FF\""] {
            #expect(throws: OAuth1Error.malformed) { try initiate(more) }
        }
        for url in [
            "", "photos", "ftp://a/b", "https:///x", "https://a@b/", "https://h/?a=%", "https://h/?oauth_nonce=1",
        ] {
            #expect(throws: OAuth1Error.malformed) { try initiate(url: url) }
        }
        for header in ["", "OAuth", "Basic eA==", "Bearer oauth_nonce=\"x\""] {
            #expect(throws: OAuth1Error.malformed) {
                try OAuth1Request(verb: "POST", url: "https://h/", authorization: header)
            }
        }
        let long = String(repeating: "x", count: 20_000)
        #expect(throws: OAuth1Error.malformed) { try initiate(", x=\"\(long)\"") }
    }
}
