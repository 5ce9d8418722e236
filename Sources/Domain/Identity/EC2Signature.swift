import Crypto
import Primitives

/// A request to an AWS-like service as its server describes it to `POST /v3/ec2tokens`, to learn who has signed it.
public struct EC2Request: Sendable {
    /// The most bytes of all its texts.
    public static let sizeMax = 64 * 1024

    /// The request's method.
    public var verb: String
    /// The `Host`, perhaps with a port.
    public var host: String
    /// The path, as it was signed.
    public var path: String
    /// The query's or the form's parameters, without the signature.
    public var parameters: [String: String]
    /// The headers.
    public var headers: [String: String]
    /// The hexadecimal SHA-256 digest of the body; only version 4 needs it.
    public var bodyHash: String
    /// The signature.
    public var signature: String

    /// A described request.
    public init(
        verb: String, host: String, path: String, parameters: [String: String], headers: [String: String] = [:],
        bodyHash: String = "", signature: String
    ) {
        self.verb = verb
        self.host = host
        self.path = path
        self.parameters = parameters
        self.headers = headers
        self.bodyHash = bodyHash
        self.signature = signature
    }

    /// How long after its time a request is taken.
    public static let lifetime: Duration = .seconds(15 * 60)

    /// Returns when the holder of `secret` has signed this, no longer than `lifetime` before or after `now`.
    ///
    /// The versions are AWS' 0, 1 and 2 (HMAC-SHA-1; HMAC-SHA-256 for 2 unless it says otherwise) and 4
    /// (`AWS4-HMAC-SHA256`, in headers or in the query). What was signed without any time has no end, as with Keystone.
    public func verify(
        secret: String, now: Timestamp, lifetime: Duration = EC2Request.lifetime
    ) throws(EC2SignatureError) {
        try checkForm()
        let time: String?
        if let version = parameters["SignatureVersion"] {
            try verifyOld(version, secret)
            time = parameters["Timestamp"] ?? header("x-amz-date") ?? parameters["X-Amz-Date"]
        } else {
            time = try verifyVersion4(secret)
        }
        if let time { try EC2Time.check(time, now: now, lifetime: lifetime) }
    }

    private func checkForm() throws(EC2SignatureError) {
        guard !signature.isEmpty else { throw .missing }
        let fixed = [verb, host, path, bodyHash, signature]
        let pairs = [parameters, headers].joined().flatMap { [$0.key, $0.value] }
        guard (fixed + pairs).reduce(0, { $0 + $1.utf8.count }) <= Self.sizeMax else { throw .malformed }
        // Lines are what keeps the parts of a signed text apart.
        let lines = fixed + headers.flatMap { [$0.key, $0.value] }
        guard !lines.contains(where: { $0.utf8.contains(UInt8(ascii: "\n")) }) else { throw .malformed }
    }

    private func header(_ name: String) -> String? {
        headers.keys.sorted().first { $0.trimmed.lowercased() == name }.flatMap { headers[$0]?.trimmed }
    }

    // MARK: Versions 0, 1 and 2

    private func verifyOld(_ version: String, _ secret: String) throws(EC2SignatureError) {
        switch version {
        case "0":
            guard let action = parameters["Action"], let time = parameters["Timestamp"] else { throw .malformed }
            try EC2Hash.sha1(secret).verify(signature, action + time)
        case "1":
            let keys = parameters.keys.sorted {
                let (left, right) = ($0.lowercased(), $1.lowercased())
                return left == right ? $0.isBefore($1) : left.isBefore(right)
            }
            try EC2Hash.sha1(secret).verify(signature, keys.map { $0 + (parameters[$0] ?? "") }.joined())
        case "2":
            var signed = parameters
            let method = parameters["SignatureMethod"] ?? "HmacSHA256"
            signed["SignatureMethod"] = method
            let hash: EC2Hash
            switch method {
            case "HmacSHA256": hash = .sha256(secret)
            case "HmacSHA1": hash = .sha1(secret)
            default: throw .unknownVersion
            }
            let query = Self.query(signed)
            do {
                try hash.verify(signature, "\(verb)\n\(host)\n\(path)\n\(query)")
            } catch {
                // Some clients sign without the port.
                guard let name = hostWithoutPort else { throw error }
                try hash.verify(signature, "\(verb)\n\(name)\n\(path)\n\(query)")
            }
        default: throw .unknownVersion
        }
    }

