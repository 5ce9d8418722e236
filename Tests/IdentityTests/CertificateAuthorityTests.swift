import AgentProtocol
import Crypto
import FoundationEssentials
import Identity
import Primitives
import SwiftASN1
import Testing
import X509

@Suite("CertificateAuthority")
struct CertificateAuthorityTests {
    struct FixedClock: WallClock {
        var now = Timestamp(millisecondsSinceEpoch: 1_800_000_000_000)
    }

    static func signingRequest(
        _ key: Certificate.PrivateKey = Certificate.PrivateKey(P256.Signing.PrivateKey()), name: String = "wanted"
    ) throws -> String {
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName(name) }, privateKey: key,
            attributes: CertificateSigningRequest.Attributes())
        return try request.serializeAsPEM().pemString
    }

    let node: NodeID
    let authority: CertificateAuthority

    init() throws {
        node = try NodeID("5a9c0d1e-0000-4000-8000-000000000001")
        authority = try CertificateAuthority.makeRoot(name: "lab", clock: FixedClock())
    }

    @Test func rootIsAnAuthorityForTenYears() throws {
        let root = authority.certificate
        #expect(try root.extensions.basicConstraints == .isCertificateAuthority(maxPathLength: 1))
        #expect(root.subject == root.issuer)
        #expect(root.notValidBefore.timeIntervalSince1970 == 1_800_000_000 - 300)
        #expect(root.notValidAfter.timeIntervalSince1970 == 1_800_000_000 + 3652 * 86_400)
        #expect(root.publicKey.isValidSignature(root.signature, for: root))
    }

    @Test func storedRootIsTheSame() throws {
        let again = try CertificateAuthority(
            certificatePEM: authority.certificatePEM, privateKeyPEM: authority.privateKeyPEM, clock: FixedClock())
        #expect(again.certificate == authority.certificate)
        let other = try CertificateAuthority.makeRoot(name: "other")
        #expect(throws: AuthorityError.self) {
            try CertificateAuthority(
                certificatePEM: authority.certificatePEM, privateKeyPEM: other.privateKeyPEM)
        }
    }

    @Test func serverCertificateNamesHostAndAddress() throws {
        let issued = try authority.issueServer(
            dnsNames: ["conductor"], addresses: [try IPv4Address("10.77.0.1")])
        let certificate = try Certificate(pemEncoded: issued.certificatePEM)
        let names = try #require(try certificate.extensions.subjectAlternativeNames)
        #expect(Array(names) == [.dnsName("conductor"), .ipAddress(ASN1OctetString(contentBytes: [10, 77, 0, 1]))])
        #expect(try certificate.extensions.extendedKeyUsage == ExtendedKeyUsage([.serverAuth]))
        #expect(authority.certificate.publicKey.isValidSignature(certificate.signature, for: certificate))
        #expect(CertificateAuthority.nodeID(of: certificate) == nil)
        #expect(throws: AuthorityError.self) { try authority.issueServer(dnsNames: ["a\nb"], addresses: []) }
        #expect(throws: AuthorityError.self) { try authority.issueServer(dnsNames: [], addresses: []) }
    }

    @Test func nodeCertificateIgnoresRequestedNames() throws {
        let issued = try authority.issueNode(node, signingRequestPEM: Self.signingRequest(name: "root"))
        let certificate = try Certificate(pemEncoded: issued.certificatePEM)
        #expect(CertificateAuthority.nodeID(of: certificate) == node)
        #expect(certificate.subject == (try DistinguishedName { CommonName(node.raw) }))
        #expect(try certificate.extensions.extendedKeyUsage == ExtendedKeyUsage([.clientAuth]))
        #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
        #expect(issued.notAfter.since(FixedClock().now) == CertificateAuthority.nodeLifetime)
        #expect(FixedClock().now.since(issued.notBefore) == .seconds(300))
        #expect(certificate.serialNumber.bytes.count == 16)
    }

    @Test func p384IsAcceptedAndP521IsNot() throws {
        let good = try Self.signingRequest(Certificate.PrivateKey(P384.Signing.PrivateKey()))
        #expect(throws: Never.self) { try authority.issueNode(node, signingRequestPEM: good) }
        let bad = try Self.signingRequest(Certificate.PrivateKey(P521.Signing.PrivateKey()))
        let error = #expect(throws: AuthorityError.self) { try authority.issueNode(node, signingRequestPEM: bad) }
        #expect(error?.kind == .badKey)
    }

    @Test func requestSignedWithAnotherKeyIsRefused() throws {
        let first = try PEMDocument(pemString: Self.signingRequest())
        var bytes = first.derBytes
        // The last bytes are the signature's second integer.
        bytes[bytes.count - 1] ^= 1
        let forged = PEMDocument(type: first.discriminator, derBytes: bytes).pemString
        let error = #expect(throws: AuthorityError.self) { try authority.issueNode(node, signingRequestPEM: forged) }
        #expect(error?.kind == .badRequest)
        #expect(throws: AuthorityError.self) { try authority.issueNode(node, signingRequestPEM: "nonsense") }
        let long = String(repeating: "A", count: CertificateAuthority.signingRequestSizeMax + 1)
        #expect(throws: AuthorityError.self) { try authority.issueNode(node, signingRequestPEM: long) }
    }

    @Test func certificateNeverOutlivesTheRoot() throws {
        let issued = try authority.issueNode(
            node, signingRequestPEM: Self.signingRequest(), lifetime: .seconds(20 * 3652 * 86_400))
        #expect(issued.notAfter.since(FixedClock().now) == CertificateAuthority.rootLifetime)
    }

    @Test func serialsComeFromTheInjectedRandomness() throws {
        let fixed = RandomBytes { count in [UInt8](repeating: 0xAB, count: count) }
        let authority = try CertificateAuthority.makeRoot(name: "lab", clock: FixedClock(), random: fixed)
        #expect(Array(authority.certificate.serialNumber.bytes) == [0x6B] + [UInt8](repeating: 0xAB, count: 15))
    }
}
