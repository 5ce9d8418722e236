import Crypto
import FoundationEssentials
import Primitives
import SwiftASN1
import X509

/// An authority of a TPM maker: the certificate that signs endorsement certificates, one hop and no more.
///
/// A site names the issuing certificates themselves, so that no chain is built from what a machine sends.
public struct EndorsementAuthority: Sendable {
    /// The longest certificate that is read, in bytes of PEM.
    public static let sizeMax = 8 << 10
    /// tcg-kp-EKCertificate: what the extended key usage of an endorsement certificate names (TCG EK Credential Profile).
    private static let purpose: ASN1ObjectIdentifier = [2, 23, 133, 8, 1]

    private let certificate: Certificate

    /// The authority with this certificate in PEM; throws `EndorsementError` unless it is a CA's.
    public init(certificatePEM: String) throws(EndorsementError) {
        guard certificatePEM.utf8.count <= Self.sizeMax, let read = try? Certificate(pemEncoded: certificatePEM) else {
            throw EndorsementError("the certificate cannot be read; give one in PEM of at most 8 KiB")
        }
        guard case .isCertificateAuthority? = try? read.extensions.basicConstraints else {
            throw EndorsementError("the certificate is not that of a certificate authority")
        }
        certificate = read
    }

    /// Its name, for people.
    public var name: String { certificate.subject.description.printable(limit: 120) }

    /// Throws `EndorsementError` unless this authority gave the certificate to `key`, and it is valid at `now`.
    public func check(_ endorsement: EndorsementCertificate, key: EndorsementKey, at now: Timestamp)
        throws(EndorsementError)
    {
        let found = endorsement.certificate
        guard found.publicKey == key.publicKey else { throw EndorsementError("its certificate is for another key") }
        guard found.issuer == certificate.subject else {
            throw EndorsementError("the site does not name its certificate's authority, \(endorsement.issuer)")
        }
        guard certificate.publicKey.isValidSignature(found.signature, for: found) else {
            throw EndorsementError("its certificate is not signed by \(name)")
        }
        let time = Date(timeIntervalSince1970: Double(now.millisecondsSinceEpoch) / 1000)
        for one in [found, certificate] where time < one.notValidBefore || time > one.notValidAfter {
            throw EndorsementError("the certificate of \(one.subject) is not valid now")
        }
        if let usage = try? found.extensions.extendedKeyUsage,
            !usage.contains(ExtendedKeyUsage.Usage(oid: Self.purpose))
        {
            throw EndorsementError("its certificate is not one for endorsement keys")
        }
    }
}

/// What a TPM's maker says of its endorsement key.
public struct EndorsementCertificate: Sendable {
    fileprivate let certificate: Certificate

    /// Reads a certificate in DER, which may have padding behind it as some TPMs store it; throws `EndorsementError`.
    public init(der bytes: [UInt8]) throws(EndorsementError) {
        guard let length = Self.length(bytes), let read = try? Certificate(derEncoded: Array(bytes.prefix(length)))
        else { throw EndorsementError("its certificate cannot be read") }
        certificate = read
    }

    /// Who gave it.
    public var issuer: String { certificate.issuer.description.printable(limit: 120) }

    /// The bytes of the SEQUENCE at the front; nil when there is none or it is not whole.
    private static func length(_ bytes: [UInt8]) -> Int? {
        guard bytes.count > 4, bytes[0] == 0x30, bytes[1] == 0x82 else { return nil }
        let length = 4 + (Int(bytes[2]) << 8 | Int(bytes[3]))
        return length <= bytes.count ? length : nil
    }
}

/// An endorsement key: P-256 or P-384.
public struct EndorsementKey: Sendable, Hashable {
    fileprivate let publicKey: Certificate.PublicKey
    /// SHA-256 of its SubjectPublicKeyInfo (RFC 5280), as `openssl pkey -pubin -outform DER | sha256sum` gives it.
    public let digest: Primitives.Digest

    /// The key at `point` (X9.63); throws `EndorsementError` unless it is on one of the curves.
    public init(point: [UInt8]) throws(EndorsementError) {
        let der: Data
        if let key = try? P256.Signing.PublicKey(x963Representation: point) {
            (publicKey, der) = (Certificate.PublicKey(key), key.derRepresentation)
        } else if let key = try? P384.Signing.PublicKey(x963Representation: point) {
            (publicKey, der) = (Certificate.PublicKey(key), key.derRepresentation)
        } else {
            throw EndorsementError("the endorsement key is not a point of its curve")
        }
        digest = Primitives.Digest(bytes: Array(SHA256.hash(data: der)))
    }
}

/// Why nobody vouches for an endorsement key.
public struct EndorsementError: UserFacingError, Hashable {
    /// The cause, for a sentence.
    public let why: String

    init(_ why: String) { self.why = why.printable(limit: 300) }

    /// The TPM holds none.
    public static let noCertificate = EndorsementError("it has no certificate for an elliptic-curve key")
    /// The site trusts nobody.
    public static let noAuthority = EndorsementError("the site names no authority of TPM makers")

    public var publicMessage: String { "The endorsement key is not vouched for: \(why)." }
}