    private var hostWithoutPort: String? {
        guard let colon = host.lastIndex(of: ":"), host[host.index(after: colon)...].utf8.allSatisfy(\.isDigit) else {
            return nil
        }
        return host[..<colon].lowercased()
    }

    /// The parameters in the order of their bytes, percent-encoded (RFC 3986 section 2.3).
    static func query(_ parameters: [String: String]) -> String {
        parameters.sorted { $0.key.isBefore($1.key) }.map { "\($0.key.percentEncoded)=\($0.value.percentEncoded)" }
            .joined(separator: "&")
    }

    // MARK: Version 4

    /// Gives the time that was signed.
    private func verifyVersion4(_ secret: String) throws(EC2SignatureError) -> String {
        let algorithm = "AWS4-HMAC-SHA256"
        let authorization = header("authorization").flatMap { $0.hasPrefix(algorithm) ? $0 : nil }
        guard authorization != nil || parameters["X-Amz-Algorithm"] == algorithm else { throw .unknownVersion }
        func part(_ name: String) -> String? {
            guard let authorization else { return parameters["X-Amz-\(name)"] }
            guard let start = authorization.firstRange(of: "\(name)=")?.upperBound else { return nil }
            return String(authorization[start...].prefix { $0 != "," }).trimmed
        }
        guard let credential = part("Credential"), let names = part("SignedHeaders"),
            let time = header("x-amz-date") ?? parameters["X-Amz-Date"]
        else { throw .malformed }
        let scope = credential.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        guard scope.count == 4, scope[3] == "aws4_request", scope[0].utf8.count == 8, time.hasPrefix(scope[0]) else {
            throw .malformed
        }
        let lines = names.split(separator: ";").compactMap { name in header(String(name)).map { "\(name):\($0)\n" } }
        let isForm = verb.uppercased() == "POST"
        let request = [
            verb.uppercased(), path, isForm ? "" : Self.query(parameters), lines.joined(), names, bodyHash,
        ].joined(separator: "\n")
        let digest = Hex.encode(SHA256.hash(data: Array(request.utf8)))
        try EC2Hash.version4(secret, scope: scope).verify(
            signature, [algorithm, time, scope.joined(separator: "/"), digest].joined(separator: "\n"))
        return time
    }
}

/// What a storage server gives to `POST /v3/s3tokens` to learn who has signed a request.
public struct S3Request: Sendable {
    /// The text that was signed, in base64 for URLs.
    public var token: String
    /// The signature.
    public var signature: String
    /// When it was signed, where the server says it.
    public var time: String?

    /// A signed text.
    public init(token: String, signature: String, time: String? = nil) {
        self.token = token
        self.signature = signature
        self.time = time
    }

    /// Returns when the holder of `secret` has signed the text: with HMAC-SHA-1, or with version 4 for one of the
    /// services s3, iam and sts; no longer than `EC2Request.lifetime` before or after `now` where the time is said.
    ///
    /// How long a signed address is good is for the storage server to say, which has the whole of it.
    public func verify(secret: String, now: Timestamp) throws(EC2SignatureError) {
        try verifySignature(secret)
        if let time { try EC2Time.check(time, now: now, lifetime: EC2Request.lifetime) }
    }

    private func verifySignature(_ secret: String) throws(EC2SignatureError) {
        guard !signature.isEmpty else { throw .missing }
        let characters = token.utf8.map { character in
            switch character {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            default: character
            }
        }
        let end = characters.lastIndex { $0 != UInt8(ascii: "=") } ?? -1
        guard token.utf8.count <= EC2Request.sizeMax, let bytes = Base64.urlSafe.decode(characters[..<(end + 1)]),
            let text = String(validating: bytes, as: UTF8.self)
        else { throw .malformed }
        guard text.hasPrefix("AWS4") else { return try EC2Hash.sha1(secret).verify(signature, text) }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count == 4, lines[0] == "AWS4-HMAC-SHA256" else { throw .malformed }
        let scope = lines[2].split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard scope.count == 4, scope[3] == "aws4_request", ["s3", "iam", "sts"].contains(scope[2]) else {
            throw .malformed
        }
        try EC2Hash.version4(secret, scope: scope).verify(signature, text)
    }
}

/// The keyed hashes of the versions, and how their results are written.
private enum EC2Hash {
    case sha1(String)
    case sha256(String)
    /// With a key of the date, region and service, derived from the secret.
    case version4(String, scope: [String])

