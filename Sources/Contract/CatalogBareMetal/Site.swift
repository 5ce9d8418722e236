import AgentProtocol
import Primitives
import ResourceModel

/// The site as a whole. There is one, named `site`.
public struct Site: Resource {
    public static let kind = "fleet.site"
    public static let schemaVersion = 1
    /// The only name.
    public static let name = "site"

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// The site.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// The site's name.
        public var name: String
        /// OpenSSH public keys of the operators, one line each.
        public var sshKeys: [String]
        /// Seconds between two metric reports of a node.
        public var metricsIntervalSeconds: Int
        /// The overlay that network nodes prove their dataplane with.
        public var overlay: Overlay?
        /// Seconds in which a node has to reach the conductor over a new network configuration, 10 to 600; nil: 60.
        public var networkConfirmSeconds: Int?
        /// The time servers of nodes whose network names none, by address or name.
        public var ntpServers: [String]?
        /// The port at which controller nodes offer the conductors' API; nil: 9443.
        public var proxyPort: Int?
        /// What TPMs are trusted by, beside the authorities; nil: the defaults.
        public var tpm: TPMPolicy?

        /// An overlay that every network node carries.
        public struct Overlay: Codable, Sendable, Hashable {
            /// The VXLAN network identifier.
            public var vni: UInt32
            /// The MTU inside it.
            public var mtu: UInt32

            /// An overlay.
            public init(vni: UInt32, mtu: UInt32 = 1450) {
                self.vni = vni
                self.mtu = mtu
            }
        }

        /// A site.
        public init(name: String, sshKeys: [String], metricsIntervalSeconds: Int = 15, overlay: Overlay? = nil) {
            self.name = name
            self.sshKeys = sshKeys
            self.metricsIntervalSeconds = metricsIntervalSeconds
            self.overlay = overlay
        }
    }
}

/// A baseboard management controller.
public struct BMC: Resource {
    public static let kind = "baremetal.bmc"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: Status

    /// A BMC.
    public init(metadata: Metadata, spec: Spec, status: Status) {
        self.metadata = metadata
        self.spec = spec
        self.status = status
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// `http://host:port`, `https://host:port` or `ipmi://host:port`; the machine's own segment should not reach it.
        public var address: String
        /// The Redfish system's identifier; nil: the only one there is.
        public var system: String?
        /// The user.
        public var username: String
        /// The `Secret` that holds the password.
        public var passwordSecret: String
        /// SHA-256 of the TLS certificate that is trusted; nil: the one that was approved, else what the system's trust
        /// store vouches for.
        public var certificateDigest: Digest?
        /// The certificate that an operator has approved; nil: none. It goes with the address.
        public var approvedCertificate: ApprovedCertificate?
        /// The cipher suite of IPMI; nil: 3.
        public var cipherSuite: Int?
        /// Where the machine's serial console is (`ConsoleAddress`); nil: serial over LAN of a BMC that speaks IPMI.
        public var console: String?
        /// Whether that console is open always, so that all it shows is recorded; nil: only while somebody looks.
        public var recordsConsole: Bool?
        /// Whether a machine that is off and unknown is switched on to be discovered.
        public var powersOnForDiscovery: Bool
        /// How the machine boots the ramdisk; nil: from the network (PXE).
        public var boot: BootWay?
        /// The newest power order for a machine that is no node yet; a node's own order is in its specification.
        public var power: Node.PowerRequest?
        /// The newest order to change the password; nil: there was none.
        public var passwordOrder: PasswordOrder?

        /// A BMC.
        public init(
            address: String, system: String?, username: String, passwordSecret: String,
            certificateDigest: Digest? = nil, cipherSuite: Int? = nil, powersOnForDiscovery: Bool = false,
            boot: BootWay? = nil
        ) {
            self.boot = boot
            self.address = address
            self.system = system
            self.username = username
            self.passwordSecret = passwordSecret
            self.certificateDigest = certificateDigest
            self.cipherSuite = cipherSuite
            self.powersOnForDiscovery = powersOnForDiscovery
        }
    }

    /// A certificate that an operator has looked at and found to be the BMC's.
    public struct ApprovedCertificate: Codable, Sendable, Hashable {
        /// SHA-256 of the certificate.
        public var digest: Digest
        /// Who approved it.
        public var by: String
        /// When.
        public var at: Timestamp

        /// An approval.
        public init(digest: Digest, by: String, at: Timestamp) {
            self.digest = digest
            self.by = by
            self.at = at
        }
    }

    /// How a machine boots the ramdisk.
    public enum BootWay: String, Codable, Sendable, Hashable, CaseIterable {
        /// By PXE or the firmware's own network boot.
        case network
        /// UEFI firmware fetches an image whose URL the BMC gives it.
        case http
        /// The BMC shows an image as a CD.
        case media
    }

