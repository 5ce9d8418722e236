import AgentProtocol
import Crypto
import FoundationEssentials
import Primitives
import SwiftASN1
import X509

/// The site's certificate authority (RFC 5280): one P-256 root that issues the conductors' and the nodes' certificates.
///
/// Holds the private key in memory; whoever stores it keeps it in the vault. It is replaced by `AuthorityMachine`.
public struct CertificateAuthority: Sendable {
    /// How long the root is valid.
    public static let rootLifetime: Duration = .seconds(3652 * 86_400)
    /// How long a server's certificate is valid.
    public static let serverLifetime: Duration = .seconds(90 * 86_400)
    /// How long a node's certificate is valid. Agents renew after a third of it, so that a fleet outlives more than
    /// four days without a conductor; what keeps a node out is its deletion, which is looked at on each connection.
    public static let nodeLifetime: Duration = .seconds(7 * 86_400)
    /// How far before now a certificate begins, for machines whose clock is behind.
    public static let backdating: Duration = .seconds(300)
    /// The longest signing request that is read, in bytes of PEM.
    public static let signingRequestSizeMax = 16 << 10

    /// When the root certificate begins and ends to be valid.
    public var validity: (notBefore: Timestamp, notAfter: Timestamp) {
        (Self.timestamp(certificate.notValidBefore), Self.timestamp(certificate.notValidAfter))
    }

    /// The root certificate.
    public let certificate: Certificate
    private let key: P256.Signing.PrivateKey
    private let clock: any WallClock
    private let random: RandomBytes

