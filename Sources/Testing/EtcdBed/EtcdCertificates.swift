import Crypto
import Foundation
import SwiftASN1
import X509

/// The certificates of a cluster under test: an authority, one for all members, one for clients; good for a day.
public struct EtcdCertificates: Sendable {
    /// The file with the authority's certificate, PEM.
    public let authority: String
    /// The file with the client's certificate, PEM.
    public let certificate: String
    /// The file with the client's key, PEM.
    public let key: String
    let memberCertificate: String
    let memberKey: String
    private let issuer: Issuer

    private struct Issuer: Sendable {
        let key: P256.Signing.PrivateKey
        let name: DistinguishedName
    }

    /// Makes all of them and writes them below `directory`; members answer for the addresses `hosts`.
    public init(directory: String, hosts: [[UInt8]] = [[127, 0, 0, 1]]) throws {
        let issuer = Issuer(key: P256.Signing.PrivateKey(), name: try DistinguishedName { CommonName("etcd bed") })
        self.issuer = issuer
        authority = "\(directory)/ca.pem"
        certificate = "\(directory)/client.pem"
        key = "\(directory)/client.key"
        memberCertificate = "\(directory)/member.pem"
        memberKey = "\(directory)/member.key"
        let root = try Self.certificate(
            issuer.name, key: issuer.key, by: issuer,
            Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
            })
        try Self.write(root, authority)
        let own = P256.Signing.PrivateKey()
        // Members dial each other with the certificate that they answer with.
        let member = try Self.certificate(
            DistinguishedName { CommonName("member") }, key: own, by: issuer,
            Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames(
                    [.dnsName("localhost")] + hosts.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) })
            })
        try Self.write(member, memberCertificate)
        try Self.write(own.pemRepresentation, memberKey)
        try issueClient(named: "conductor", certificate: certificate, key: key)
    }

    /// Writes a client's certificate and its key to two files, over what is there.
    public func issueClient(named name: String, certificate: String, key: String) throws {
        let own = P256.Signing.PrivateKey()
        let client = try Self.certificate(
            DistinguishedName { CommonName(name) }, key: own, by: issuer,
            Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                try ExtendedKeyUsage([.clientAuth])
            })
        try Self.write(own.pemRepresentation, key)
        try Self.write(client, certificate)
    }

    private static func certificate(
        _ subject: DistinguishedName, key: P256.Signing.PrivateKey, by issuer: Issuer,
        _ extensions: Certificate.Extensions
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
            notValidBefore: Date(timeIntervalSinceNow: -3600), notValidAfter: Date(timeIntervalSinceNow: 86_400),
            issuer: issuer.name, subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: .init(issuer.key))
    }

    private static func write(_ certificate: Certificate, _ path: String) throws {
        try write(certificate.serializeAsPEM().pemString, path)
    }

    private static func write(_ text: String, _ path: String) throws {
        try Data((text + "\n").utf8).write(to: URL(filePath: path), options: .atomic)
    }
}
