import CatalogIdentity
import Crypto
import FoundationEssentials
import Glibc
import Identity
import Primitives
import ResourceModel
import SwiftASN1
import Testing
import X509

/// The store's authority, with the judgement of OpenSSL where it is about certificates.
@Suite("StoreAuthority")
struct StoreAuthorityTests {
    private let address = IPv4Address(0x0A4D_0003)
    private let loopback = IPv4Address(0x7F00_0001)

    private func withVault<Result>(_ body: (SecretVault, FakeStore, String) async throws -> Result) async throws
        -> Result
    {
        try await withDirectory { directory in
            let store = FakeStore()
            let vault = try await SecretVault.open(store: store, keyFile: "\(directory)/master.key")
            return try await body(vault, store, directory)
        }
    }

    @Test func isMadeOnceAndFoundAgain() async throws {
        try await withVault { vault, store, _ in
            let first = try await StoreAuthority.open(in: vault)
            let again = try await StoreAuthority.open(in: vault)
            #expect(first.fingerprint == again.fingerprint)
            #expect(try await store.fetchAll(Secret.self).map(\.value.metadata.name) == ["store-ca"])
            let root = try Certificate(pemEncoded: first.certificatePEM)
            #expect(try root.extensions.basicConstraints == .isCertificateAuthority(maxPathLength: 0))
            #expect(first.notAfter.since(SystemWallClock().now) > .seconds(3651 * 86_400))
        }
    }

    @Test func conductorsThatOpenItAtOnceHaveTheSame() async throws {
        try await withVault { vault, _, _ in
            let found = try await withThrowingTaskGroup { group in
                for _ in 0..<16 { group.addTask { try await StoreAuthority.open(in: vault).fingerprint } }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(found.count == 1)
        }
    }

    @Test func neitherTheSitesAuthorityNorItsCertificatesAreOfIt() async throws {
        try await withVault { vault, _, directory in
            let authority = try await StoreAuthority.open(in: vault)
            let site = try CertificateAuthority.makeRoot(name: "site")
            let nodes = try site.issueNode(nodeA, signingRequestPEM: CertificateAuthorityTests.signingRequest())
            #expect(
                try verify(nodes.certificatePEM, by: authority.certificatePEM, purpose: "sslclient", in: directory) != 0
            )
        }
    }

