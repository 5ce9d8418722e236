import Primitives

/// A program that acts for users (Keystone API v3 extension `OS-OAUTH1`); its secret is the secret `secretName`.
public typealias Consumer = IdentityEntry<ConsumerSpec>

/// What a consumer is.
public struct ConsumerSpec: IdentitySpec {
    public static let kind = "identity.consumer"

    /// For people; nil: never given.
    public var description: String?
    /// What callers keep with it.
    public var extra: [String: JSONValue]?

    /// A consumer.
    public init(description: String?) { self.description = description }

    /// The name of the secret that it signs with.
    public static func secretName(_ id: String) -> String { "consumer." + CatalogName.of(id) }
}

/// A step of a consumer to an access token, or an access token (`OS-OAUTH1`).
public typealias ConsumerToken = IdentityEntry<ConsumerTokenSpec>

/// What a consumer's token is.
public struct ConsumerTokenSpec: IdentitySpec {
    public static let kind = "identity.consumertoken"

    /// The consumer.
    public var consumerID: String
    /// The project that it was asked for.
    public var projectID: String
    /// How far it is.
    public var phase: Phase
    /// When it ends; nil: never.
    public var expires: Timestamp?

    /// The steps of RFC 5849 section 2.
    public enum Phase: Codable, Sendable, Hashable {
        /// Asked for by the consumer.
        case requested
        /// A user has lent roles; the consumer needs the verifier.
        case authorized(by: String, roleIDs: [String], verifier: String)
        /// An access token.
        case access(of: String, roleIDs: [String])
    }

    /// A token.
    public init(consumerID: String, projectID: String, phase: Phase, expires: Timestamp?) {
        self.consumerID = consumerID
        self.projectID = projectID
        self.phase = phase
        self.expires = expires
    }

    /// The user who has lent roles; nil: nobody yet.
    public var lender: String? {
        switch phase {
        case .requested: nil
        case .authorized(let user, _, _), .access(let user, _): user
        }
    }

    /// Whether it is an access token.
    public var isAccessToken: Bool {
        if case .access = phase { true } else { false }
    }

    /// The roles that were lent.
    public var roleIDs: [String] {
        switch phase {
        case .requested: []
        case .authorized(_, let roles, _), .access(_, let roles): roles
        }
    }

    /// The name of the secret that goes with it.
    public static func secretName(_ id: String) -> String { "consumertoken." + CatalogName.of(id) }
}
