import CatalogIdentity
import Primitives
import ReconcileRuntime
import ResourceModel

extension UserSpec.FederatedIdentity {
    /// Unique among all identities.
    var key: String { CatalogName.joining(provider, protocolID, uniqueID) }
}

extension IdentityDirectory {
    static let usersByIdentity = CacheIndex<User>("identity") { ($0.spec.federated ?? []).map(\.key) }

    /// The user whom a provider calls so; nil: it was never here.
    public func user(_ identity: UserSpec.FederatedIdentity) -> User? {
        now.first(Self.usersByIdentity, identity.key).flatMap { user($0.id) }
    }

    /// The protocol of a provider; nil: there is none.
    public func federationProtocol(_ id: String, of provider: String) -> FederationProtocol? {
        now.get(FederationProtocol.self, CatalogName.joining(provider, id))
    }

    /// The group of this name in a domain; nil: there is none.
    public func group(named name: String, in domain: String) -> Group? {
        now.first(Self.groupsByName, Self.named(domain, name)).flatMap { group($0.id) }
    }

    /// Refuses tokens of a provider that is not believed any more, and of a protocol that is gone.
    func check(_ federation: TokenPayload.Federation) throws(TokenRefusal) {
        guard let provider = entry(IdentityProvider.self, federation.identityProvider), provider.spec.isEnabled else {
            throw .void("the identity provider is gone or off")
        }
        guard federationProtocol(federation.protocol, of: provider.spec.id) != nil else {
            throw .void("the identity provider's protocol is gone")
        }
    }
}
