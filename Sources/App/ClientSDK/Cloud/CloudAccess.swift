import Primitives

/// How a cloud is signed in to: what its entry in `clouds.yaml` says (OpenStack SDK, "Configuring OpenStack SDK
/// Applications").
public struct CloudAccess: Sendable {
    /// What proves who one is.
    public enum Proof: Sendable {
        /// A user and the password, as members of `identity.password.user`.
        case password([String: JSONValue])
        /// An application credential, as members of `identity.application_credential`.
        case applicationCredential([String: JSONValue])
        /// A token that one has already.
        case token(SecretText)
    }

    /// The cloud's name.
    public var name: String
    /// The file that names it, for errors.
    public var file: String
    /// The identity API, ending with `/v3`.
    public var authURL: String
    /// Who one is.
    public var proof: Proof
    /// `auth.scope` of the request; nil: none, which takes the user's own project or what the proof is bound to.
    public var scope: JSONValue?
    /// The region whose fleet is meant; nil: any.
    public var region: String?
    /// Which endpoint is taken: public, internal or admin.
    public var interface: String

    /// A cloud.
    public init(
        name: String, file: String, authURL: String, proof: Proof, scope: JSONValue? = nil, region: String? = nil,
        interface: String = "public"
    ) {
        self.name = name
        self.file = file
        self.authURL = authURL
        self.proof = proof
        self.scope = scope
        self.region = region
        self.interface = interface
    }

    /// The body of `POST /v3/auth/tokens` (Identity API v3).
    var signIn: JSONValue {
        let (method, value): (String, JSONValue) =
            switch proof {
            case .password(let user): ("password", ["user": .object(user)])
            case .applicationCredential(let members): ("application_credential", .object(members))
            case .token(let token): ("token", ["id": .string(token.revealed)])
            }
        var auth: [String: JSONValue] = ["identity": .object(["methods": .array([.string(method)]), method: value])]
        auth["scope"] = scope
        return .object(["auth": .object(auth)])
    }
}