    /// What was seen.
    public struct Status: Codable, Sendable, Hashable {
        /// Whether the last call was answered.
        public var isReachable: Bool
        /// The certificate that it showed and that is not trusted: nothing is sent to it; nil: none.
        public var refusedCertificate: RefusedCertificate?
        /// Why not.
        public var lastError: String?
        /// The power; `unknown` while the BMC does not answer.
        public var power: PowerState
        /// Since when it is so.
        public var powerSince: Timestamp?
        /// The system's UUID, lowercase.
        public var systemUUID: String?
        /// The system's serial number.
        public var serial: String?
        /// Manufacturer and model.
        public var model: String?
        /// The version of the BMC's own firmware.
        public var firmwareVersion: String?
        /// When it was last asked.
        public var checked: Timestamp?
        /// When the machine was last switched on to be discovered.
        public var discoveryPowerOn: Timestamp?
        /// The power order that was carried out; nil: none.
        public var powerSeen: UInt64?
        /// What is known of the password; nil: it is the site file's and was never changed.
        public var password: PasswordStatus?

        /// Nothing is known yet.
        public init() {
            isReachable = false
            power = .unknown
        }
    }

    /// A certificate that a BMC showed and that is not trusted.
    public struct RefusedCertificate: Codable, Sendable, Hashable {
        /// SHA-256 of the certificate.
        public var digest: Digest
        /// When it was shown first.
        public var since: Timestamp

        /// A refused certificate.
        public init(digest: Digest, since: Timestamp) {
            self.digest = digest
            self.since = since
        }
    }
}

extension BMC.Spec {
    /// SHA-256 of the only certificate that is trusted: what the site says, else what was approved; nil: the system's
    /// trust store has to vouch for it.
    public var trustedCertificate: Digest? { certificateDigest ?? approvedCertificate?.digest }
}

/// A rule that a machine's facts are held against when it registers.
public struct Rule: Resource {
    public static let kind = "baremetal.rule"
    public static let schemaVersion = 1

    public var metadata: Metadata
    public var spec: Spec
    public var status: NoStatus

    /// A rule.
    public init(metadata: Metadata, spec: Spec) {
        self.metadata = metadata
        self.spec = spec
        status = NoStatus()
    }

    /// What was asked for.
    public struct Spec: Codable, Sendable, Hashable {
        /// Lower comes first; the first rule that matches decides each field that it sets. Rules of one order that both
        /// match must not contradict each other.
        public var order: Int
        /// All must hold.
        public var match: [Fact]
        /// The name it gives, or a pattern for names; see `NamePattern`.
        public var name: String?
        /// The role it gives.
        public var role: Role?
        /// The rack that the machine stands in.
        public var rack: String?
        /// The root disk it chooses.
        public var rootDisk: RootDiskHint?
        /// The disks that it gives to a storage node's pool.
        public var dataDisks: DataDisks?
        /// The BMC it names.
        public var bmc: String?
        /// The node network it chooses, by name.
        public var network: String?
        /// The bill of materials that the machine has to meet, by name; see `SKU`.
        public var sku: String?
        /// Whether a machine that matches is let in without an operator.
        public var approves: Bool

        /// A rule.
        public init(
            order: Int, match: [Fact], name: String? = nil, role: Role? = nil, rootDisk: RootDiskHint? = nil,
            dataDisks: DataDisks? = nil, bmc: String? = nil, approves: Bool = false, rack: String? = nil,
            sku: String? = nil
        ) {
            self.sku = sku
            self.order = order
            self.match = match
            self.name = name
            self.role = role
            self.rack = rack
            self.rootDisk = rootDisk
            self.dataDisks = dataDisks
            self.bmc = bmc
            self.approves = approves
        }
    }

    /// One comparison.
    public struct Fact: Codable, Sendable, Hashable {
        /// For example `system.serial`; see `FactPath`.
        public var path: String
        /// How.
        public var comparison: Comparison
        /// With what; the first of several.
        public var value: String
        /// The others of several, for `in`.
        public var others: [String]?

        /// All that it is compared with.
        public var values: [String] { [value] + (others ?? []) }

        /// How a fact is compared. Of several values that a machine has, any may fit; for `not`, none may be the one.
        public enum Comparison: String, Codable, Sendable, Hashable, CaseIterable {
            /// It is this value.
            case equals
            /// It is told and is not this value.
            case not
            /// It is one of these values.
            case oneOf = "in"
            /// It fits this pattern (`GlobPattern`).
            case matches
            /// It begins so.
            case hasPrefix
            /// One of its several values is this one.
            case contains
            /// It is told (`true`), or is not (`false`).
            case exists
            /// It is this number or more.
            case atLeast
            /// It is this number or less.
            case atMost
        }

        /// A comparison.
        public init(path: String, comparison: Comparison, value: String, others: [String]? = nil) {
            self.path = path
            self.comparison = comparison
            self.value = value
            self.others = others
        }
    }
}
