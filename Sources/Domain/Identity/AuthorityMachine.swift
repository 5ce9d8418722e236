import AgentProtocol
import CatalogIdentity
import Primitives

/// The rotation of the site's authority as a pure step: what to do next, given what still hangs on the older one.
///
/// Each step may be done twice, and a conductor that ends between any two goes on where the status says.
public enum AuthorityMachine {
    /// What to do next.
    public enum Step: Sendable, Hashable {
        /// Nothing: it rests, or waits.
        case rest
        /// Make authority `number` and tell it to all.
        case introduce(number: Int)
        /// Have the servers show certificates of the newer one.
        case serve
        /// Trust the older one no more, and delete its key.
        case drop
    }

    /// The next step of `authority`.
    public static func next(_ authority: SiteAuthority, hanging: AuthorityDependents) -> Step {
        switch authority.status.state {
        case .steady(let only):
            guard let wanted = authority.spec.rotation?.number, wanted > only.number else { return .rest }
            return .introduce(number: only.number + 1)
        case .introducing:
            return mayGoOn(.serve, authority, hanging) ? .serve : .rest
        case .replacing:
            return mayGoOn(.drop, authority, hanging) ? .drop : .rest
        }
    }

    /// What the step that comes next waits for; empty: nothing.
    public static func waiting(
        for step: SiteAuthority.Step?, _ hanging: AuthorityDependents
    ) -> [AuthorityDependents.Dependent] {
        switch step {
        case .serve: hanging.dependents.filter { !$0.reasons.isDisjoint(with: [.trustsOlderOnly, .bootedBefore]) }
        case .drop: hanging.dependents.filter { !$0.reasons.isEmpty }
        case nil: []
        }
    }

    private static func mayGoOn(
        _ step: SiteAuthority.Step, _ authority: SiteAuthority, _ hanging: AuthorityDependents
    ) -> Bool {
        let forced = authority.spec.rotation?.forced ?? []
        return forced.contains(step) || waiting(for: step, hanging).isEmpty
    }
}

/// The nodes that the older authority cannot be dropped for.
public struct AuthorityDependents: Sendable, Hashable {
    /// Each with what it is, by node.
    public var dependents: [Dependent]

    /// Dependents.
    public init(_ dependents: [Dependent] = []) { self.dependents = dependents }

    /// One node.
    public struct Dependent: Sendable, Hashable {
        /// The node.
        public var node: NodeID
        /// Why it hangs on the older authority.
        public var reasons: Set<Reason>
        /// When the last of it ends by itself; nil: not known.
        public var until: Timestamp?

        /// A dependent.
        public init(node: NodeID, reasons: Set<Reason>, until: Timestamp?) {
            self.node = node
            self.reasons = reasons
            self.until = until
        }
    }

    /// Why a node hangs on the older authority.
    public enum Reason: String, Sendable, Hashable, Comparable {
        /// It has not told that it trusts the newer one.
        case trustsOlderOnly
        /// It holds a certificate of the older one.
        case holdsOlderCertificate
        /// Its ramdisk was booted before the newer one was made.
        case bootedBefore

        public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    /// What is known of one node.
    public struct Facts: Sendable {
        /// The node.
        public var node: NodeID
        /// Whether an agent of it has been enrolled at some time.
        public var isEnrolled: Bool
        /// Its certificates; nil: none are listed.
        public var certificates: NodeCertificates?
        /// When the ramdisk that it runs now was first heard of; nil: it runs none.
        public var ramdiskSince: Timestamp?

        /// What is known.
        public init(
            node: NodeID, isEnrolled: Bool, certificates: NodeCertificates?, ramdiskSince: Timestamp?
        ) {
            self.node = node
            self.isEnrolled = isEnrolled
            self.certificates = certificates
            self.ramdiskSince = ramdiskSince
        }
    }

    /// How long after a boot script was handed out its ramdisk may post its inventory first.
    public static let bootTime: Duration = .seconds(900)

    /// The nodes that hang on the older authority of `state`, which began `since`.
    public init(of state: SiteAuthority.State, since begun: Timestamp, _ facts: some Sequence<Facts>, now: Timestamp) {
        guard state.older != nil else {
            self.init()
            return
        }
        let newest = state.newest.fingerprint
        self.init(facts.compactMap { Self.dependent($0, newest: newest, begun: begun, now: now) })
    }

    private static func dependent(
        _ facts: Facts, newest: Digest, begun: Timestamp, now: Timestamp
    ) -> Dependent? {
        var reasons: Set<Reason> = []
        var until: Timestamp?
        if let booted = facts.ramdiskSince, booted < begun.advanced(by: bootTime) { reasons.insert(.bootedBefore) }
        if let certificates = facts.certificates, certificates.spec.refusesUnlisted || certificates.held != nil {
            // What has ended or was revoked opens nothing.
            if let held = certificates.held, held.notAfter > now {
                until = held.notAfter
                if certificates.status.trusted?.contains(newest) != true { reasons.insert(.trustsOlderOnly) }
                if held.authority != newest { reasons.insert(.holdsOlderCertificate) }
            }
            if let end = certificates.status.enrolsUntil, end > now,
                certificates.status.trusted?.contains(newest) != true
            {
                // Its disk was written with the older authority only.
                until = max(until ?? end, end)
                reasons.insert(.trustsOlderOnly)
            }
        } else if facts.isEnrolled {
            // Its certificate is of the time before they were listed, and has ended a life after the newer authority
            // was made at the latest.
            let end = begun.advanced(by: CertificateAuthority.nodeLifetime)
            if end > now {
                until = end
                reasons = reasons.union([.trustsOlderOnly, .holdsOlderCertificate])
            }
        }
        return reasons.isEmpty ? nil : Dependent(node: facts.node, reasons: reasons, until: until)
    }
}
