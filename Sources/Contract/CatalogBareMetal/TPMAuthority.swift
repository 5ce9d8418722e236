import Primitives
import ResourceModel

/// An authority of a TPM maker whose endorsement certificates the site trusts.
public struct TPMAuthority: Resource {
    public static let kind = "baremetal.tpmauthority"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// An authority.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// The certificate that signs endorsement certificates, in PEM.
        public var certificate: String

        /// An authority.
        public init(certificate: String) { self.certificate = certificate }
    }
}

/// What the site asks of TPMs.
public struct TPMPolicy: Codable, Sendable, Hashable {
    /// Endorsement keys that count without a certificate: SHA-256 of the SubjectPublicKeyInfo.
    public var keys: [Digest]
    /// The PCRs in which a boot must not differ from the one that was accepted last; nil: `requiredPCRsDefault`.
    public var requiredPCRs: [Int]?

    /// Firmware, code of plugged-in cards, boot loader, Secure Boot state. Firmware's settings and the boot order (PCR 1) and
    /// partition tables (PCR 5) change by what a conductor itself does.
    public static let requiredPCRsDefault: Set<Int> = [0, 2, 4, 7]
    /// The most keys that a site may list.
    public static let keyCountMax = 100

    /// A policy.
    public init(keys: [Digest] = [], requiredPCRs: [Int]? = nil) {
        self.keys = keys
        self.requiredPCRs = requiredPCRs
    }
}
