import AgentProtocol
import Primitives

/// The site's certificate authorities, and how far the way from one to the next is.
public struct AuthorityRecord: Codable, Sendable, Hashable {
    /// `steady`, `introducing` or `replacing`.
    public var state: String
    /// Since when.
    public var since: Timestamp
    /// All that are trusted, the one that issues nodes' certificates first.
    public var authorities: [Authority]
    /// Their certificates in PEM: what clients of this conductor have to trust.
    public var bundle: String
    /// Who ordered the rotation that is under way; nil: none is.
    public var orderedBy: String?
    /// Whether nodes are told to renew their certificates at once.
    public var isHastened: Bool
    /// What comes next, for people; nil: nothing does.
    public var next: String?
    /// The nodes that the next step waits for.
    public var waiting: [Dependent]
    /// The conductor's time, to tell ages by.
    public var time: Timestamp

    /// One authority.
    public struct Authority: Codable, Sendable, Hashable {
        /// From 1, rises with each rotation.
        public var number: Int
        /// SHA-256 of its certificate.
        public var fingerprint: Digest
        /// When it ends.
        public var notAfter: Timestamp

        /// An authority.
        public init(number: Int, fingerprint: Digest, notAfter: Timestamp) {
            self.number = number
            self.fingerprint = fingerprint
            self.notAfter = notAfter
        }
    }

    /// A node that hangs on the older authority.
    public struct Dependent: Codable, Sendable, Hashable {
        /// Its name.
        public var node: String
        /// Why, for people.
        public var reasons: [String]
        /// When that ends by itself; nil: not known.
        public var until: Timestamp?
        /// What becomes of it when it is not waited for.
        public var whenForced: String

        /// A node.
        public init(node: String, reasons: [String], until: Timestamp?, whenForced: String) {
            self.node = node
            self.reasons = reasons
            self.until = until
            self.whenForced = whenForced
        }
    }

    /// A record.
    public init(
        state: String, since: Timestamp, authorities: [Authority], bundle: String, orderedBy: String?,
        isHastened: Bool, next: String?, waiting: [Dependent], time: Timestamp
    ) {
        self.state = state
        self.since = since
        self.authorities = authorities
        self.bundle = bundle
        self.orderedBy = orderedBy
        self.isHastened = isHastened
        self.next = next
        self.waiting = waiting
        self.time = time
    }
}

/// POST `authority/rotate`: begins a rotation, or hurries the one that is under way.
public struct RotateAuthorityRequest: Codable, Sendable, Hashable {
    /// Whether nodes are told to renew their certificates at once; nil: no.
    public var hastens: Bool?
    /// Whether the step that waits is made whatever hangs on the older authority; nil: no.
    public var force: Bool?

    /// A request.
    public init(hastens: Bool? = nil, force: Bool? = nil) {
        self.hastens = hastens
        self.force = force
    }
}

/// A node's certificate, as far as it is known.
public struct CertificateRecord: Codable, Sendable, Hashable {
    /// The serial number, hexadecimal.
    public var serial: String
    /// When it ends, or would have ended.
    public var notAfter: Timestamp
    /// SHA-256 of the certificate of the authority that issued it; nil for one that was revoked.
    public var authority: Digest?
    /// When it was revoked; nil: it is good.
    public var revoked: Timestamp?
    /// Who revoked it.
    public var revokedBy: String?
    /// Why.
    public var reason: String?

    /// A certificate.
    public init(
        serial: String, notAfter: Timestamp, authority: Digest?, revoked: Timestamp? = nil, revokedBy: String? = nil,
        reason: String? = nil
    ) {
        self.serial = serial
        self.notAfter = notAfter
        self.authority = authority
        self.revoked = revoked
        self.revokedBy = revokedBy
        self.reason = reason
    }
}

/// POST `nodes/{node}/revoke-certificate`: the node's certificates are accepted no more.
public struct RevokeRequest: Codable, Sendable, Hashable {
    /// Why, for people, at most 200 bytes; nil: nobody says.
    public var reason: String?

    /// The most bytes of a reason.
    public static let reasonLengthMax = 200

    /// A request.
    public init(reason: String? = nil) { self.reason = reason }
}
