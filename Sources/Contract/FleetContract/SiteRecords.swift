import AgentProtocol
import CatalogBareMetal
import Primitives

/// PUT `site`: all that the operator's site file says; what it does not name is taken away.
public struct SiteDocument: Codable, Sendable, Hashable {
    /// The site as a whole.
    public var site: Site.Spec
    /// The segments.
    public var segments: [SegmentEntry]
    /// The BMCs with their passwords.
    public var bmcs: [BMCEntry]
    /// The rules.
    public var rules: [RuleEntry]
    /// The bills of materials; nil: none.
    public var skus: [SKUEntry]?
    /// The networks in which nodes have addresses; nil: none.
    public var networks: [NetworkEntry]?
    /// How nodes are cabled and addressed; nil: all by DHCP.
    public var nodeNetworks: [NodeNetworkEntry]?
    /// The authorities of TPM makers that are trusted; nil: none.
    public var tpmAuthorities: [TPMAuthorityEntry]?

    /// A segment.
    public struct SegmentEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// What it is.
        public var spec: Segment.Spec

        /// A segment.
        public init(name: String, spec: Segment.Spec) {
            self.name = name
            self.spec = spec
        }
    }

    /// A BMC.
    public struct BMCEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// `http://host:port`, `https://host:port` or `ipmi://host:port`.
        public var address: String
        /// The Redfish system's identifier; nil: the only one there is.
        public var system: String?
        /// The user.
        public var username: String
        /// The password; nil: the one that is kept already.
        public var password: Password?
        /// SHA-256 of the TLS certificate that is trusted; nil: the system's trust store.
        public var certificateDigest: Digest?
        /// The cipher suite of IPMI; nil: 3.
        public var cipherSuite: Int?
        /// Where the machine's serial console is, `ipmi://HOST[:PORT]`, `tcp://HOST:PORT` or `unix:///PATH`; nil: serial over
        /// LAN of a BMC that speaks IPMI.
        public var console: String?
        /// Whether that console is open always, so that all it shows is recorded; nil: only while somebody looks.
        public var recordsConsole: Bool?
        /// Whether a machine that is off and unknown is switched on to be discovered.
        public var powersOnForDiscovery: Bool
        /// How its machine boots the ramdisk; nil: from the network.
        public var boot: BMC.BootWay?

        /// A BMC.
        public init(
            name: String, address: String, system: String? = nil, username: String, password: Password?,
            certificateDigest: Digest? = nil, cipherSuite: Int? = nil, powersOnForDiscovery: Bool = false,
            boot: BMC.BootWay? = nil
        ) {
            self.boot = boot
            self.name = name
            self.address = address
            self.system = system
            self.username = username
            self.password = password
            self.certificateDigest = certificateDigest
            self.cipherSuite = cipherSuite
            self.powersOnForDiscovery = powersOnForDiscovery
        }

        /// The name of the secret that keeps the password.
        public var secretName: String { PasswordSlot.current.secretName(of: name) }
    }

    /// A bill of materials.
    public struct SKUEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// What is on it.
        public var spec: SKU.Spec

        /// A bill of materials.
        public init(name: String, spec: SKU.Spec) {
            self.name = name
            self.spec = spec
        }
    }

    /// A rule.
    public struct RuleEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// What it asks for and gives.
        public var spec: Rule.Spec

        /// A rule.
        public init(name: String, spec: Rule.Spec) {
            self.name = name
            self.spec = spec
        }
    }

    /// A network.
    public struct NetworkEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// What it is.
        public var spec: PlaneNetwork.Spec

        /// A network.
        public init(name: String, spec: PlaneNetwork.Spec) {
            self.name = name
            self.spec = spec
        }
    }

    /// A node network.
    public struct NodeNetworkEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// What it is.
        public var spec: NodeNetwork.Spec

        /// A node network.
        public init(name: String, spec: NodeNetwork.Spec) {
            self.name = name
            self.spec = spec
        }
    }

    /// An authority of a TPM maker.
    public struct TPMAuthorityEntry: Codable, Sendable, Hashable {
        /// Its name.
        public var name: String
        /// Its certificate in PEM; nil: the one that is kept already.
        public var certificate: String?

        /// An authority.
        public init(name: String, certificate: String?) {
            self.name = name
            self.certificate = certificate
        }
    }

    /// A site's content.
    public init(
        site: Site.Spec, segments: [SegmentEntry] = [], bmcs: [BMCEntry] = [], rules: [RuleEntry] = []
    ) {
        self.site = site
        self.segments = segments
        self.bmcs = bmcs
        self.rules = rules
    }
}

/// A password on its way to the conductor; it prints as dots.
public struct Password: Codable, Sendable, Hashable, CustomStringConvertible, CustomReflectable {
    /// The password itself; never print or log it.
    public let clearText: String

    /// A password.
    public init(_ clearText: String) { self.clearText = clearText }

    public init(from decoder: any Decoder) throws {
        clearText = try decoder.singleValueContainer().decode(String.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(clearText)
    }

    public var description: String { "•••" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// What applying a site changes, or would.
public struct SitePlanReply: Codable, Sendable, Hashable {
    /// The changes in the order in which they are made.
    public var changes: [Change]
    /// Whether they were only shown.
    public var isDryRun: Bool

    /// One resource that is made, changed or taken away.
    public struct Change: Codable, Sendable, Hashable {
        /// What is done.
        public var action: Action
        /// `site`, `segment`, `bmc`, `password`, `rule`, `network`, `node network` or `TPM authority`.
        public var kind: String
        /// Its name.
        public var name: String
        /// The fields that change; those of a new resource have no `before`.
        public var fields: [Field]

        /// What is done.
        public enum Action: String, Codable, Sendable, Hashable {
            case create
            case update
            case delete
        }

        /// A change.
        public init(action: Action, kind: String, name: String, fields: [Field]) {
            self.action = action
            self.kind = kind
            self.name = name
            self.fields = fields
        }
    }

    /// A field before and after.
    public struct Field: Codable, Sendable, Hashable {
        /// The path in the resource, for example `pools[0].end` or `overlay.vni`.
        public var path: String
        /// nil: it was not there.
        public var before: String?
        /// nil: it is not there any more.
        public var after: String?

        /// A field.
        public init(path: String, before: String?, after: String?) {
            self.path = path
            self.before = before
            self.after = after
        }
    }

    /// A plan.
    public init(changes: [Change], isDryRun: Bool) {
        self.changes = changes
        self.isDryRun = isDryRun
    }
}
