import Crypto
import Identity
import Logging
import Primitives
import X509

/// The site's certificate authority, kept in the vault.
enum SiteAuthority {
    private static let keySecret = "site-ca-key"
    private static let certificateSecret = "site-ca-certificate"

    /// Opens the authority, or makes it at the first start. Throws `VaultError` or `AuthorityError`.
    static func open(vault: SecretVault, name: String, clock: any WallClock) async throws -> CertificateAuthority {
        do {
            return try CertificateAuthority(
                certificatePEM: try await vault.open(certificateSecret).revealed,
                privateKeyPEM: try await vault.open(keySecret).revealed, clock: clock)
        } catch let error as VaultError {
            guard case .unknown = error else { throw error }
        }
        let made = try CertificateAuthority.makeRoot(name: name, clock: clock)
        // The key first: a certificate without its key would be believed and could sign nothing.
        try await vault.seal(keySecret, purpose: "certificate authority", SecretText(made.privateKeyPEM))
        try await vault.seal(certificateSecret, purpose: "certificate authority", SecretText(made.certificatePEM))
        return made
    }
}
