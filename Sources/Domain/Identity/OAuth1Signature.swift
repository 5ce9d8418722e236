import Crypto
import Primitives

/// A request that a consumer has signed (OAuth 1.0a, RFC 5849), with its parameters in the header `Authorization`.
///
/// `HMAC-SHA1`, which Keystone's clients use, `HMAC-SHA256` and `HMAC-SHA512` are taken; secrets in the clear
/// (`PLAINTEXT`) and RSA are not.
public struct OAuth1Request: Sendable, Hashable {
    /// How far a request's time may be from now.
    public static let lifetime: Duration = .seconds(600)
    /// The most bytes of the header, the URL or the form.
    public static let sizeMax = 16 * 1024

    /// Who has signed.
    public let consumerKey: String
    /// The request token or access token.
    public let token: String?
    /// What the user was given when they authorized the request token.
    public let verifier: String?
    /// Unique for the consumer, token and time; whoever must not take a request twice remembers it for `lifetime`.
    public let nonce: String
    /// When it was signed.
    public let time: Timestamp

    private let signature: String
    private let method: SignatureMethod
    /// What was signed (RFC 5849 section 3.4.1).
    let base: String

    private enum SignatureMethod: String, Sendable {
        case sha1 = "HMAC-SHA1"
        case sha256 = "HMAC-SHA256"
        case sha512 = "HMAC-SHA512"
    }

    /// Reads a request: `url` is whole and as the client has it, `form` the body when it is
    /// `application/x-www-form-urlencoded`. Throws `OAuth1Error`.
    public init(verb: String, url: String, authorization: String, form: String = "") throws(OAuth1Error) {
        guard [url, authorization, form].allSatisfy({ $0.utf8.count <= Self.sizeMax }) else { throw .malformed }
        let own = try Self.parameters(ofHeader: authorization)
        func required(_ name: String) throws(OAuth1Error) -> String {
            guard let value = own[name], !value.isEmpty, value.utf8.count <= 512 else { throw .missing(name) }
            return value
        }
        consumerKey = try required("oauth_consumer_key")
        nonce = try required("oauth_nonce")
        signature = try required("oauth_signature")
        token = own["oauth_token"].flatMap { $0.isEmpty ? nil : $0 }
        verifier = own["oauth_verifier"]
        guard let method = SignatureMethod(rawValue: try required("oauth_signature_method")) else {
            throw .unknownMethod
        }
        self.method = method
        guard own["oauth_version"] ?? "1.0" == "1.0" else { throw .malformed }
        let seconds = try required("oauth_timestamp")
        guard seconds.utf8.count <= 11, seconds.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let count = Int64(seconds)
        else { throw .malformed }
        time = Timestamp(millisecondsSinceEpoch: count * 1000)
        base = try Self.base(verb: verb, url: url, own: own, form: form)
    }

    /// Returns when the consumer with `consumerSecret`, together with the token's secret if there is a token, has signed
    /// this within `lifetime` of `now`.
    public func verify(consumerSecret: String, tokenSecret: String?, now: Timestamp) throws(OAuth1Error) {
        let distance = now.since(time)
        guard distance <= Self.lifetime, distance >= .zero - Self.lifetime else { throw .notNow }
        let secret = "\(consumerSecret.percentEncoded)&\((tokenSecret ?? "").percentEncoded)"
        let key = SymmetricKey(data: Array(secret.utf8))
        let data = Array(base.utf8)
        let code: [UInt8] =
            switch method {
            case .sha1: Array(HMAC<Insecure.SHA1>.authenticationCode(for: data, using: key))
            case .sha256: Array(HMAC<SHA256>.authenticationCode(for: data, using: key))
            case .sha512: Array(HMAC<SHA512>.authenticationCode(for: data, using: key))
            }
        let text = Base64.standard.encode(code)
        let padded = text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        guard ConstantTime.equal(Array(signature.utf8), Array(padded.utf8)) else { throw .mismatch }
    }

    // MARK: Reading

