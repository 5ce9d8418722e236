import AgentProtocol
import Primitives
import ResourceModel

/// What an operator may do; the rights of each are a table in `Identity`.
public enum OperatorRole: String, Codable, Sendable, Hashable, CaseIterable {
    /// Everything.
    case admin
    /// Works with machines; no tokens, secrets or audit.
    case member
    /// Reads.
    case reader
}

/// A bearer token of an operator; only its digest is stored. The resource's name is the operator's.
public struct OperatorToken: Resource {
    public static let kind = "identity.token"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: OperatorTokenSpec
    public var status: OperatorTokenStatus

    /// The token of the operator `name`.
    public init(name: String, created: Timestamp, spec: OperatorTokenSpec) {
        metadata = Metadata(name: name, schemaVersion: Self.schemaVersion, created: created)
        self.spec = spec
        status = OperatorTokenStatus()
    }
}

/// What an operator's token gives.
public struct OperatorTokenSpec: Codable, Sendable, Hashable {
    /// SHA-256 of the token's UTF-8 bytes.
    public var hash: Digest
    /// What its holder may do.
    public var role: OperatorRole
    /// When it ends; nil: never.
    public var expires: Timestamp?
    /// The token before this one, while it is still taken; nil: none is.
    public var previous: Previous?

    /// A token that another one has replaced.
    public struct Previous: Codable, Sendable, Hashable {
        /// SHA-256 of its UTF-8 bytes.
        public var hash: Digest
        /// When it ends.
        public var ends: Timestamp

        /// A token that ends then.
        public init(hash: Digest, ends: Timestamp) {
            self.hash = hash
            self.ends = ends
        }
    }

    /// A token's specification.
    public init(hash: Digest, role: OperatorRole, expires: Timestamp? = nil) {
        self.hash = hash
        self.role = role
        self.expires = expires
    }
}

/// What is known of an operator's token.
public struct OperatorTokenStatus: Codable, Sendable, Hashable {
    /// When it was made void; nil: it is not.
    public var revoked: Timestamp?
    /// When it last replaced another one; nil: never.
    public var rotated: Timestamp?
    /// SHA-256 of those that were replaced, the newest last, at most `replacedCountMax`: none comes back by a file.
    public var replaced: [Digest]?

    /// The most that are kept of those that were replaced.
    public static let replacedCountMax = 32

    /// In force.
    public init() {}
}

/// The one-time token with which a node's installed agent asks for its first certificate; only its digest is stored.
///
/// A node has at most one: the resource's name is the node's identifier, and a new token replaces the old one.
public struct EnrolmentToken: Resource {
    public static let kind = "identity.enrolment"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: EnrolmentTokenSpec
    public var status: EnrolmentTokenStatus

    /// The token of the node in `spec`.
    public init(created: Timestamp, spec: EnrolmentTokenSpec) {
        metadata = Metadata(name: spec.node.raw, schemaVersion: Self.schemaVersion, created: created)
        self.spec = spec
        status = EnrolmentTokenStatus()
    }
}

/// What an enrolment token is good for.
public struct EnrolmentTokenSpec: Codable, Sendable, Hashable {
    /// The only node that may use it.
    public var node: NodeID
    /// SHA-256 of the token's UTF-8 bytes.
    public var hash: Digest
    /// When it ends.
    public var expires: Timestamp
    /// The generation of the node's specification for which it was made.
    public var generation: Generation

    /// A token's specification.
    public init(node: NodeID, hash: Digest, expires: Timestamp, generation: Generation) {
        self.node = node
        self.hash = hash
        self.expires = expires
        self.generation = generation
    }
}

/// Whether an enrolment token has been used.
public struct EnrolmentTokenStatus: Codable, Sendable, Hashable {
    /// When it was used; nil: it was not.
    public var used: Timestamp?
    /// SHA-256 of the public key that was certified: the same node may repeat the same request, nobody else.
    public var usedFor: Digest?

    /// Not used yet.
    public init() {}
}
