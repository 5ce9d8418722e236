import Primitives
import Testing

@testable import Identity

/// The examples of RFC 5849.
@Suite struct OAuthRequestTests {
    /// A little before and after the examples' times.
    private let now = Timestamp(millisecondsSinceEpoch: 137_131_200_000)

    private func verify(
        _ method: String, _ address: String, query: [(String, String)] = [], _ authorization: String,
        consumer: String = "kd94hf93k423kf44", token: String? = nil, now: Timestamp? = nil
    ) -> OAuthError? {
        do throws(OAuthError) {
            let request = try OAuthRequest(
                method: method, address: address, query: query.map { (name: $0.0, value: $0.1) },
                authorization: authorization)
            try request.verify(
                consumerSecret: SecretText(consumer), tokenSecret: token.map { SecretText($0) }, now: now ?? self.now)
            return nil
        } catch { return error }
    }

    private let initiate = """
        OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_signature_method="HMAC-SHA1", \
        oauth_timestamp="137131200", oauth_nonce="wIjqoXSYWZ"\
        , oauth_callback="http%3A%2F%2Fprinter.example.com%2Fready", oauth_signature="74KNZJeDHnMBp0EMJ9ZHt%2FXKycU%3D"
        """
    private let photos = """
        OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="nnch734d00sl2jdk", \
        oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH", \
        oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"
        """

    @Test func theRFCsExchangeIsSignedSo() {
        #expect(verify("POST", "https://photos.example.net/initiate", initiate) == nil)
        let exchange = """
            OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_token="hh5s93j4hdidpola", \
            oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="walatlh", \
            oauth_verifier="hfdp7dh39dks9884", oauth_signature="gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D"
            """
        #expect(verify("POST", "https://photos.example.net/token", exchange, token: "hdhd0244k9j7ao03") == nil)
        #expect(
            verify(
                "GET", "http://photos.example.net/photos", query: [("file", "vacation.jpg"), ("size", "original")],
                photos,
                token: "pfkkdhi9sl3r4s00") == nil)
    }

    @Test func theBaseStringIsTheRFCs() throws {
        let header = """
            OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", \
            oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", \
            oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"
            """
        let parameters = [("b5", "=%3D"), ("a3", "a"), ("c@", ""), ("a2", "r b"), ("c2", ""), ("a3", "2 q")]
        let request = try OAuthRequest(
            method: "post", address: "http://EXAMPLE.COM:80/request",
            query: parameters.map { (name: $0.0, value: $0.1) }, authorization: header)
        let expected =
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26"
            + "c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1"
            + "%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        #expect(request.baseString == expected)
    }

    @Test func whatIsOtherwiseIsRefused() {
        let address = "https://photos.example.net/initiate"
        let other = OAuthError.refused("its signature is another")
        #expect(verify("GET", address, initiate) == other)
        #expect(verify("POST", "https://photos.example.net/other", initiate) == other)
        #expect(verify("POST", "https://photos.example.net:444/initiate", initiate) == other)
        #expect(verify("POST", address, query: [("more", "1")], initiate) == other)
        #expect(verify("POST", address, initiate, consumer: "another") == other)
        #expect(verify("POST", address, initiate, token: "another") == other)
        #expect(verify("POST", address, initiate.replacing("wIjqoXSYWZ", with: "other")) == other)
        #expect(verify("POST", address, initiate.replacing("HMAC-SHA1", with: "HMAC-SHA256")) == other)
        #expect(
            verify("POST", address, initiate.replacing("HMAC-SHA1", with: "PLAINTEXT"))
                == .refused("its signature's method is not known"))
        let late = OAuthError.refused("its time is too far from now")
        #expect(verify("POST", address, initiate, now: now.advanced(by: .seconds(601))) == late)
        #expect(verify("POST", address, initiate, now: now.advanced(by: .seconds(-601))) == late)
        #expect(verify("POST", address, initiate, now: now.advanced(by: .seconds(600))) == nil)
        #expect(verify("POST", "HTTPS://photos.example.NET:443/initiate", initiate) == nil)
    }

    @Test func malformedHeadersAreNamed() {
        for (header, what) in [
            ("Bearer x", "Authorization"), ("OAuth", "Authorization"), ("OAuth oauth_nonce", "Authorization"),
            ("OAuth oauth_nonce=abc", "oauth_nonce"), (#"OAuth oauth_nonce="%zz""#, "oauth_nonce"),
            (#"OAuth oauth_nonce="%ff""#, "oauth_nonce"), (#"OAuth oauth_nonce="a", oauth_nonce="a""#, "oauth_nonce"),
            (#"OAuth oauth_nonce="a""#, "oauth_timestamp"), (#"OAuth oauth_timestamp="soon""#, "oauth_timestamp"),
            (#"OAuth oauth_timestamp="-1""#, "oauth_timestamp"), (#"OAuth oauth_timestamp="1""#, "oauth_nonce"),
            (#"OAuth oauth_timestamp="1", oauth_nonce="a""#, "oauth_signature"),
            (#"OAuth oauth_timestamp="1", oauth_nonce="a", oauth_signature="!""#, "oauth_signature"),
            ("OAuth x=\"" + String(repeating: "y", count: OAuthRequest.headerSizeMax) + "\"", "Authorization"),
        ] {
            #expect(
                verify("POST", "https://photos.example.net/initiate", header) == .malformed(what),
                "\(header.prefix(80))")
        }
    }
}