    /// Makes a new root for the site called `name`, with a key from the system's randomness unless one is given.
    ///
    /// `depth` is how many authorities may stand below it: one, the authority before, while it is being replaced.
    /// Throws `AuthorityError`.
    public static func makeRoot(
        name: String, key: P256.Signing.PrivateKey = P256.Signing.PrivateKey(), depth: Int = 1,
        clock: any WallClock = SystemWallClock(), random: RandomBytes = .system
    ) throws(AuthorityError) -> CertificateAuthority {
        do {
            let subject = try DistinguishedName {
                CommonName("\(name.printable(limit: 40)) CA")
            }
            let publicKey = Certificate.PublicKey(key.publicKey)
            let certificate = try Certificate(
                version: .v3, serialNumber: serial(random), publicKey: publicKey,
                notValidBefore: date(clock.now.advanced(by: .zero - backdating)),
                notValidAfter: date(clock.now.advanced(by: rootLifetime)), issuer: subject, subject: subject,
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: depth))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    SubjectKeyIdentifier(hash: publicKey)
                }, issuerPrivateKey: Certificate.PrivateKey(key))
            return CertificateAuthority(certificate: certificate, key: key, clock: clock, random: random)
        } catch {
            throw AuthorityError(.internalFailure, "\(error)")
        }
    }

    /// The authority from its stored certificate and private key, both PEM.
    ///
    /// Throws `AuthorityError` (`badRoot`) when they cannot be read or do not belong together.
    public init(
        certificatePEM: String, privateKeyPEM: String, clock: any WallClock = SystemWallClock(),
        random: RandomBytes = .system
    ) throws(AuthorityError) {
        do {
            certificate = try Certificate(pemEncoded: certificatePEM)
            key = try P256.Signing.PrivateKey(pemRepresentation: privateKeyPEM)
        } catch {
            throw AuthorityError(.badRoot, "\(error)")
        }
        guard certificate.publicKey == Certificate.PublicKey(key.publicKey) else {
            throw AuthorityError(.badRoot, "the certificate has another key")
        }
        self.clock = clock
        self.random = random
    }

    private init(
        certificate: Certificate, key: P256.Signing.PrivateKey, clock: any WallClock, random: RandomBytes
    ) {
        self.certificate = certificate
        self.key = key
        self.clock = clock
        self.random = random
    }

    /// The root certificate in PEM, with a newline at its end: the site's `ca.pem`.
    public var certificatePEM: String { Self.pem(certificate) }

    /// The private key in PEM (PKCS #8); a secret.
    public var privateKeyPEM: String { key.pemRepresentation + "\n" }

    /// SHA-256 of the root certificate's DER form (RFC 5280): what boot scripts and operators know it by.
    public var fingerprint: Primitives.Digest { Self.fingerprint(of: certificate) }

    /// SHA-256 of a certificate's DER form.
    public static func fingerprint(of certificate: Certificate) -> Primitives.Digest {
        Primitives.Digest(bytes: Array(SHA256.hash(data: der(certificate))))
    }

    /// The identifier of the root's key, hexadecimal, by which what it issued names it; nil when it has none.
    public var keyIdentifier: String? {
        (try? certificate.extensions.subjectKeyIdentifier).map { Hex.encode(Array($0.keyIdentifier)) }
    }

    /// A certificate of this root for the key of an `older` one, in PEM (a cross-certificate, RFC 5280 section 3.2):
    /// whoever trusts only this root verifies with it what the older one has issued.
    ///
    /// Throws `AuthorityError`.
    public func crossCertificate(of older: CertificateAuthority) throws(AuthorityError) -> String {
        let now = clock.now
        let end = min(validity.notAfter, older.validity.notAfter)
        do {
            let cross = try Certificate(
                version: .v3, serialNumber: Self.serial(random), publicKey: older.certificate.publicKey,
                notValidBefore: Self.date(now.advanced(by: .zero - Self.backdating)), notValidAfter: Self.date(end),
                issuer: certificate.subject, subject: older.certificate.subject,
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    SubjectKeyIdentifier(hash: older.certificate.publicKey)
                    AuthorityKeyIdentifier(
                        keyIdentifier: try certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
                }, issuerPrivateKey: Certificate.PrivateKey(key))
            return Self.pem(cross)
        } catch {
            throw AuthorityError(.internalFailure, "\(error)")
        }
    }

    /// Issues a certificate for a server that is reached by these DNS names and addresses, with a key of its own.
    ///
    /// Throws `AuthorityError` (`badName`) when there is no name or one of them cannot stand in a certificate.
    public func issueServer(
        dnsNames: [String], addresses: [IPv4Address], lifetime: Duration = serverLifetime,
        key: P256.Signing.PrivateKey = P256.Signing.PrivateKey()
    ) throws(AuthorityError) -> IssuedServer {
        guard let first = dnsNames.first ?? addresses.first?.description else {
            throw AuthorityError(.badName, "neither a DNS name nor an address")
        }
        for name in dnsNames where name.isEmpty || name.utf8.count > 253 || !name.utf8.allSatisfy(Self.isNameByte) {
            throw AuthorityError(.badName, "'\(name.printable(limit: 80))'")
        }
        let names =
            dnsNames.map { GeneralName.dnsName($0) }
            + addresses.map { GeneralName.ipAddress(ASN1OctetString(contentBytes: $0.bytes[...])) }
        let certificate = try issue(
            Certificate.PublicKey(key.publicKey), commonName: String(first.prefix(64)), names: names,
            usages: [.serverAuth], lifetime: lifetime)
        return IssuedServer(certificatePEM: Self.pem(certificate), privateKeyPEM: key.pemRepresentation + "\n")
    }

    /// Issues a node's certificate for the key of its signing request (RFC 2986, PEM).
    ///
    /// Only the key is taken from the request; the names are the node's. Throws `AuthorityError`: `badRequest` when it
    /// cannot be read or its signature is wrong, `badKey` unless the key is P-256 or P-384.
    public func issueNode(
        _ node: NodeID, signingRequestPEM: String, lifetime: Duration = nodeLifetime
    ) throws(AuthorityError) -> IssuedNode {
        let certificate = try issue(
            Self.publicKey(ofRequest: signingRequestPEM), commonName: node.raw,
            names: [.uniformResourceIdentifier(Self.nodePrefix + node.raw)], usages: [.clientAuth], lifetime: lifetime)
        return IssuedNode(
            certificatePEM: Self.pem(certificate),
            notBefore: Self.timestamp(certificate.notValidBefore), notAfter: Self.timestamp(certificate.notValidAfter),
            serial: Hex.encode(certificate.serialNumber.bytes))
    }

    /// The node that a certificate was issued to; nil when it is not a node's.
    ///
    /// Says nothing about who issued it: the chain has to be verified before.
    public static func nodeID(of certificate: Certificate) -> NodeID? {
        guard let names = try? certificate.extensions.subjectAlternativeNames, names.count == 1,
            case .uniformResourceIdentifier(let uri) = names.first, uri.hasPrefix(nodePrefix)
        else { return nil }
        return try? NodeID(String(uri.dropFirst(nodePrefix.count)))
    }

    static let nodePrefix = "muster:node:"

    /// Issues a certificate that is good for `usages`; without `names` it has none but the common one.
    func issue(
        _ publicKey: Certificate.PublicKey, commonName: String, names: [GeneralName],
        usages: [ExtendedKeyUsage.Usage], lifetime: Duration
    ) throws(AuthorityError) -> Certificate {
        let now = clock.now
        let end = min(now.advanced(by: lifetime), Self.timestamp(certificate.notValidAfter))
        do {
            return try Certificate(
                version: .v3, serialNumber: Self.serial(random), publicKey: publicKey,
                notValidBefore: Self.date(now.advanced(by: .zero - Self.backdating)), notValidAfter: Self.date(end),
                issuer: certificate.subject, subject: try DistinguishedName { CommonName(commonName) },
                extensions: Certificate.Extensions {
                    Critical(BasicConstraints.notCertificateAuthority)
                    Critical(KeyUsage(digitalSignature: true))
                    try ExtendedKeyUsage(usages)
                    if !names.isEmpty { SubjectAlternativeNames(names) }
                    SubjectKeyIdentifier(hash: publicKey)
                    AuthorityKeyIdentifier(
                        keyIdentifier: try certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
                }, issuerPrivateKey: Certificate.PrivateKey(key))
        } catch {
            throw AuthorityError(.internalFailure, "\(error)")
        }
    }

    /// The key of a signing request that is signed with it. Throws `AuthorityError` (`badRequest`, `badKey`).
    static func publicKey(ofRequest pem: String) throws(AuthorityError) -> Certificate.PublicKey {
        guard pem.utf8.count <= signingRequestSizeMax else {
            throw AuthorityError(.badRequest, "longer than \(signingRequestSizeMax) bytes")
        }
        let request: CertificateSigningRequest
        do { request = try CertificateSigningRequest(pemEncoded: pem) } catch {
            throw AuthorityError(.badRequest, "\(error)")
        }
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw AuthorityError(.badRequest, "its signature is not made with its key")
        }
        guard P256.Signing.PublicKey(request.publicKey) != nil || P384.Signing.PublicKey(request.publicKey) != nil
        else {
            throw AuthorityError(.badKey, "\(request.publicKey)")
        }
        return request.publicKey
    }

    private static func serial(_ random: RandomBytes) -> Certificate.SerialNumber {
        var bytes = random(16)
        bytes[0] = bytes[0] & 0x7F | 0x40
        return Certificate.SerialNumber(bytes: bytes)
    }

    static func pem(_ certificate: Certificate) -> String {
        PEMDocument(type: Certificate.defaultPEMDiscriminator, derBytes: der(certificate)).pemString + "\n"
    }

    private static func der(_ certificate: Certificate) -> [UInt8] {
        var serializer = DER.Serializer()
        do { try serializer.serialize(certificate) } catch { preconditionFailure("a certificate can be written") }
        return serializer.serializedBytes
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."): true
        default: false
        }
    }

    private static func date(_ time: Timestamp) -> Date {
        Date(timeIntervalSince1970: Double(time.millisecondsSinceEpoch / 1000))
    }

    static func timestamp(_ date: Date) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: Int64(date.timeIntervalSince1970) * 1000)
    }
}

