import FoundationEssentials
import Identity
import Primitives

extension FuzzTarget {
    /// What is inside an identity token's seal: a payload that its own encoding gives again.
    static let tokenPayload = FuzzTarget("token-payload", sizeMax: 4096) { bytes in
        guard let payload = TokenPayload(decoding: bytes) else { return }
        let encoded = payload.encoded
        try require(encoded.count <= bytes.count + 16, "an encoding about as long as what was read")
        try require(TokenPayload(decoding: encoded) == payload, "a payload that its encoding does not change")
    }

    /// A federation mapping and what a provider says, as JSON; what comes out of them is bounded and always the same.
    static let federationMapping = FuzzTarget("federation-mapping", sizeMax: 8192) { bytes in
        guard let input = try? JSONDecoder().decode(MappingInput.self, from: Data(bytes)),
            // How long a pattern takes is the operator's business who wrote it.
            !String(decoding: bytes, as: UTF8.self).contains("regex"),
            let mapping = try? MappingRules(input.rules, schemaVersion: input.version ?? "1.0")
        else { return }
        let assertion = FederationAssertion(attributes: input.assertion)
        guard let identity = try? mapping.evaluate(assertion) else { return }
        try require((try? mapping.evaluate(assertion)) == identity, "the same identity of the same input")
        let texts = [identity.user.id, identity.user.name, identity.user.email].compactMap(\.self) + identity.groupIDs
        try require(
            texts.allSatisfy { $0.utf8.count <= FederationAssertion.sizeMax }, "texts no longer than an assertion")
        try require(Set(identity.groupIDs).count == identity.groupIDs.count, "each group once")
    }

    /// A request that somebody has signed AWS' or OAuth's way, as JSON: nobody's secret but the right one makes it good.
    static let signedRequest = FuzzTarget("signed-request", sizeMax: 8192) { bytes in
        guard let input = try? JSONDecoder().decode(SignedInput.self, from: Data(bytes)) else { return }
        let request = EC2Request(
            verb: input.verb ?? "GET", host: input.host ?? "", path: input.path ?? "/",
            parameters: input.params ?? [:], headers: input.headers ?? [:], bodyHash: input.body_hash ?? "",
            signature: input.signature ?? "")
        let now = Timestamp(millisecondsSinceEpoch: 1_440_938_400_000)
        try require((try? request.verify(secret: "not in any corpus", now: now)) == nil, "no signature by another key")
        _ = try? request.verify(secret: "s", now: now)
        if let signed = try? OAuth1Request(
            verb: input.verb ?? "POST", url: input.url ?? "", authorization: input.headers?["Authorization"] ?? "",
            form: input.form ?? "")
        {
            try require(
                (try? signed.verify(consumerSecret: "not in any corpus", tokenSecret: nil, now: signed.time)) == nil,
                "no signature by another key")
        }
        let storage = S3Request(
            token: input.token ?? "", signature: input.signature ?? "", time: input.params?["Timestamp"])
        try require((try? storage.verify(secret: "not in any corpus", now: now)) == nil, "no signature by another key")
    }
}

private struct MappingInput: Decodable {
    var rules: JSONValue
    var assertion: [String: String]
    var version: String?
}

private struct SignedInput: Decodable {
    var verb: String?
    var host: String?
    var path: String?
    var params: [String: String]?
    var headers: [String: String]?
    var body_hash: String?
    var signature: String?
    var token: String?
    var url: String?
    var form: String?
}
