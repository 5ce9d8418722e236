import FoundationEssentials
import Primitives

/// A machine's first word to `DiscoveryPath.attestation`: the keys of its TPM. Anybody may send it; nothing is believed yet.
public struct AttestationOffer: Codable, Sendable, Hashable {
    /// The boot's random text, as in the inventory that follows.
    public var bootID: String
    /// The certificate that the TPM's maker gave the endorsement key, in DER; nil: the TPM holds none.
    public var certificate: Data?
    /// The endorsement key's public part (TPMT_PUBLIC).
    public var endorsementKey: Data
    /// The public part of the key that signs quotes (TPMT_PUBLIC).
    public var attestationKey: Data

    /// The most bytes of a certificate and of a key.
    public static let sizeMax = 4096

    /// An offer.
    public init(bootID: String, certificate: Data?, endorsementKey: Data, attestationKey: Data) {
        self.bootID = bootID
        self.certificate = certificate
        self.endorsementKey = endorsementKey
        self.attestationKey = attestationKey
    }

    /// Whether all parts are within their limits.
    public var isBounded: Bool {
        bootID.utf8.count <= 64
            && [certificate ?? Data(), endorsementKey, attestationKey].allSatisfy { $0.count <= Self.sizeMax }
    }
}

/// What only the TPM of an offer can answer.
public struct AttestationChallenge: Codable, Sendable, Hashable {
    /// Sealed by the conductor for itself: sent back as it is.
    public var ticket: Data
    /// The protected secret (TPMS_ID_OBJECT) for TPM2_ActivateCredential.
    public var credential: Data
    /// The ephemeral key it was made with (TPMS_ECC_POINT).
    public var secret: Data
    /// What the quote has to be over.
    public var nonce: Data

    /// A challenge.
    public init(ticket: Data, credential: Data, secret: Data, nonce: Data) {
        self.ticket = ticket
        self.credential = credential
        self.secret = secret
        self.nonce = nonce
    }
}

/// A machine's answer to a challenge; sent with its inventory.
public struct AttestationEvidence: Codable, Sendable, Hashable {
    /// The offer, as it was sent.
    public var offer: AttestationOffer
    /// The challenge's ticket.
    public var ticket: Data
    /// The secret of the credential.
    public var secret: Data
    /// What the TPM has signed (TPMS_ATTEST).
    public var quote: Data
    /// The signature (TPMT_SIGNATURE).
    public var signature: Data
    /// The values of the PCRs 0 to 7 in the SHA-256 bank.
    public var pcrs: [Data]

    /// Evidence.
    public init(
        offer: AttestationOffer, ticket: Data, secret: Data, quote: Data, signature: Data, pcrs: [Data]
    ) {
        self.offer = offer
        self.ticket = ticket
        self.secret = secret
        self.quote = quote
        self.signature = signature
        self.pcrs = pcrs
    }
}

/// What the conductor found of a machine's TPM: that it is there and holds the key, and how it was measured to boot.
public struct Attestation: Codable, Sendable, Hashable {
    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo (RFC 5280): which TPM it is.
    public var endorsementKey: Digest
    /// Who vouches for that key: the authority of its certificate, or the site's own list; nil: nobody.
    public var voucher: String?
    /// Why nobody does.
    public var doubt: String?
    /// The PCRs 0 to 7 in the SHA-256 bank, which the TPM signed.
    public var pcrs: [Digest]

    /// How many PCRs are quoted.
    public static let pcrCount = 8

    /// A finding.
    public init(endorsementKey: Digest, voucher: String? = nil, doubt: String? = nil, pcrs: [Digest]) {
        self.endorsementKey = endorsementKey
        self.voucher = voucher?.printable(limit: 200)
        self.doubt = doubt?.printable(limit: 200)
        self.pcrs = pcrs
    }

    /// Whether the site vouches for this TPM.
    public var isVouched: Bool { voucher != nil }

    /// The PCRs that are not as in `other`.
    public func changedPCRs(since other: Attestation) -> [Int] {
        (0..<Self.pcrCount).filter { index in
            let here = pcrs.indices.contains(index) ? pcrs[index] : nil
            return here != (other.pcrs.indices.contains(index) ? other.pcrs[index] : nil)
        }
    }
}

/// What PCRs are extended by (TCG PC Client Platform Firmware Profile).
public enum MeasuredPart {
    /// For example `PCR 7 (Secure Boot state)`.
    public static func text(_ pcr: Int) -> String { "PCR \(pcr) (\(meaning(pcr)))" }

    private static func meaning(_ pcr: Int) -> String {
        switch pcr {
        case 0: "firmware code"
        case 1: "firmware settings and boot order"
        case 2: "code of plugged-in cards"
        case 3: "settings of plugged-in cards"
        case 4: "boot loader"
        case 5: "boot loader's settings and partition table"
        case 6: "maker's own"
        case 7: "Secure Boot state"
        default: "not the firmware's"
        }
    }
}