    /// `OAuth name="value", …` without the realm (RFC 5849 section 3.5.1). Each name may be there once.
    private static func parameters(ofHeader header: String) throws(OAuth1Error) -> [String: String] {
        guard header.utf8.count > 6, header.prefix(6).lowercased() == "oauth " else { throw .malformed }
        var parameters: [String: String] = [:]
        for part in header.dropFirst(6).split(separator: ",") {
            guard let equals = part.firstIndex(of: "="),
                let name = part[..<equals].filter({ $0 != " " && $0 != "\t" }).percentDecoded()
            else { throw .malformed }
            var value = part[part.index(after: equals)...].drop { $0 == " " }
            while value.last == " " { value.removeLast() }
            guard value.count >= 2, value.first == "\"", value.last == "\"",
                let text = value.dropFirst().dropLast().percentDecoded()
            else { throw .malformed }
            guard name != "realm" else { continue }
            guard parameters.updateValue(text, forKey: name) == nil else { throw .malformed }
        }
        return parameters
    }

    /// The signature base string (RFC 5849 section 3.4.1).
    private static func base(
        verb: String, url: String, own: [String: String], form: String
    ) throws(OAuth1Error) -> String {
        let parts = url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var pairs = own.filter { $0.key != "oauth_signature" }.map { ($0.key, $0.value) }
        for text in [parts.count == 2 ? String(parts[1]) : "", form] {
            for part in text.split(separator: "&") {
                let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard let name = pair[0].percentDecoded(plusIsSpace: true),
                    let value = pair.count == 2 ? pair[1].percentDecoded(plusIsSpace: true) : ""
                else { throw .malformed }
                // The protocol's parameters stand in one place only.
                guard !name.hasPrefix("oauth_") else { throw .malformed }
                pairs.append((name, value))
            }
        }
        let sorted = pairs.map { ($0.0.percentEncoded, $0.1.percentEncoded) }
            .sorted { $0.0 == $1.0 ? $0.1.isBefore($1.1) : $0.0.isBefore($1.0) }
            .map { "\($0.0)=\($0.1)" }.joined(separator: "&")
        let address = try address(String(parts[0]))
        return [verb.uppercased(), address, sorted].map(\.percentEncoded).joined(separator: "&")
    }

    /// Scheme and host in lower case, without the scheme's own port, and the path (RFC 5849 section 3.4.1.2).
    private static func address(_ url: String) throws(OAuth1Error) -> String {
        guard let colon = url.firstRange(of: "://") else { throw .malformed }
        let scheme = url[..<colon.lowerBound].lowercased()
        let rest = url[colon.upperBound...]
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        var host = rest[..<slash].lowercased()
        guard !host.isEmpty, !host.contains("@") else { throw .malformed }
        switch scheme {
        case "http": if host.hasSuffix(":80") { host.removeLast(3) }
        case "https": if host.hasSuffix(":443") { host.removeLast(4) }
        default: throw .malformed
        }
        return "\(scheme)://\(host)\(slash == rest.endIndex ? "/" : rest[slash...])"
    }
}

/// Why a consumer's request is not taken.
public enum OAuth1Error: UserFacingError, Hashable {
    /// A parameter is not there.
    case missing(String)
    /// The header, the URL or the form has not its form.
    case malformed
    /// The signature's method is not taken.
    case unknownMethod
    /// It was signed too long ago, or by a clock that is ahead.
    case notNow
    /// Somebody else has signed, or something else was signed.
    case mismatch

    public var publicMessage: String {
        switch self {
        case .missing(let name): "The OAuth parameter '\(name)' is missing or too long."
        case .malformed: "The OAuth parameters are malformed."
        case .unknownMethod: "The OAuth signature method must be HMAC-SHA1, HMAC-SHA256 or HMAC-SHA512."
        case .notNow:
            "The OAuth timestamp is more than \(OAuth1Request.lifetime.components.seconds) seconds from now."
        case .mismatch: "The OAuth signature does not match."
        }
    }
}
