import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Says who has signed a request with a consumer's secret and, perhaps, a token's.
///
/// Nonces are not remembered: these requests come through TLS, where RFC 5849 section 3.3 does not ask for it.
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

    /// The consumer that has signed without any token; throws `ConsumerError`.
    public func consumer(of request: OAuth1Request) async throws(ConsumerError) -> Consumer {
        let consumer = try known(request)
        guard request.token == nil else { throw .refused("it has signed with a token") }
        try await verify(request, consumer, nil)
        return consumer
    }

    /// The token that its consumer has signed with; throws `ConsumerError`.
    public func token(of request: OAuth1Request) async throws(ConsumerError) -> ConsumerToken {
        guard let id = request.token else { throw .incomplete(.missing("oauth_token")) }
        let consumer = try known(request)
        guard let token = IdentityDirectory(cache.snapshot()).entry(ConsumerToken.self, id),
            token.spec.consumerID == consumer.id
        else { throw .refused("the consumer has no such token") }
        try await verify(request, consumer, token)
        guard token.spec.expires.map({ clock.now < $0 }) ?? true else { throw .refused("the token has ended") }
        return token
    }

    private func known(_ request: OAuth1Request) throws(ConsumerError) -> Consumer {
        guard let found = IdentityDirectory(cache.snapshot()).entry(Consumer.self, request.consumerKey) else {
            throw .refused("there is no such consumer")
        }
        return found
    }

    private func verify(
        _ request: OAuth1Request, _ consumer: Consumer, _ token: ConsumerToken?
    ) async throws(ConsumerError) {
        let secret: SecretText
        var tokenSecret: SecretText?
        do {
            secret = try await vault.open(ConsumerSpec.secretName(consumer.id))
            if let token { tokenSecret = try await vault.open(ConsumerTokenSpec.secretName(token.id)) }
        } catch { throw .vault(error) }
        do {
            try request.verify(
                consumerSecret: secret.revealed, tokenSecret: tokenSecret?.revealed, now: clock.now)
        } catch { throw .refused(error.publicMessage) }
    }
}

/// Why a consumer's request is not taken.
public enum ConsumerError: UserFacingError, Hashable {
    /// It is not signed as it must be.
    case incomplete(OAuth1Error)
    /// For the log only; callers are told that it did not work, and nothing more.
    case refused(String)
    /// A secret does not open.
    case vault(VaultError)

    public var publicMessage: String {
        switch self {
        case .incomplete(let error): error.publicMessage
        case .refused: "The request you have made requires authentication."
        case .vault(let error): error.publicMessage
        }
    }

    public var diagnostic: String {
        switch self {
        case .refused(let why): "a consumer's request is not taken: \(why)"
        case .incomplete, .vault: publicMessage
        }
    }
}
