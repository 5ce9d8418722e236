import CatalogIdentity
import Crypto
import Primitives
import SwiftASN1
import X509

/// The store's own certificate authority: who has a certificate of it may read and write all that the site holds, so it
/// is never the site's authority, whose certificates every node has.
///
/// There is one for a site, made once and kept in the vault. It issues two kinds of certificates, both with keys of
/// P-256 or P-384 and good for `lifetime`: a controller's, which its member answers and dials other members with and its
/// conductor asks with, and that of a client which runs no member.
public struct StoreAuthority: Sendable {
    /// How long a certificate is valid. Another one is asked for when a third of it is left.
    public static let lifetime: Duration = .seconds(30 * 86_400)
    /// The most addresses of one certificate.
    public static let addressCountMax = 8

    /// The secret that holds certificate and key, so that there is never the one without the other.
    private static let secret = "store-ca"
    private let root: CertificateAuthority

    private init(_ root: CertificateAuthority) { self.root = root }

    /// The site's store authority; made when the vault has none, and the same for all who ask at that moment.
    ///
    /// Throws `StoreAuthorityError`.
    public static func open(
        in vault: SecretVault, clock: any WallClock = SystemWallClock(), random: RandomBytes = .system
    ) async throws(StoreAuthorityError) -> StoreAuthority {
        let text: SecretText
        do throws(VaultError) { text = try await vault.open(secret) } catch {
            guard case .unknown = error else { throw .vault(error) }
            return try await make(in: vault, clock: clock, random: random)
        }
        return try read(text, clock: clock, random: random)
    }

    private static func make(
        in vault: SecretVault, clock: any WallClock, random: RandomBytes
    ) async throws(StoreAuthorityError) -> StoreAuthority {
        let made: CertificateAuthority
        do throws(AuthorityError) {
            made = try CertificateAuthority.makeRoot(name: "Muster store", depth: 0, clock: clock, random: random)
        } catch { throw .authority(error) }
        let kept: SecretText
        do throws(VaultError) {
            // What another conductor has put there in the meantime is what counts.
            kept = try await vault.open(secret, purpose: "certificate authority of the store") {
                SecretText(made.certificatePEM + made.privateKeyPEM)
            }
        } catch { throw .vault(error) }
        return try read(kept, clock: clock, random: random)
    }

    private static func read(
        _ text: SecretText, clock: any WallClock, random: RandomBytes
    ) throws(StoreAuthorityError) -> StoreAuthority {
        let documents: [PEMDocument]
        do { documents = try PEMDocument.parseMultiple(pemString: text.revealed) } catch {
            throw .damaged("it is no PEM")
        }
        guard documents.count == 2 else { throw .damaged("it has \(documents.count) parts and not 2") }
        do throws(AuthorityError) {
            return StoreAuthority(
                try CertificateAuthority(
                    certificatePEM: documents[0].pemString, privateKeyPEM: documents[1].pemString, clock: clock,
                    random: random))
        } catch { throw .damaged(error.detail) }
    }

    /// Its certificate in PEM: what members and clients check each other by.
    public var certificatePEM: String { root.certificatePEM }

    /// SHA-256 of its certificate's DER form: what nodes know it by.
    public var fingerprint: Primitives.Digest { root.fingerprint }

    /// When it ends; no certificate outlives it.
    public var notAfter: Timestamp { root.validity.notAfter }

    /// Issues a controller's certificate for the key of its signing request (RFC 2986, PEM), as server and as client.
    ///
    /// Only the key is taken from the request; the names are `addresses`. etcd lets a client in whose certificate has
    /// addresses only from one of them. Throws `StoreAuthorityError`.
    public func issue(
        signingRequestPEM: String, controller: String, addresses: [IPv4Address]
    ) throws(StoreAuthorityError) -> IssuedStoreCertificate {
        guard (1...Self.addressCountMax).contains(addresses.count) else {
            throw .addresses(addresses.count)
        }
        do throws(AuthorityError) {
            return try issue(
                CertificateAuthority.publicKey(ofRequest: signingRequestPEM), name: controller,
                names: addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0.bytes[...])) },
                usages: [.serverAuth, .clientAuth])
        } catch { throw .authority(error) }
    }

    /// Issues a certificate and makes its key, for a client that runs no member: it has no addresses, so that it may
    /// come from any. Throws `StoreAuthorityError`.
    public func issueClient(
        named name: String, key: P256.Signing.PrivateKey = P256.Signing.PrivateKey()
    ) throws(StoreAuthorityError) -> IssuedStoreClient {
        do throws(AuthorityError) {
            let issued = try issue(
                Certificate.PublicKey(key.publicKey), name: name, names: [], usages: [.clientAuth])
            return IssuedStoreClient(certificate: issued, privateKey: SecretText(key.pemRepresentation + "\n"))
        } catch { throw .authority(error) }
    }

    private func issue(
        _ key: Certificate.PublicKey, name: String, names: [GeneralName], usages: [ExtendedKeyUsage.Usage]
    ) throws(AuthorityError) -> IssuedStoreCertificate {
        // The longest common name (RFC 5280, ub-common-name).
        let name = name.printable(limit: 64)
        let made = try root.issue(key, commonName: name, names: names, usages: usages, lifetime: Self.lifetime)
        return IssuedStoreCertificate(
            certificatePEM: CertificateAuthority.pem(made),
            notBefore: CertificateAuthority.timestamp(made.notValidBefore),
            notAfter: CertificateAuthority.timestamp(made.notValidAfter), serial: Hex.encode(made.serialNumber.bytes))
    }
}

/// A certificate of the store's authority.
public struct IssuedStoreCertificate: Sendable, Hashable {
    /// The certificate in PEM.
    public let certificatePEM: String
    /// When it begins.
    public let notBefore: Timestamp
    /// When it ends.
    public let notAfter: Timestamp
    /// Its serial number, hexadecimal.
    public let serial: String
}

/// A client's certificate of the store's authority with its key.
public struct IssuedStoreClient: Sendable {
    /// The certificate.
    public let certificate: IssuedStoreCertificate
    /// The private key in PEM (PKCS #8).
    public let privateKey: SecretText
}

/// Why the store's authority cannot be used, or does not issue.
public enum StoreAuthorityError: UserFacingError, Hashable {
    /// The vault does not give it.
    case vault(VaultError)
    /// What the vault holds is no certificate with its key.
    case damaged(String)
    /// A certificate for no address, or for too many.
    case addresses(Int)
    /// The certificate cannot be made.
    case authority(AuthorityError)

    public var publicMessage: String {
        switch self {
        case .vault(let error): error.publicMessage
        case .damaged:
            "The certificate authority of the store cannot be used: restore the site's secrets from a backup."
        case .addresses(let count):
            "A controller's certificate names 1 to \(StoreAuthority.addressCountMax) addresses and not \(count)."
        case .authority(let error): error.publicMessage
        }
    }

    public var diagnostic: String {
        switch self {
        case .vault(let error): error.diagnostic
        case .damaged(let cause): "\(publicMessage) (\(cause))"
        case .addresses: publicMessage
        case .authority(let error): error.diagnostic
        }
    }
}
