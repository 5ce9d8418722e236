/// POST `site/check`: whether the conductor's surroundings are fit for a site.
public struct SiteCheckRequest: Codable, Sendable, Hashable {
    /// The site to check; nil: the one that was applied.
    public var site: SiteDocument?

    /// A request.
    public init(site: SiteDocument? = nil) { self.site = site }
}

/// What the checks of a site found.
public struct SiteCheckReply: Codable, Sendable, Hashable {
    /// The findings, in the order of the checks.
    public var rows: [Row]

    /// One finding.
    public struct Row: Codable, Sendable, Hashable {
        /// The check, for example `clock`.
        public var check: String
        /// What it looked at, for example a segment's name.
        public var subject: String
        /// How it came out.
        public var outcome: Outcome
        /// What is so.
        public var found: String
        /// What to change; nil: nothing.
        public var change: String?
        /// For programs, what is wrong: a `Problem`, or one that this version does not know; nil: nothing.
        public var problem: String?

        /// A finding.
        public init(
            check: String, subject: String, outcome: Outcome, found: String, change: String? = nil,
            problem: Problem? = nil
        ) {
            self.check = check
            self.subject = subject
            self.outcome = outcome
            self.found = found
            self.change = change
            self.problem = problem?.rawValue
        }
    }

    /// All that a check can find wrong.
    public enum Problem: String, Codable, Sendable, Hashable, CaseIterable {
        // The site file.
        case siteNotApplied
        // A segment's interface.
        case interfaceMissing, interfaceDown, interfaceWithoutCarrier, serverAddressMissing, prefixLengthDiffers
        case mtuTooSmall
        // Who else answers DHCP.
        case segmentNotAsked, otherBootServer, otherDHCPServer, proxyWithoutServer
        case relayDoesNotAnswer, relayWithoutRoute
        case portHeld
        // Time.
        case hostClockWrong, hardwareClockOff, timeServerNotNamed, timeServerUnknown, clockOff
        case timeServerDoesNotAnswer
        // Names.
        case nameServerRefuses, nameServerDoesNotAnswer
        // BMCs.
        case bmcPasswordUnknown, bmcLoginRefused, bmcUnreachable, bmcCertificateUntrusted, bmcTooSlow, bmcFails
        case bmcNotAsked
        // The conductor's disk.
        case diskSpaceUnknown, diskSpaceTooSmall, diskSpaceScarce
        // What machines boot and are given.
        case ramdiskMissing, blobMissing, roleImageMissing, bootProgramMissing
        // The certificate authority.
        case authorityNotYetValid, authorityEnded, authorityEndsSoon
    }

    /// How a check came out.
    public enum Outcome: String, Codable, Sendable, Hashable, CaseIterable {
        /// As it should be.
        case ok
        /// It works, but somebody should look.
        case warning
        /// Something has to be changed first.
        case failed
        /// There was nothing to look at.
        case skipped
    }

    /// Whether something has to be changed first.
    public var hasFailed: Bool { rows.contains { $0.outcome == .failed } }

    /// A reply.
    public init(rows: [Row]) { self.rows = rows }
}
