import CatalogIdentity
import FoundationEssentials
import Primitives
import ReconcileRuntime
import ResourceModel

/// A request to another service, as that describes it to learn who has signed it.
public enum SignedRequest: Sendable {
    case ec2(EC2Request)
    case s3(S3Request)

    fileprivate func verify(secret: String, now: Timestamp) throws(EC2SignatureError) {
        switch self {
        case .ec2(let request): try request.verify(secret: secret, now: now)
        case .s3(let request): try request.verify(secret: secret, now: now)
        }
    }
}

/// What the blob of an EC2 credential holds: the keys, and what bounds it.
public struct AccessKeyPair: Sendable {
    /// Names the credential.
    public let access: String
    /// What requests are signed with.
    let secret: SecretText
    /// What bounds its tokens.
    public let bounds: Bounds

    /// At most one of these counts.
    public struct Bounds: Sendable, Hashable {
        /// The trust that its tokens are of.
        var trustID: String?
        /// The application credential that its tokens are of.
        var applicationCredentialID: String?
        /// The access token that its tokens are of.
        var accessTokenID: String?
    }

    /// Reads a blob, a JSON object; nil when it names no access key.
    public init?(blob: SecretText) {
        guard let value = try? JSONDecoder().decode(JSONValue.self, from: Data(blob.revealed.utf8)),
            let access = value["access"]?.string, !access.isEmpty
        else { return nil }
        self.access = access
        secret = SecretText(value["secret"]?.string ?? "")
        bounds = Bounds(
            trustID: value["trust_id"]?.string, applicationCredentialID: value["app_cred_id"]?.string,
            accessTokenID: value["access_token_id"]?.string)
    }
}

extension Authenticator {
    /// A token of the user whose access key has signed `request`, for the credential's project; throws
    /// `AuthenticationError`.
    ///
    /// A credential that is bounded by a trust, an application credential or an access token gives what that gives to
    /// the credential's user, in the same project, and nothing when that is gone.
    public func authenticate(
        accessKey: String, _ request: SignedRequest
    ) async throws(AuthenticationError) -> (text: String, token: ValidToken) {
        let directory = directory()
        guard let credential = directory.entry(Credential.self, CredentialSpec.id(ofAccessKey: accessKey)),
            credential.spec.type.lowercased() == "ec2", let keys = pair(of: credential, directory),
            keys.access == accessKey, !keys.secret.revealed.isEmpty
        else { throw .unknownAccessKey }
        do throws(EC2SignatureError) {
            try request.verify(secret: keys.secret.revealed, now: clock.now)
        } catch { throw .signature(error) }
        guard let user = directory.user(credential.spec.userID) else { throw .refused("the user is gone") }
        guard let project = credential.spec.projectID else { throw .refused("the EC2 credential is for no project") }
        var finding = Finding(user: user, methods: [TokenPayload.ec2Method])
        try bound(&finding, by: keys.bounds, directory)
        guard let trust = keys.bounds.trustID else { return try await issue(finding, .project(.id(project))) }
        guard directory.entry(Trust.self, trust)?.spec.projectID == project else {
            throw .refused("the trust of the EC2 credential is for another project")
        }
        return try await issue(finding, .trust(trust))
    }

    private func pair(of credential: Credential, _ directory: IdentityDirectory) -> AccessKeyPair? {
        guard let secret = directory.now.get(Secret.self, CredentialSpec.secretName(credential.id)),
            let text = try? vault.open(secret)
        else { return nil }
        return AccessKeyPair(blob: text)
    }

    /// The bound has to be the user's own; its project is compared when the token is made.
    private func bound(
        _ finding: inout Finding, by bounds: AccessKeyPair.Bounds, _ directory: IdentityDirectory
    ) throws(AuthenticationError) {
        if let id = bounds.applicationCredentialID {
            guard let found = directory.entry(ApplicationCredential.self, id), found.spec.userID == finding.user.id
            else { throw .refused("the application credential of the EC2 credential is gone or another user's") }
            finding.applicationCredential = found
        }
        if let id = bounds.accessTokenID {
            guard let found = directory.entry(ConsumerToken.self, id), found.spec.isAccessToken,
                found.spec.lender == finding.user.id
            else { throw .refused("the access token of the EC2 credential is gone or another user's") }
            finding.accessToken = found
        }
        let count = [bounds.trustID, bounds.applicationCredentialID, bounds.accessTokenID].compactMap(\.self).count
        guard count <= 1 else { throw .refused("the EC2 credential has more than one bound") }
    }
}
