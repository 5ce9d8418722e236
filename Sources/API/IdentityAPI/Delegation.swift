import APISupport
import CatalogIdentity
import Identity
import Primitives

extension APICall where Backend == IdentityBackend {
    /// Whether the caller acts by what somebody has lent: a trust, an application credential, an access token, an EC2 credential.
    var isDelegated: Bool { caller.token?.payload.isDelegated ?? false }

    /// What outlives a loan is not made or read with it; throws `APIError` 403.
    func refuseDelegated(_ what: String, exceptApplicationCredentials: Bool = false) throws {
        if exceptApplicationCredentials, caller.token?.applicationCredential != nil { return }
        guard !isDelegated else {
            throw APIError.forbidden(
                "\(what) cannot be managed with a token that was got by a trust, an application credential or an access token."
            )
        }
    }

    /// An application credential makes further ones only where it is unrestricted; throws `APIError` 403.
    func refuseRestricted() throws {
        guard let credential = caller.token?.applicationCredential, !credential.spec.isUnrestricted else { return }
        throw APIError.forbidden(
            "The application credential \(credential.id) is restricted: its tokens cannot manage application credentials and trusts."
        )
    }
}