/// A server's certificate with its key.
public struct IssuedServer: Sendable, Hashable {
    /// The certificate in PEM.
    public let certificatePEM: String
    /// The private key in PEM (PKCS #8); a secret.
    public let privateKeyPEM: String

    /// A server's certificate, and what it shows after it, with its key.
    public init(certificatePEM: String, privateKeyPEM: String) {
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
    }
}

/// A node's certificate.
public struct IssuedNode: Sendable, Hashable {
    /// The certificate in PEM.
    public let certificatePEM: String
    /// When it begins.
    public let notBefore: Timestamp
    /// When it ends.
    public let notAfter: Timestamp
    /// Its serial number, hexadecimal.
    public let serial: String
}

/// The authority cannot do what was asked.
public struct AuthorityError: UserFacingError, Hashable {
    /// What is wrong.
    public enum Kind: Sendable, Hashable {
        /// The stored root cannot be used.
        case badRoot
        /// A server's name cannot stand in a certificate.
        case badName
        /// The signing request cannot be read or is not signed with its own key.
        case badRequest
        /// The signing request has a key of a kind that is not accepted.
        case badKey
        /// The library failed.
        case internalFailure
    }

    /// What is wrong.
    public let kind: Kind
    /// The cause.
    public let detail: String

    init(_ kind: Kind, _ detail: String) {
        self.kind = kind
        self.detail = detail.printable(limit: 400)
    }

    public var publicMessage: String {
        switch kind {
        case .badRoot: "The site's CA certificate and key cannot be used: restore them from a backup."
        case .badName: "A server needs DNS names or addresses that can stand in a certificate."
        case .badRequest: "The certificate signing request cannot be used: make a new one (PKCS #10 in PEM)."
        case .badKey: "The certificate signing request must have a P-256 or P-384 key."
        case .internalFailure: "The certificate could not be made."
        }
    }

    public var diagnostic: String { "\(publicMessage) (\(detail))" }
}
