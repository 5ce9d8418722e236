import CatalogIdentity
import Primitives

extension Authenticator {
    /// A token for a user whom an identity provider has vouched for: unscoped when it comes with the provider's word only
    /// (`federation`); of a user that is here anyway, as any other method's. Throws `AuthenticationError`.
    public func authenticate(
        _ user: User, by protocolID: String, _ federation: TokenPayload.Federation?
    ) async throws(AuthenticationError) -> (text: String, token: ValidToken) {
        var finding = Finding(user: user, methods: [protocolID], federation: federation)
        try checkFactors(&finding, receipt: nil)
        return try await issue(finding, federation == nil ? nil : .unscoped)
    }
}
