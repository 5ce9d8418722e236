import Primitives

/// Checks the tokens of identity providers (JSON Web Tokens, RFC 7519; ID tokens, OpenID Connect Core 1.0 section 3.1.3.7;
/// access tokens, RFC 9068 section 4).
public struct OpenIDVerifier: Sendable {
    /// By how much a provider's clock may be off.
    public static let leeway = Duration.seconds(60)

    private let settings: IssuerSettings
    private let keys: IssuerKeys
    private let clock: any WallClock

    /// A verifier of the tokens of `settings`' issuers; `report` is told of each fetch of keys that failed.
    public init(
        settings: IssuerSettings, documents: any IssuerDocuments, clock: any WallClock,
        report: @escaping @Sendable (FederationError) -> Void = { _ in }
    ) {
        self.settings = settings
        keys = IssuerKeys(documents: documents, clock: clock, report: report)
        self.clock = clock
    }

    /// The claims of a token that one of `issuers` has made for this cloud, and that is good now; throws
    /// `FederationError`.
    public func claims(
        of text: String, from issuers: [String]
    ) async throws(FederationError) -> [String: JSONValue] {
        let token = try SignedToken(text)
        guard let claims = token.claims else { throw .refused("what it says is no JSON object") }
        guard let name = claims["iss"]?.string, issuers.contains(name) else {
            throw .refused("its issuer ('iss') is none of the identity provider's remote_ids")
        }
        guard let issuer = settings.issuers[name] else {
            throw .refused("its issuer is not in the file that the conductor was given by --oidc-settings")
        }
        let candidates = try await keys.candidates(for: token, of: issuer)
        guard !candidates.isEmpty else { throw .refused("it is signed with a key that the issuer does not publish") }
        guard candidates.contains(where: { $0.verifies(token) }) else { throw .refused("its signature is wrong") }
        try check(claims, issuer)
        return claims
    }

    private func check(
        _ claims: [String: JSONValue], _ issuer: IssuerSettings.Issuer
    ) throws(FederationError) {
        let audiences = claims["aud"]?.string.map { [$0] } ?? claims["aud"]?.array?.compactMap(\.string) ?? []
        guard !issuer.audiences.isDisjoint(with: audiences) else {
            throw .refused("it was made for another audience ('aud') than --oidc-settings names")
        }
        guard claims["sub"]?.string?.isEmpty == false else { throw .refused("it says of nobody ('sub')") }
        guard let ends = claims["exp"].flatMap(Timestamp.init(numericDate:)) else {
            throw .refused("it has no end ('exp')")
        }
        let now = clock.now
        guard now < ends.advanced(by: Self.leeway) else { throw .refused("it has expired; get a new one") }
        for name in ["nbf", "iat"] {
            guard let claim = claims[name] else { continue }
            guard let begins = Timestamp(numericDate: claim), begins <= now.advanced(by: Self.leeway) else {
                throw .refused("it is not good yet ('\(name)'); the clocks of provider and conductor may differ")
            }
        }
    }
}

extension Timestamp {
    /// A NumericDate (RFC 7519 section 2): seconds since 1970, perhaps with fractions; nil for anything else.
    fileprivate init?(numericDate value: JSONValue) {
        let seconds: Double
        switch value {
        case .integer(let number): seconds = Double(number)
        case .number(let number): seconds = number
        default: return nil
        }
        guard (0...1e12).contains(seconds) else { return nil }
        self.init(millisecondsSinceEpoch: Int64(seconds * 1000))
    }
}