    func verify(_ signature: String, _ text: String) throws(EC2SignatureError) {
        let data = Array(text.utf8)
        let isRight: Bool
        switch self {
        case .sha1(let secret):
            let code = Array(HMAC<Insecure.SHA1>.authenticationCode(for: data, using: Self.key(secret)))
            isRight = Self.isSame(signature, Base64.standard.encode(code), padding: 1)
        case .sha256(let secret):
            let code = Array(HMAC<SHA256>.authenticationCode(for: data, using: Self.key(secret)))
            isRight = Self.isSame(signature, Base64.standard.encode(code), padding: 1)
        case .version4(let secret, let scope):
            let key = scope.reduce(Self.key("AWS4" + secret)) { key, part in
                SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key))
            }
            let code = HMAC<SHA256>.authenticationCode(for: data, using: key)
            isRight = Self.isSame(signature, Hex.encode(code), padding: 0)
        }
        guard isRight else { throw .mismatch }
    }

    private static func key(_ secret: String) -> SymmetricKey { SymmetricKey(data: Array(secret.utf8)) }

    private static func isSame(_ given: String, _ right: String, padding: Int) -> Bool {
        ConstantTime.equal(Array(given.utf8), Array((right + String(repeating: "=", count: padding)).utf8))
    }
}

/// The times of signed requests.
enum EC2Time {
    /// Throws unless `text`, a time of ISO 8601 in its basic or extended form, is within `lifetime` of `now`.
    static func check(_ text: String, now: Timestamp, lifetime: Duration) throws(EC2SignatureError) {
        guard let time = parse(text) else { throw .badTime }
        guard now <= time.advanced(by: lifetime) else { throw .expired(time) }
        guard time <= now.advanced(by: lifetime) else { throw .early(time) }
    }

    /// `20150830T123600Z`, or `2015-08-30T12:36:00`, perhaps with a fraction and with `Z` or an offset at the end.
    static func parse(_ text: String) -> Timestamp? {
        guard text.utf8.count <= 40 else { return nil }
        var rest = Array(text.utf8)[...]
        func digits(_ count: Int) -> String? {
            let part = rest.prefix(count)
            guard part.count == count, part.allSatisfy(\.isDigit) else { return nil }
            rest = rest.dropFirst(count)
            return String(decoding: part, as: UTF8.self)
        }
        func skip(_ characters: String) -> Bool {
            guard let next = rest.first, characters.utf8.contains(next) else { return false }
            rest.removeFirst()
            return true
        }
        func next(_ count: Int, after separator: String) -> String? {
            _ = skip(separator)
            return digits(count)
        }
        guard let year = digits(4), let month = next(2, after: "-"), let day = next(2, after: "-"), skip("T "),
            let hour = digits(2), let minute = next(2, after: ":"), let second = next(2, after: ":"),
            let time = try? Timestamp(rfc3339: "\(year)-\(month)-\(day)T\(hour):\(minute):\(second)Z")
        else { return nil }
        if skip(".,") {
            guard rest.first?.isDigit == true else { return nil }
            rest = rest.drop(while: \.isDigit)
        }
        guard !skip("Z"), !rest.isEmpty else { return rest.isEmpty ? time : nil }
        let isEast = rest.first == UInt8(ascii: "+")
        guard skip("+-"), let hours = digits(2).flatMap({ Int64($0) }) else { return nil }
        let offset = hours * 60 + (next(2, after: ":").flatMap { Int64($0) } ?? 0)
        return rest.isEmpty ? time.advanced(by: .seconds(60 * (isEast ? -offset : offset))) : nil
    }
}

extension String {
    fileprivate var trimmed: String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" }
        return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }
}

/// Why a signed request is not taken.
public enum EC2SignatureError: UserFacingError, Hashable {
    /// There is no signature.
    case missing
    /// Something that the version needs is not there or has not its form.
    case malformed
    /// The version or algorithm is not known.
    case unknownVersion
    /// Somebody else has signed, or something else was signed.
    case mismatch
    /// The signed time is not one.
    case badTime
    /// The signed time is too long ago.
    case expired(Timestamp)
    /// The signed time is too far in the future.
    case early(Timestamp)

    public var publicMessage: String {
        switch self {
        case .missing: "EC2 signature not supplied."
        case .malformed, .unknownVersion, .mismatch: "Invalid EC2 signature."
        case .badTime: "The signed time is not a time of ISO 8601."
        case .expired(let time): "The signed request is of \(time), which is too long ago."
        case .early(let time): "The signed request is of \(time), which is too far ahead; set the clock."
        }
    }
}
