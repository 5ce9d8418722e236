import AgentProtocol
import Primitives

/// The times that a step is made at: intervals run on `uptime`, so that a corrected clock neither stops nor hurries
/// anything; certificates end by `wall`.
struct AgentTime: Sendable, Hashable {
    /// The node's wall clock.
    var wall: Timestamp
    /// Monotonic time since an arbitrary point.
    var uptime: Duration
    /// Whether a time service keeps the wall clock.
    var isSynchronised = false
}

/// From when to when a certificate is valid, and which it is.
struct CertificateValidity: Sendable, Hashable {
    var notBefore: Timestamp
    var notAfter: Timestamp
    /// Its serial number, hexadecimal.
    var serial: String?
    /// The identifier of the key that it was signed with, hexadecimal.
    var authorityKey: String?

    /// When a third of the life is gone: the rest is for the time that no conductor can be reached.
    var renewal: Timestamp {
        notBefore.advanced(by: .milliseconds(notAfter.since(notBefore).milliseconds / 3))
    }
}

/// What the disk told.
struct StoredIdentity: Sendable, Hashable {
    var identity: AgentIdentityFile
    var certificate: CertificateValidity?
    /// The authorities in `ca.pem`.
    var authorities: [KnownAuthority] = []
}

/// An authority that this node trusts.
struct KnownAuthority: Sendable, Hashable {
    /// SHA-256 of its certificate.
    var fingerprint: Digest
    /// The identifier of its key, hexadecimal.
    var key: String?
    /// Its certificate.
    var pem: String
}

/// Why an enrolment failed.
struct EnrolmentFailure: Error, Sendable, Hashable {
    /// What happened and what to do.
    var message: String
    /// Whether the conductor refused, so that trying again soon is of no use.
    var isRefusal: Bool
}

/// What happens to an agent.
enum AgentEvent: Sendable, Hashable {
    case started(StoredIdentity, NodeView?)
    case reloaded(StoredIdentity)
    case tick
    case enrolled(CertificateValidity)
    case enrolmentFailed(EnrolmentFailure)
    case connected
    case connectFailed(String)
    case received(ConductorMessage)
    case disconnected(String)
    case rolesChecked(
        [NodeStatusReport.RoleStatus], addresses: [IPv4Address], node: [Condition] = [],
        wish: ControllerSecretsRequest? = nil)
    case replyTaken
    case nodeChanged
    case metricsCollected([MetricsReport.Sample])
    case roleCameBack(Role)
    case roleChanged(Role)
    case renewalReady(signingRequest: String)
    case certificateInstalled(CertificateValidity)
    case certificateRefused(String)
    case authoritiesKept([KnownAuthority])
}

/// What an agent does.
enum AgentEffect: Sendable, Hashable {
    case reload
    case enrol(endpoint: String)
    case connect(endpoint: String)
    case send(AgentMessage)
    case sendLogs
    case disconnect(String)
    case saveView(NodeView)
    case saveConductors([String])
    case keepAuthorities([String])
    case apply(NodeView)
    case check
    case take(ControllerSecretsReply)
    case collectMetrics
    case prepareRenewal
    case installCertificate(EnrolmentReply)
    case setClock(Timestamp)
    case log(AgentLogLevel, String)
}

/// How important a line is.
enum AgentLogLevel: Sendable, Hashable {
    case info
    case warning
    case error
}

/// An agent's whole state: one enrolment, one stream, one piece of role work at a time.
///
/// `step` is pure; the shell carries the effects out and brings back what came of them.
struct AgentState: Sendable, Hashable {
    /// Seconds between two attempts when the conductor has refused.
    static let refusalDelay: Duration = .seconds(300)
    /// The longest pause between two attempts to connect.
    static let backoffMax: Duration = .seconds(60)
    /// The longest pause that a conductor can ask for.
    static let goodbyeDelayMax: Duration = .seconds(3600)
    /// Seconds between two status reports at most.
    static let statusInterval: Duration = .seconds(30)
    /// Between two looks that a role asked for.
    static let attentionPause: Duration = .seconds(1)
    /// Seconds between two log batches.
    static let logInterval: Duration = .seconds(2)
    /// Seconds between two requests for a new certificate.
    static let renewalPause: Duration = .seconds(60)
    /// Between the first two requests for what a role lacks, and the longest pause; it doubles from one to the next.
    static let wishPauses = (first: Duration.seconds(2), most: Duration.seconds(300))
    /// The most conductors that are kept.
    static let conductorCountMax = 16
    /// The metrics interval unless the view has another.
    static let metricsIntervalDefault = 15

    enum Phase: Sendable, Hashable {
        case starting
        case waiting
        case enrolling
        case connecting
        case greeting
        case open
    }

