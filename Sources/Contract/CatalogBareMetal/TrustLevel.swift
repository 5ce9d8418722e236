/// How far a machine is trusted to be what it says that it is.
public enum TrustLevel: String, Codable, Sendable, Hashable, CaseIterable {
    /// Its TPM proved the endorsement key that the site vouches for, and signed how it booted.
    case attested
    /// An operator or a rule let it in.
    case approved
    /// Nobody vouches for it; it gets no secret.
    case quarantined
}
