import Primitives

/// Why what an identity provider has signed gives nobody a token.
public enum FederationError: UserFacingError, Hashable {
    /// What was shown is not good; the text says why, and what would be.
    case refused(String)
    /// The provider's keys cannot be had now; whoever comes again later may be let in.
    case unavailable(issuer: String, why: String)

    public var publicMessage: String {
        switch self {
        case .refused(let why): "The identity provider's token is not taken: \(why)."
        case .unavailable(let issuer, _):
            "The keys of the identity provider \(issuer.printable(limit: 200)) cannot be had now; the conductor's log "
                + "says why. Try again in a minute."
        }
    }

    public var diagnostic: String {
        switch self {
        case .refused: publicMessage
        case .unavailable(let issuer, let why): "no keys of \(issuer): \(why)"
        }
    }
}
