import Primitives

/// That tokens are void before their end; swept once they would have ended anyway.
public typealias Revocation = IdentityEntry<RevocationSpec>

/// Which tokens: the name is an audit identifier.
public struct RevocationSpec: IdentitySpec {
    public static let kind = "identity.revocation"

    /// When it was revoked.
    public var revoked: Timestamp
    /// When the last of these tokens ends.
    public var expires: Timestamp
    /// Whether all that were made from the token are void too.
    public var isChain: Bool

    /// A revocation.
    public init(revoked: Timestamp, expires: Timestamp, isChain: Bool = false) {
        self.revoked = revoked
        self.expires = expires
        self.isChain = isChain
    }
}
