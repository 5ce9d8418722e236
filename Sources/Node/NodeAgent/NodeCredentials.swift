import AgentProtocol
import Crypto
import FoundationEssentials
import NodeTransport
import Primitives
import SwiftASN1
import X509

/// A key made on this node, and what the conductor has certified for it.
public struct NodeKey: Sendable {
    private let key: P256.Signing.PrivateKey

    /// A new key from the system's randomness.
    public init() { key = P256.Signing.PrivateKey() }

    /// A stored key; throws when it is not a P-256 key in PEM.
    init(pem: String) throws { key = try P256.Signing.PrivateKey(pemRepresentation: pem) }

    /// PKCS #8 in PEM, with a newline at its end.
    public var pem: String { key.pemRepresentation + "\n" }

    /// A signing request (RFC 2986) in PEM that names `node`.
    func signingRequest(for node: NodeID) throws -> String { try signingRequest(named: node.raw) }

    /// A signing request (RFC 2986) in PEM for a subject of that name.
    public func signingRequest(named name: String) throws -> String {
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName(name) },
            privateKey: Certificate.PrivateKey(key), attributes: CertificateSigningRequest.Attributes())
        return try request.serializeAsPEM().pemString + "\n"
    }

    /// Checks that a chain begins with a certificate for this key, and tells from when to when it is valid.
    ///
    /// Throws `CertificateMismatch`.
    func validity(ofChain pem: String) throws(CertificateMismatch) -> CertificateValidity {
        let first: Certificate
        do {
            guard let document = try PEMDocument.parseMultiple(pemString: pem).first else {
                throw CertificateMismatch(reason: "there is no certificate in it")
            }
            first = try Certificate(pemDocument: document)
        } catch let error as CertificateMismatch {
            throw error
        } catch {
            throw CertificateMismatch(reason: "\(error)")
        }
        guard first.publicKey == Certificate.PublicKey(key.publicKey) else {
            throw CertificateMismatch(reason: "it is for another key")
        }
        return CertificateValidity(
            notBefore: Self.timestamp(first.notValidBefore.timeIntervalSince1970),
            notAfter: Self.timestamp(first.notValidAfter.timeIntervalSince1970),
            serial: Hex.encode(first.serialNumber.bytes),
            authorityKey: (try? first.extensions.authorityKeyIdentifier)?.keyIdentifier.map { Hex.encode(Array($0)) })
    }

    private static func timestamp(_ seconds: Double) -> Timestamp {
        Timestamp(millisecondsSinceEpoch: Int64(seconds) * 1000)
    }
}

/// A certificate that does not fit this node's key.
struct CertificateMismatch: Error, CustomStringConvertible {
    let reason: String

    var description: String { "the certificate cannot be used: \(reason)" }
}

/// Key and certificate chain in one file, so that one rename swaps both.
struct NodeCredentials: Sendable {
    let key: NodeKey
    let chainPEM: String
    let validity: CertificateValidity

    /// Checks that they belong together; throws `CertificateMismatch`.
    init(key: NodeKey, chainPEM: String) throws(CertificateMismatch) {
        self.key = key
        self.chainPEM = chainPEM
        validity = try key.validity(ofChain: chainPEM)
    }

    /// Reads the file's content; throws when it has no key or no certificate.
    init(pem: String) throws {
        guard let end = pem.firstRange(of: Self.keyEnd) else { throw CertificateMismatch(reason: "there is no key") }
        try self.init(
            key: NodeKey(pem: String(pem[..<end.upperBound])), chainPEM: String(pem[end.upperBound...]))
    }

    private static let keyEnd = "-----END PRIVATE KEY-----\n"

    /// The file's content.
    var pem: String { key.pem + chainPEM }

    /// For a connection.
    var identity: ClientIdentity { ClientIdentity(certificateChainPEM: chainPEM, privateKeyPEM: key.pem) }
}
