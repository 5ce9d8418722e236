import CatalogIdentity
import Primitives
import ReconcileRuntime

extension Authenticator {
    /// Who has lent the roles that a consumer asks a token for (Keystone API v3 extension `OS-OAUTH1`).
    func checkAccessToken(_ request: OAuthRequest) async throws(AuthenticationError) -> Finding {
        let token: ConsumerToken
        do { token = try await ConsumerDesk(cache: cache, vault: vault, clock: clock).token(of: request) } catch {
            guard case OAuthError.malformed? = error as? OAuthError else {
                throw .refused((error as? any UserFacingError)?.diagnostic ?? "\(error)")
            }
            throw .invalid((error as? OAuthError)?.publicMessage ?? "")
        }
        guard case .access(let userID, _) = token.spec.phase else { throw .refused("it is no access token") }
        guard let user = IdentityDirectory(cache.snapshot()).user(userID) else { throw .refused("the user is gone") }
        return Finding(user: user, methods: ["oauth1"], accessToken: token)
    }
}
