import CatalogIdentity
import Primitives

/// The authorities that are in force at one moment, with their keys.
public struct AuthoritySet: Sendable {
    /// Issues the nodes' certificates; boot scripts name it.
    public let issuing: CertificateAuthority
    /// Issues the servers' certificates.
    public let serving: CertificateAuthority
    /// What a server shows after its certificate, in PEM; empty: nothing.
    public let servingChainPEM: String
    /// All that are trusted in PEM, the newest first.
    public let bundlePEM: String
    /// Which authorities do what; changes whenever a server has to show or trust something else.
    public let state: SiteAuthority.State
    private let byKey: [String: Digest]

    /// The authorities of `state`; `older` is the one that is being replaced, nil in a steady state.
    public init(state: SiteAuthority.State, newest: CertificateAuthority, older: CertificateAuthority?) {
        self.state = state
        issuing = newest
        bundlePEM = state.trusted.map(\.certificatePEM).joined()
        var byKey: [String: Digest] = [:]
        for authority in [newest, older].compactMap(\.self) {
            if let key = authority.keyIdentifier { byKey[key] = authority.fingerprint }
        }
        self.byKey = byKey
        switch state {
        case .introducing(_, _, let cross):
            serving = older ?? newest
            servingChainPEM = older == nil ? "" : cross
        case .steady, .replacing:
            serving = newest
            servingChainPEM = ""
        }
    }

    /// The trusted authority whose key has this identifier, by the SHA-256 of its certificate; nil: there is none.
    public func authority(withKey identifier: String?) -> Digest? { identifier.flatMap { byKey[$0] } }
}
