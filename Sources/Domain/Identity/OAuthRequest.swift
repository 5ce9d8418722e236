import Crypto
import Primitives

/// A request that a consumer has signed in its `Authorization` header (RFC 5849, "The OAuth 1.0 Protocol"), by
/// `HMAC-SHA1` or `HMAC-SHA256`.
///
/// Nonces are not remembered: these requests come through TLS, where section 3.3 does not ask for it. Forms in bodies are
/// no part of what is signed here.
public struct OAuthRequest: Sendable {
    /// The most characters of a header that is read.
    public static let headerSizeMax = 8 * 1024
    /// How far a request's time may be from ours.
    public static let lifetime: Duration = .seconds(10 * 60)

    private let method: String
    private let address: String
    private let query: [(name: String, value: String)]
    /// The parameters of the header by name, `realm` not among them.
    private let parameters: [String: String]

    /// A request of `method` to `address`, which is scheme, authority and path, with a decoded query.
    ///
    /// Throws `OAuthError.malformed` for a header that is none of OAuth's.
    public init(
        method: String, address: String, query: [(name: String, value: String)] = [], authorization: String
    ) throws(OAuthError) {
        self.method = method
        self.address = address
        self.query = query
        parameters = try Self.parse(authorization)
    }

    /// Who has signed; throws `OAuthError.malformed` when it is not said.
    public var consumerID: String { get throws(OAuthError) { try parameter("oauth_consumer_key") } }

    /// The token that was signed with; throws `OAuthError.malformed` when there is none.
    public var tokenID: String { get throws(OAuthError) { try parameter("oauth_token") } }

    /// The verifier that a user was given; throws `OAuthError.malformed` when there is none.
    public var verifier: String { get throws(OAuthError) { try parameter("oauth_verifier") } }

    /// Where the user is to be sent afterwards; nil: it is not said.
    public var callback: String? { parameters["oauth_callback"] }

    /// Returns when the holder of both secrets has signed this, no longer than `lifetime` before or after `now`.
    public func verify(
        consumerSecret: SecretText, tokenSecret: SecretText?, now: Timestamp
    ) throws(OAuthError) {
        guard parameters["oauth_version"] ?? "1.0" == "1.0" else { throw .refused("its version is not 1.0") }
        guard let seconds = Int64(try parameter("oauth_timestamp")), (0...0xFFFF_FFFF_FFFF).contains(seconds) else {
            throw .malformed("oauth_timestamp")
        }
        _ = try parameter("oauth_nonce")
        let given = Array(try parameter("oauth_signature").utf8.prefix { $0 != UInt8(ascii: "=") })
        let key = SymmetricKey(
            data: Array(
                "\(PercentEncoding.encode(consumerSecret.revealed))&\(PercentEncoding.encode(tokenSecret?.revealed ?? ""))"
                    .utf8))
        let text = Array(baseString.utf8)
        guard let code = Base64.standard.decode(given) else { throw .malformed("oauth_signature") }
        let isRight: Bool
        switch try parameter("oauth_signature_method") {
        case "HMAC-SHA1":
            isRight = HMAC<Insecure.SHA1>.isValidAuthenticationCode(code, authenticating: text, using: key)
        case "HMAC-SHA256": isRight = HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: text, using: key)
        default: throw .refused("its signature's method is not known")
        }
        guard isRight else { throw .refused("its signature is another") }
        let age = abs(now.millisecondsSinceEpoch - seconds * 1000)
        guard age <= Self.lifetime.components.seconds * 1000 else { throw .refused("its time is too far from now") }
    }

    /// What is signed (RFC 5849 section 3.4.1).
    var baseString: String {
        var pairs = query.map { (PercentEncoding.encode($0.name), PercentEncoding.encode($0.value)) }
        for (name, value) in parameters where name != "oauth_signature" {
            pairs.append((PercentEncoding.encode(name), PercentEncoding.encode(value)))
        }
        // Encoded text is ASCII, whose order is that of its bytes.
        pairs.sort { $0 < $1 }
        let normalized = pairs.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
        return [method.uppercased(), Self.baseAddress(address), normalized].map { PercentEncoding.encode($0) }
            .joined(separator: "&")
    }

    /// Scheme and host in lower case, without a port that goes without saying (section 3.4.1.2).
    private static func baseAddress(_ address: String) -> String {
        guard let separator = address.firstRange(of: "://") else { return address }
        let scheme = address[..<separator.lowerBound].lowercased()
        let rest = address[separator.upperBound...]
        var authority = rest.prefix { $0 != "/" }.lowercased()
        let path = rest.drop { $0 != "/" }
        for port in [("http", ":80"), ("https", ":443")] where scheme == port.0 && authority.hasSuffix(port.1) {
            authority.removeLast(port.1.count)
        }
        return "\(scheme)://\(authority)\(path.isEmpty ? "/" : path)"
    }

    private func parameter(_ name: String) throws(OAuthError) -> String {
        guard let value = parameters[name], !value.isEmpty else { throw .malformed(name) }
        return value
    }

    /// The parameters of a header such as `OAuth realm="x", oauth_token="abc"` (section 3.5.1).
    private static func parse(_ header: String) throws(OAuthError) -> [String: String] {
        guard header.utf8.count <= headerSizeMax, header.prefix(6).lowercased() == "oauth " else {
            throw .malformed("Authorization")
        }
        var parameters: [String: String] = [:]
        for part in header.dropFirst(6).split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, let name = PercentEncoding.decode(trimmed(pair[0])) else {
                throw .malformed("Authorization")
            }
            let quoted = trimmed(pair[1])
            guard quoted.count >= 2, quoted.first == "\"", quoted.last == "\"",
                let value = PercentEncoding.decode(quoted.dropFirst().dropLast())
            else { throw .malformed(name.printable(limit: 40)) }
            if name == "realm" { continue }
            guard parameters.updateValue(value, forKey: name) == nil else {
                throw .malformed(name.printable(limit: 40))
            }
        }
        return parameters
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

/// Why a request that a consumer has signed is not taken.
public enum OAuthError: UserFacingError, Hashable {
    /// This is missing, or not of its form.
    case malformed(String)
    /// For the log only; callers are told that it did not work, and nothing more.
    case refused(String)

    public var publicMessage: String {
        switch self {
        case .malformed(let what): "'\(what)' of the signed request is missing or malformed."
        case .refused: "The request you have made requires authentication."
        }
    }

    public var diagnostic: String {
        switch self {
        case .malformed: publicMessage
        case .refused(let why): "a signed request is not taken: \(why)"
        }
    }
}
