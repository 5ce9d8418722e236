import Primitives
import ResourceModel

/// The site's certificate authorities and the way from one to the next. There is one; their keys are in the vault.
public struct SiteAuthority: Resource {
    public static let kind = "site.authority"
    public static let schemaVersion = 1
    /// The name of the only one.
    public static let name = "site"

    public var metadata: Metadata
    /// What was asked for: written by the API.
    public var spec: Spec
    /// Which authorities there are: written by the authority's controller.
    public var status: Status

    /// The authority of a new site.
    public init(created: Timestamp, first: Authority) {
        metadata = Metadata(name: Self.name, schemaVersion: Self.schemaVersion, created: created)
        spec = Spec()
        status = Status(state: .steady(first), since: created)
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// The newest order to replace the authority; nil: there was none.
        public var rotation: Rotation?

        /// Nothing.
        public init() {}
    }

    /// An order to replace the authority.
    public struct Rotation: Codable, Sendable, Hashable {
        /// The number of the authority that is to be in force.
        public var number: Int
        /// Who ordered it.
        public var by: String
        /// When.
        public var at: Timestamp
        /// Whether nodes are told to renew their certificates at once.
        public var isHastened: Bool
        /// The steps that go on whatever still hangs on the older authority.
        public var forced: [Step]

        /// An order.
        public init(number: Int, by: String, at: Timestamp, isHastened: Bool = false) {
            self.number = number
            self.by = by
            self.at = at
            self.isHastened = isHastened
            forced = []
        }
    }

    /// A step that waits for others.
    public enum Step: String, Codable, Sendable, Hashable {
        /// The servers show certificates of the newer authority.
        case serve
        /// The older authority is dropped.
        case drop
    }

    /// Which authorities there are.
    public struct Status: Codable, Sendable, Hashable {
        /// Where the rotation is.
        public var state: State
        /// Since when.
        public var since: Timestamp

        /// A status.
        public init(state: State, since: Timestamp) {
            self.state = state
            self.since = since
        }
    }

    /// Where the rotation is.
    public enum State: Codable, Sendable, Hashable {
        /// There is one authority.
        case steady(Authority)
        /// A newer one issues nodes' certificates and is told to all. The servers show certificates of the older one,
        /// with `cross`, a certificate of the newer for the key of the older, so that who trusts either believes them.
        case introducing(newer: Authority, older: Authority, cross: String)
        /// The servers show certificates of the newer one; nodes' certificates of the older are still accepted.
        case replacing(newer: Authority, older: Authority)
    }

    /// One authority, without its key.
    public struct Authority: Codable, Sendable, Hashable {
        /// From 1, rises with each rotation; names its secrets.
        public var number: Int
        /// SHA-256 of its certificate.
        public var fingerprint: Digest
        /// Its certificate in PEM.
        public var certificatePEM: String
        /// When it ends.
        public var notAfter: Timestamp

        /// An authority.
        public init(number: Int, fingerprint: Digest, certificatePEM: String, notAfter: Timestamp) {
            self.number = number
            self.fingerprint = fingerprint
            self.certificatePEM = certificatePEM
            self.notAfter = notAfter
        }
    }
}

extension SiteAuthority.State {
    /// The authority that issues nodes' certificates and that boot scripts name.
    public var newest: SiteAuthority.Authority {
        switch self {
        case .steady(let only): only
        case .introducing(let newer, _, _), .replacing(let newer, _): newer
        }
    }

    /// The one that is being replaced; nil: none is.
    public var older: SiteAuthority.Authority? {
        switch self {
        case .steady: nil
        case .introducing(_, let older, _), .replacing(_, let older): older
        }
    }

    /// All that are trusted, the newest first.
    public var trusted: [SiteAuthority.Authority] { [newest] + (older.map { [$0] } ?? []) }

    /// The step that comes next; nil: none does.
    public var nextStep: SiteAuthority.Step? {
        switch self {
        case .steady: nil
        case .introducing: .serve
        case .replacing: .drop
        }
    }
}