    enum RoleWork: Int, Sendable, Hashable, Comparable {
        case take
        case apply
        case check
        case metrics

        static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    let roles: [Role]
    let agentVersion: String
    let bootID: String
    var identity: AgentIdentityFile?
    var certificate: CertificateValidity?
    /// The authorities in `ca.pem`.
    var authorities: [KnownAuthority] = []
    /// What the node shall be; nil while nothing is known of that, and then the roles leave all as it is.
    var view: NodeView?
    var phase = Phase.starting
    var target = 0
    var failures = 0
    var mustResync = false
    var hasStatus = false
    var runningWork: RoleWork?
    var wantedWork: Set<RoleWork> = []
    var applying = NodeView.empty
    var status = NodeStatusReport(observedRevision: .zero, observedGeneration: Generation(0), roles: [], addresses: [])
    var statusSent: NodeStatusReport?
    var retryAt: Duration?
    var statusAt: Duration?
    /// Looks in a row that found a role not ready.
    var unreadyCount = 0
    /// When a role that has noticed something is looked at; nil while none has.
    var attentionAt: Duration?
    /// When roles were looked at last, or a look that one of them asked for began.
    var lookedAt: Duration?
    var metricsAt: Duration?
    var logsAt: Duration?
    var renewalAskedAt: Duration?
    /// What a role lacks.
    var wish: ControllerSecretsRequest?
    /// When that was asked for last; nil: not on this stream.
    var wishAskedAt: Duration?
    var wishPause = AgentState.wishPauses.first
    /// The conductor's answer, until the role has taken it.
    var reply: ControllerSecretsReply?

    /// An agent with these role modules before it has read its disk.
    init(roles: [Role], agentVersion: String, bootID: String) {
        self.roles = roles
        self.agentVersion = agentVersion
        self.bootID = bootID
    }

    /// When `tick` is wanted next; nil when nothing waits for time.
    var nextTick: Duration? { [retryAt, statusAt, attentionAt, metricsAt, logsAt, wishAt].compactMap { $0 }.min() }

    /// When what a role lacks is asked for again; nil: nothing is, or there is no stream.
    private var wishAt: Duration? {
        guard phase == .open, wish != nil else { return nil }
        return wishAskedAt.map { $0 + wishPause }
    }

    /// Takes one event in and tells what to do.
    mutating func step(
        _ event: AgentEvent, at now: AgentTime, random: inout some RandomNumberGenerator
    ) -> [AgentEffect] {
        switch event {
        case .started(let stored, let view): return start(stored, view, now)
        case .reloaded(let stored): return reload(stored, now)
        case .tick: return tick(now)
        case .enrolled(let validity): return enrolled(validity, now)
        case .enrolmentFailed(let failure): return enrolmentFailed(failure, now, &random)
        case .connected: return connected()
        case .connectFailed(let reason):
            guard phase == .connecting else { return [] }
            return retry(after: backoff(&random), now, "No stream: \(reason)")
        case .received(let message): return receive(message, now, &random)
        case .disconnected(let reason):
            guard phase == .open || phase == .greeting else { return [] }
            return retry(after: backoff(&random), now, "The stream ended: \(reason)")
        case .rolesChecked(let roles, let addresses, let conditions, let wish):
            want(wish)
            return checked(roles, addresses, conditions, now)
        case .replyTaken:
            runningWork = nil
            wantedWork.insert(.apply)
            return startRoleWork()
        case .nodeChanged:
            wantedWork.insert(.check)
            return startRoleWork()
        case .metricsCollected(let samples): return collected(samples, now)
        case .roleCameBack(let role):
            wantedWork.insert(.apply)
            return [.log(.warning, "The \(role) role answers again and gets the newest view.")] + startRoleWork()
        case .roleChanged(let role):
            guard wantedRoles.contains(role) else { return [] }
            attentionAt = attentionAt ?? max(now.uptime, (lookedAt ?? .zero) + Self.attentionPause)
            return attendIfDue(now) + startRoleWork()
        case .renewalReady(let signingRequest):
            return phase == .open ? [.send(.renew(signingRequest: signingRequest))] : []
        case .certificateInstalled(let validity):
            certificate = validity
            renewalAskedAt = nil
            return [.log(.info, "The new certificate is good until \(validity.notAfter).")] + sendStatus()
        case .certificateRefused(let reason):
            return [.log(.error, "The conductor's certificate cannot be used: \(reason)")]
        case .authoritiesKept(let authorities):
            self.authorities = authorities
            let names = authorities.map(\.fingerprint.hex).joined(separator: ", ")
            return [.log(.info, "The authorities that are trusted from now on: \(names).")]
                + sendStatus() + renewIfDue(now)
        }
    }
}
