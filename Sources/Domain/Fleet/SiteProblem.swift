import Primitives

/// One thing that is wrong with a site.
public struct SiteProblem: Hashable, Sendable, CustomStringConvertible {
    /// Where in the site, for example `segments[0].pool`; empty: the whole.
    public var path: String
    /// The line in the file, from 1; nil when the site did not come from a file.
    public var line: Int?
    /// What is wrong and what to do.
    public var message: String

    /// A problem.
    public init(path: String, line: Int? = nil, message: String) {
        self.path = path
        self.line = line
        self.message = message
    }

    /// `line 12: segments[0].pool: …`.
    public var description: String {
        let place = [line.map { "line \($0)" }, path.isEmpty ? nil : path].compactMap(\.self)
        return (place + [message]).joined(separator: ": ")
    }
}

/// A site that cannot be applied, with all that is wrong with it.
public struct SiteError: UserFacingError, Hashable {
    /// At least one, in the order of the file; at most `countMax`.
    public let problems: [SiteProblem]

    /// The most problems that are kept.
    public static let countMax = 50

    /// An error with these problems.
    public init(_ problems: [SiteProblem]) {
        self.problems = Array(problems.prefix(Self.countMax))
    }

    public var publicMessage: String {
        let count = problems.count
        let head = count == 1 ? "The site has a problem" : "The site has \(count) problems"
        return "\(head): " + problems.map(\.description).joined(separator: "\n")
    }
}

/// Limits of a site.
public enum SiteLimit {
    /// Bytes of a site file.
    public static let fileSize = ByteCount.mebibytes(1)
    /// Segments.
    public static let segmentCount = 64
    /// Pools of one segment.
    public static let poolCount = 8
    /// Reservations of one segment; with the rest they have to fit a document of the store.
    public static let reservationCount = 96
    /// Relays of one segment.
    public static let relayCount = 8
    /// Routes of one segment.
    public static let routeCount = 8
    /// BMCs.
    public static let bmcCount = 2000
    /// Rules.
    public static let ruleCount = 1000
    /// Facts of one rule.
    public static let factCount = 16
    /// Networks, and node networks.
    public static let networkCount = 200
    /// Interfaces, bonds and VLANs of one node network; each fits its document.
    public static let linkCount = 32
    /// Members of a bond.
    public static let memberCount = 8
    /// Addresses of one network that are given by node name.
    public static let hostCount = 250
    /// Addresses of a network's pool.
    public static let poolSize = 65_536
    /// Name servers, and time servers.
    public static let serverCount = 3
    /// Search domains.
    public static let searchCount = 6
    /// Bills of materials.
    public static let skuCount = 200
    /// Groups of disks, of network interfaces and of PCI devices of one bill.
    public static let skuGroupCount = 16
    /// Values that one fact is compared with.
    public static let factValueCount = 64
    /// Authorities of TPM makers.
    public static let tpmAuthorityCount = 64
    /// Bytes of an authority's certificate in PEM.
    public static let tpmCertificateSize = 8 << 10
    /// SSH keys.
    public static let sshKeyCount = 24
    /// Bytes of one SSH key.
    public static let sshKeyLength = 1024
    /// Bytes of any other text.
    public static let textLength = 200
    /// Bytes of a password.
    public static let passwordLength = 256
}