    @Test func controllersCertificateIsGoodBothWaysAtItsAddressesOnly() async throws {
        try await withVault { vault, _, directory in
            let authority = try await StoreAuthority.open(in: vault)
            let request = try CertificateAuthorityTests.signingRequest(name: "other")
            let issued = try authority.issue(
                signingRequestPEM: request, controller: "rack-1", addresses: [loopback, address])
            for purpose in ["sslserver", "sslclient"] {
                for ip in ["127.0.0.1", "10.77.0.3"] {
                    #expect(
                        try verify(
                            issued.certificatePEM, by: authority.certificatePEM, purpose: purpose, ip: ip, in: directory
                        )
                            == 0)
                }
                #expect(
                    try verify(
                        issued.certificatePEM, by: authority.certificatePEM, purpose: purpose, ip: "10.77.0.4",
                        in: directory) != 0)
            }
            let certificate = try Certificate(pemEncoded: issued.certificatePEM)
            #expect(certificate.subject == (try DistinguishedName { CommonName("rack-1") }))
            #expect(issued.notAfter.since(issued.notBefore) == StoreAuthority.lifetime + .seconds(300))
            #expect(CertificateAuthority.nodeID(of: certificate) == nil)
        }
    }

    @Test func namesOfARequestAreNotTaken() async throws {
        try await withVault { vault, _, directory in
            let authority = try await StoreAuthority.open(in: vault)
            let key = P256.Signing.PrivateKey()
            let request = try CertificateSigningRequest(
                version: .v1, subject: try DistinguishedName { CommonName("root") }, privateKey: .init(key),
                attributes: CertificateSigningRequest.Attributes([
                    .init(
                        ExtensionRequest(
                            extensions: Certificate.Extensions {
                                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                                SubjectAlternativeNames([
                                    .dnsName("conductor"),
                                    .ipAddress(ASN1OctetString(contentBytes: [10, 77, 0, 9])),
                                ])
                            }))
                ]))
            let issued = try authority.issue(
                signingRequestPEM: request.serializeAsPEM().pemString, controller: "rack-1", addresses: [address])
            let certificate = try Certificate(pemEncoded: issued.certificatePEM)
            #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
            #expect(
                try certificate.extensions.subjectAlternativeNames.map(Array.init)
                    == [.ipAddress(ASN1OctetString(contentBytes: [10, 77, 0, 3]))])
            #expect(
                try verify(
                    issued.certificatePEM, by: authority.certificatePEM, purpose: "sslserver", ip: "10.77.0.9",
                    in: directory) != 0)
        }
    }

    @Test func aClientsCertificateServesNobody() async throws {
        try await withVault { vault, _, directory in
            let authority = try await StoreAuthority.open(in: vault)
            let issued = try authority.issueClient(named: "seed")
            let pem = issued.certificate.certificatePEM
            #expect(try verify(pem, by: authority.certificatePEM, purpose: "sslclient", in: directory) == 0)
            #expect(try verify(pem, by: authority.certificatePEM, purpose: "sslserver", in: directory) != 0)
            let certificate = try Certificate(pemEncoded: pem)
            #expect(try certificate.extensions.subjectAlternativeNames == nil)
            let key = try P256.Signing.PrivateKey(pemRepresentation: issued.privateKey.revealed)
            #expect(certificate.publicKey == Certificate.PublicKey(key.publicKey))
            #expect(!shown(issued).contains("PRIVATE"))
        }
    }

    @Test func badRequestsAndCountsAreRefused() async throws {
        try await withVault { vault, _, _ in
            let authority = try await StoreAuthority.open(in: vault)
            let good = try CertificateAuthorityTests.signingRequest()
            let long = String(repeating: "A", count: CertificateAuthority.signingRequestSizeMax + 1)
            let wrong = try CertificateAuthorityTests.signingRequest(.init(P521.Signing.PrivateKey()))
            for bad in ["", "nonsense", long, wrong] {
                #expect(throws: StoreAuthorityError.self) {
                    try authority.issue(signingRequestPEM: bad, controller: "rack-1", addresses: [address])
                }
            }
            for count in [0, 9] {
                let addresses = (0..<count).map { IPv4Address(UInt32(0x0A4D_0001 + $0)) }
                #expect(throws: StoreAuthorityError.addresses(count)) {
                    try authority.issue(signingRequestPEM: good, controller: "rack-1", addresses: addresses)
                }
            }
        }
    }

    @Test(arguments: ["", "nonsense", "half"])
    func damagedSecretIsNotReplacedByAnother(text: String) async throws {
        try await withVault { vault, store, _ in
            let authority = try await StoreAuthority.open(in: vault)
            let broken = text == "half" ? authority.certificatePEM : text
            try await vault.seal("store-ca", purpose: "broken", SecretText(broken))
            let before = try await store.currentRevision()
            let error = await #expect(throws: StoreAuthorityError.self) { _ = try await StoreAuthority.open(in: vault) }
            guard case .damaged? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(try await store.currentRevision() == before)
        }
    }

    @Test func aStoreThatFailsIsSaid() async throws {
        try await withVault { vault, store, _ in
            await store.fail(with: .unavailable("away"))
            await #expect(throws: StoreAuthorityError.self) { _ = try await StoreAuthority.open(in: vault) }
            await store.fail(with: nil)
            _ = try await StoreAuthority.open(in: vault)
        }
    }

    /// What `openssl verify` ends with: 0 when it is good for that purpose and address.
    private func verify(
        _ certificate: String, by authority: String, purpose: String, ip: String? = nil, in directory: String
    ) throws -> Int32 {
        let (leaf, root) = ("\(directory)/leaf.pem", "\(directory)/root.pem")
        try certificate.write(toFile: leaf, atomically: true, encoding: .utf8)
        try authority.write(toFile: root, atomically: true, encoding: .utf8)
        let command =
            ["openssl", "verify", "-x509_strict", "-CAfile", root, "-purpose", purpose]
            + (ip.map { ["-verify_ip", $0] } ?? []) + [leaf, ">/dev/null", "2>&1"]
        return system(command.joined(separator: " "))
    }
}
