import Primitives
import ResourceModel

/// What somebody shows to get a token, and for what it shall be good.
public struct AuthenticationRequest: Sendable {
    /// Each method with what it is shown.
    public var proofs: [Proof]
    /// For what; nil: for the user's default project, if it has one, else for nothing.
    public var scope: Scope?
    /// The receipt of the methods that were shown before; nil: there were none.
    public var receipt: String?

    /// What is shown.
    public enum Proof: Sendable {
        case password(UserReference, SecretText)
        case passcode(UserReference, SecretText)
        case token(String)
        case applicationCredential(CredentialReference, SecretText)
        /// A request that was signed with an access token.
        case accessToken(OAuth1Request)
    }

    /// How a user is named.
    public enum UserReference: Sendable, Hashable {
        case id(String)
        case name(String, domain: DomainReference)
    }

    /// How a domain is named.
    public enum DomainReference: Sendable, Hashable {
        case id(String)
        case name(String)
    }

    /// How an application credential is named.
    public enum CredentialReference: Sendable, Hashable {
        case id(String)
        case name(String, user: UserReference)
    }

    /// For what a token is asked.
    public enum Scope: Sendable, Hashable {
        case unscoped
        case project(ProjectReference)
        case domain(DomainReference)
        case system
        case trust(String)
    }

    /// How a project is named.
    public enum ProjectReference: Sendable, Hashable {
        case id(String)
        case name(String, domain: DomainReference)
        /// The domain of this name, as a project.
        case domainItself(DomainReference)
    }

    /// A request.
    public init(proofs: [Proof], scope: Scope?, receipt: String? = nil) {
        self.proofs = proofs
        self.scope = scope
        self.receipt = receipt
    }
}

extension AuthenticationRequest.Proof {
    /// The method's name in tokens.
    var method: String {
        switch self {
        case .password: "password"
        case .passcode: "totp"
        case .token: "token"
        case .applicationCredential: "application_credential"
        case .accessToken: "oauth1"
        }
    }
}

/// Why somebody gets no token.
public enum AuthenticationError: UserFacingError, Hashable {
    /// For the log only; callers are told that it did not work, and nothing more.
    case refused(String)
    /// The password has ended; whose, so that it can be changed.
    case passwordExpired(userID: String)
    /// What was shown is right, and the user has to show more; the receipt is for the rest.
    case moreMethods(LoginReceipt)
    /// Nobody has the access key; only services learn that.
    case unknownAccessKey
    /// A signed request is not taken.
    case signature(EC2SignatureError)
    /// The request contradicts itself.
    case invalid(String)
    /// A token of this sort may not be exchanged for such a one.
    case forbidden(String)
    /// The hashing of passwords is overloaded or failed.
    case desk(PasswordDeskError)
    /// The store failed.
    case store(StoreError)

    public var publicMessage: String {
        switch self {
        case .refused: "The request you have made requires authentication."
        case .moreMethods: "More authentication methods are needed."
        case .passwordExpired(let id):
            "The password is expired and needs to be changed for user: \(id)."
        case .invalid(let what), .forbidden(let what): what
        case .unknownAccessKey: "EC2 access key not found."
        case .signature(let error): error.publicMessage
        case .desk(let error): error.publicMessage
        case .store(let error): error.publicMessage
        }
    }

    public var diagnostic: String {
        switch self {
        case .refused(let why): "no token: \(why)"
        case .signature(let error): "no token: \(error.publicMessage)"
        case .desk(let error): error.diagnostic
        default: publicMessage
        }
    }
}
