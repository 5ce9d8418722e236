import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Says who has signed a request with a consumer's secret and, perhaps, a token's.
public struct ConsumerDesk: Sendable {
    private let cache: ResourceCache
    private let vault: SecretVault
    private let clock: any WallClock

    /// A desk that reads `cache` and opens secrets of `vault`.
    public init(cache: ResourceCache, vault: SecretVault, clock: any WallClock) {
        self.cache = cache
        self.vault = vault
        self.clock = clock
    }

    /// The consumer that has signed without any token; throws `OAuthError`, and `VaultError` when the secret does not open.
    public func consumer(of request: OAuthRequest) async throws -> Consumer {
        let consumer = try known(request)
        try request.verify(
            consumerSecret: try await vault.open(ConsumerSpec.secretName(consumer.id)), tokenSecret: nil, now: clock.now
        )
        return consumer
    }

    /// The token that its consumer has signed with; throws `OAuthError`, and `VaultError` when a secret does not open.
    public func token(of request: OAuthRequest) async throws -> ConsumerToken {
        let id = try request.tokenID
        let consumer = try known(request)
        guard let token = IdentityDirectory(cache.snapshot()).entry(ConsumerToken.self, id),
            token.spec.consumerID == consumer.id
        else { throw OAuthError.refused("the consumer has no such token") }
        try request.verify(
            consumerSecret: try await vault.open(ConsumerSpec.secretName(consumer.id)),
            tokenSecret: try await vault.open(ConsumerTokenSpec.secretName(token.id)), now: clock.now)
        guard token.spec.expires.map({ clock.now < $0 }) ?? true else {
            throw OAuthError.refused("the token has ended")
        }
        return token
    }

    private func known(_ request: OAuthRequest) throws(OAuthError) -> Consumer {
        guard let found = IdentityDirectory(cache.snapshot()).entry(Consumer.self, try request.consumerID) else {
            throw .refused("there is no such consumer")
        }
        return found
    }
}
