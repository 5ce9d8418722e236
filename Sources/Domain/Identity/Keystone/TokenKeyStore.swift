import CatalogIdentity
import FoundationEssentials
import Primitives
import ReconcileRuntime
import ResourceModel

/// Where the ring of keys of tokens is: a secret of the vault, the same for all conductors.
public struct TokenKeyStore: Sendable {
    private static let name = "identity.token-keys"

    private let store: any ResourceStore
    private let vault: SecretVault
    private let clock: any WallClock
    private let random: RandomBytes

    /// The ring in `store`, sealed by `vault`.
    public init(
        store: any ResourceStore, vault: SecretVault, clock: any WallClock, random: RandomBytes = .system
    ) {
        self.store = store
        self.vault = vault
        self.clock = clock
        self.random = random
    }

    /// The ring that is right now, see `TokenKeyRing.turned`; what had to change is stored.
    ///
    /// Where there is none, a new one is made: tokens of an older one are void, and everybody signs in again. Throws
    /// `VaultError` for one that does not open, and the store's errors.
    public func turn(age: Duration, lifetime: Duration) async throws -> TokenKeyRing {
        for _ in 0..<StoreContention.attemptCountMax {
            let stored = try await store.fetch(Secret.self, Self.name)
            let found = try stored.map { try ring(of: $0.value) }
            let next =
                found?.turned(at: clock.now, age: age, lifetime: lifetime, random: random)
                ?? TokenKeyRing(random: random, at: clock.now)
            guard next != found else { return next }
            let text = SecretText(String(decoding: try JSONEncoder().encode(next), as: UTF8.self))
            let sealed = try vault.sealed(
                Self.name, purpose: "keys of identity tokens", text, replacing: stored)
            do {
                _ = try await store.commit(Transaction(conditions: [sealed.unchanged], operations: [sealed.put()]))
                return next
            } catch {
                guard case .conflict = error else { throw error }
            }
        }
        throw StoreError.conflict(Secret.key(Self.name))
    }

    /// The ring as of a moment; nil: there is none that opens.
    func ring(in directory: IdentityDirectory) -> TokenKeyRing? {
        directory.now.get(Secret.self, Self.name).flatMap { try? ring(of: $0) }
    }

    private func ring(of secret: Secret) throws -> TokenKeyRing {
        let text = try vault.open(secret).revealed
        do { return try JSONDecoder().decode(TokenKeyRing.self, from: Data(text.utf8)) } catch {
            throw VaultError.damaged(Self.name)
        }
    }
}
