import Primitives
import ResourceModel

/// The certificates that a node was given, those that were revoked among them. The resource's name is the node's
/// identifier; it outlives the node, and is deleted once all of its certificates have ended.
public struct NodeCertificates: Resource {
    public static let kind = "identity.certificates"
    public static let schemaVersion = 1

    public var metadata: Metadata
    /// What was revoked: written when somebody says so, or what a certificate stood for is at an end.
    public var spec: Spec
    /// What was given: written by the register whenever one is issued or told of.
    public var status: Status

    /// A node without certificates.
    public init(node name: String, created: Timestamp) {
        metadata = Metadata(name: name, schemaVersion: Self.schemaVersion, created: created)
        spec = Spec()
        status = Status()
    }

    /// The most certificates of a node that are good at one time.
    public static let issuedCountMax = 32
    /// The most revoked ones that are told of; an older one stays refused, as it is on no list any more.
    public static let revokedCountMax = 32
    /// How long one is kept beyond its end, for machines and conductors whose clocks differ.
    public static let grace: Duration = .seconds(86_400)

    /// What was revoked.
    public struct Spec: Codable, Sendable, Hashable {
        /// The revoked certificates, oldest first.
        public var revoked: [Revoked]
        /// Whether a certificate that `status.issued` does not name is refused: so after the first revocation, which
        /// also meets certificates of the time before they were listed.
        public var refusesUnlisted: Bool

        /// Nothing.
        public init() {
            revoked = []
            refusesUnlisted = false
        }
    }

    /// A certificate that is not accepted any more.
    public struct Revoked: Codable, Sendable, Hashable {
        /// Its serial number, hexadecimal.
        public var serial: String
        /// When it would have ended.
        public var notAfter: Timestamp
        /// When it was revoked.
        public var at: Timestamp
        /// Who revoked it, for example `operator:admin`.
        public var by: String
        /// Why, for people.
        public var reason: String

        /// A revoked certificate.
        public init(serial: String, notAfter: Timestamp, at: Timestamp, by: String, reason: String) {
            self.serial = serial
            self.notAfter = notAfter
            self.at = at
            self.by = by
            self.reason = reason
        }
    }

    /// What was given.
    public struct Status: Codable, Sendable, Hashable {
        /// The certificates that are good, oldest first.
        public var issued: [Issued]
        /// The serial number of the one that the node has told or used last; nil: none yet.
        public var held: String?
        /// SHA-256 of the authorities' certificates that the node was deployed with or has told to trust; nil: none is
        /// known.
        public var trusted: [Digest]?
        /// Until when a deployment that was ordered may ask for its first certificate; nil: none was.
        public var enrolsUntil: Timestamp?

        /// Nothing.
        public init() { issued = [] }
    }

    /// A certificate that was given.
    public struct Issued: Codable, Sendable, Hashable {
        /// Its serial number, hexadecimal.
        public var serial: String
        /// SHA-256 of the certificate of the authority that issued it.
        public var authority: Digest
        /// When it was issued.
        public var at: Timestamp
        /// When it ends.
        public var notAfter: Timestamp

        /// A certificate.
        public init(serial: String, authority: Digest, at: Timestamp, notAfter: Timestamp) {
            self.serial = serial
            self.authority = authority
            self.at = at
            self.notAfter = notAfter
        }
    }
}

extension NodeCertificates {
    /// Whether a certificate of the node, proved by its chain, is accepted.
    public func accepts(_ serial: String) -> Bool {
        guard !spec.revoked.contains(where: { $0.serial == serial }) else { return false }
        return !spec.refusesUnlisted || status.issued.contains { $0.serial == serial }
    }

    /// The certificate that the node holds as far as is known: the one told or used last, else the newest.
    public var held: Issued? {
        status.issued.last { $0.serial == status.held } ?? status.issued.last
    }

    /// The newest revocation, when the node holds nothing that is good; nil: it does, or nothing was revoked.
    public var shutOut: Revoked? { status.issued.isEmpty ? spec.revoked.last : nil }

    /// Adds a certificate; one of these serials that is there already is left as it is.
    public mutating func add(_ certificate: Issued) {
        guard !status.issued.contains(where: { $0.serial == certificate.serial }) else { return }
        status.issued.append(certificate)
    }

    /// Revokes all that is good, and tells how many that were; what the list does not name is refused from now on.
    @discardableResult
    public mutating func revokeAll(at now: Timestamp, by: String, reason: String) -> Int {
        let revoked = status.issued.map {
            Revoked(serial: $0.serial, notAfter: $0.notAfter, at: now, by: by, reason: reason.printable(limit: 200))
        }
        spec.revoked = (spec.revoked + revoked).suffix(Self.revokedCountMax)
        spec.refusesUnlisted = true
        status.issued = []
        status.held = nil
        status.enrolsUntil = nil
        return revoked.count
    }

    /// Takes out what has ended `grace` ago.
    public mutating func prune(at now: Timestamp) {
        let limit = now.advanced(by: .zero - Self.grace)
        spec.revoked.removeAll { $0.notAfter < limit }
        status.issued.removeAll { $0.notAfter < limit }
    }
}
