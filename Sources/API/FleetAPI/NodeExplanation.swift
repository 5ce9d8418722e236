import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Primitives
import ResourceModel

/// Makes the chain of causes of a node's state out of what is known; pure.
struct NodeExplanation {
    let node: Node
    let summary: NodeSummary
    let bmc: BMC?
    let bmcName: String?
    /// The site's BMC with the address that the machine's own BMC has, as the machine says.
    let bmcAtAddress: String?
    let certificates: NodeCertificates?
    let images: [NodeImage]
    let conflicts: [IdentityConflict]
    let rules: WhyReply.Cause?
    let events: [EventRecord]
    let now: Timestamp

    var reply: WhyReply {
        let causes =
            [maintenanceCause, stateCause, errorCause, approvalCause, tpmCause] + blockCauses
            + [rules, imageCause, bmcCause, sessionCause, certificateCause, agentCause]
        let found = causes.compactMap(\.self) + conflicts.map(cause)
        return WhyReply(
            node: summary, time: now, headline: headline(found), causes: found,
            conditions: node.status.agent?.conditions ?? [], events: events)
    }

    private func headline(_ causes: [WhyReply.Cause]) -> String {
        let name = node.spec.name
        if let maintenance = node.spec.maintenance {
            let reason = maintenance.reason.map { " (\($0))" } ?? ""
            return
                "\(name) is in maintenance\(reason): nothing is done to it until 'muster node set \(name) --maintenance off'."
        }
        if let wait = node.status.wait {
            return "\(name) is \(node.status.state): \(sentence(wait.cause)) Next: \(sentence(wait.next))"
        }
        if let problem = causes.first(where: \.isProblem) {
            return "\(name) is \(node.status.state), but \(problem.subject): \(sentence(problem.what))"
        }
        return "\(name) is \(node.status.state); nothing is waited for."
    }

    /// `text` with one full stop at its end.
    private func sentence(_ text: String) -> String { text.hasSuffix(".") ? text : text + "." }

    private var stateCause: WhyReply.Cause {
        let wait = node.status.wait
        return WhyReply.Cause(
            subject: "node", what: wait.map { "\(node.status.state): \($0.cause)" } ?? "\(node.status.state)",
            since: node.status.since, owner: wait?.owner, deadline: wait?.deadline, next: wait?.next,
            isProblem: node.status.state.isFailure)
    }

    private var maintenanceCause: WhyReply.Cause? {
        node.spec.maintenance.map { maintenance in
            WhyReply.Cause(
                subject: "maintenance",
                what: "ordered by \(maintenance.by), " + (maintenance.reason ?? "without a reason"),
                since: maintenance.since, owner: .operator,
                next: "muster node set \(node.spec.name) --maintenance off")
        }
    }

    private var errorCause: WhyReply.Cause? {
        node.status.lastError.map { WhyReply.Cause(subject: "last error", what: $0, isProblem: true) }
    }

    private var approvalCause: WhyReply.Cause? {
        if let approval = node.spec.approval {
            return WhyReply.Cause(subject: "approval", what: "let in by \(approval.by)", since: approval.at)
        }
        return WhyReply.Cause(
            subject: "approval", what: "nobody has let it in; it gets no secret", owner: .operator,
            next: "muster node approve \(node.spec.name) --role ROLE", isProblem: true)
    }

    private var blockCauses: [WhyReply.Cause?] {
        let isWaiting = node.spec.approval == nil
        return (node.status.blocks ?? []).filter { $0.kind == .sku || rules == nil }.map { block in
            WhyReply.Cause(
                subject: block.kind == .sku ? "bill of materials" : "rules", what: block.message,
                owner: isWaiting ? .operator : nil,
                next: isWaiting ? "mend it, or: muster node approve \(node.spec.name) --accept-difference" : nil,
                isProblem: true)
        }
    }

    /// What its TPM says, and whether the boot that runs now was measured otherwise than the one that was accepted last.
    private var tpmCause: WhyReply.Cause? {
        let changed = node.status.session?.claim?.blocks?.first { $0.kind == .measurements }
        if let changed {
            return WhyReply.Cause(
                subject: "tpm", what: changed.message, since: node.status.session?.opened, owner: .operator,
                next: "find out why, then: muster node approve \(node.spec.name) --accept-difference", isProblem: true)
        }
        return node.status.attestation.map { attestation in
            WhyReply.Cause(
                subject: "tpm",
                what: attestation.voucher.map { "attested, vouched for by \($0)" }
                    ?? "it holds its key, but nobody vouches for it: \(attestation.doubt ?? "no reason is known")")
        }
    }

    private var imageCause: WhyReply.Cause? {
        guard let role = node.spec.role else {
            return WhyReply.Cause(
                subject: "role", what: "no role is asked for", owner: .operator,
                next: "muster node approve \(node.spec.name) --role ROLE", isProblem: node.spec.approval != nil)
        }
        if let name = node.spec.image {
            guard let image = images.first(where: { $0.metadata.name == name }) else {
                return WhyReply.Cause(
                    subject: "image", what: "the image '\(name)' is not here", owner: .operator,
                    next: "muster image push \(name) --role \(role.rawValue) --file FILE", isProblem: true)
            }
            return WhyReply.Cause(subject: "image", what: "\(name), manifest \(image.spec.manifest)")
        }
        let ofRole = images.filter { $0.spec.role == role }
        guard let image = ofRole.max(by: { $0.metadata.created < $1.metadata.created }) else {
            return WhyReply.Cause(
                subject: "image", what: "there is no image for the role '\(role.rawValue)'", owner: .operator,
                next: "muster image push NAME --role \(role.rawValue) --file FILE", isProblem: true)
        }
        return WhyReply.Cause(subject: "image", what: "\(image.metadata.name), manifest \(image.spec.manifest)")
    }

    private var bmcCause: WhyReply.Cause? {
        guard let bmcName else {
            if let hint = bmcHint { return hint }
            return WhyReply.Cause(subject: "bmc", what: "none is known; its power is switched by hand")
        }
        guard let bmc else {
            return WhyReply.Cause(
                subject: "bmc", what: "'\(bmcName)' is not in the site", owner: .operator,
                next: "add it to the site file, then 'muster site apply'", isProblem: true)
        }
        let power = node.status.power
        guard bmc.status.isReachable || bmc.status.checked == nil else {
            return WhyReply.Cause(
                subject: "bmc",
                what: "\(bmcName) does not answer, so whether the machine is on is not known: "
                    + (bmc.status.lastError ?? "no reason is known"),
                since: bmc.status.powerSince ?? bmc.status.checked, owner: .bmc,
                next: "check its address, cable and password; 'muster bmc list' shows what it says", isProblem: true)
        }
        return WhyReply.Cause(
            subject: "bmc", what: "\(bmcName), power \((power?.state ?? bmc.status.power).rawValue)",
            since: power?.since ?? bmc.status.checked)
    }

    /// What to do about a BMC that the machine has told of and the node does not have. It is a hint and nothing is done
    /// by itself: a machine may tell of another's BMC.
    private var bmcHint: WhyReply.Cause? {
        guard let address = node.status.summary?.bmcAddress else { return nil }
        let name = node.spec.name
        if let bmcAtAddress {
            return WhyReply.Cause(
                subject: "bmc", what: "the machine says that its BMC is at \(address), which is '\(bmcAtAddress)'",
                owner: .operator, next: "if that is right: muster node set \(name) --bmc \(bmcAtAddress)")
        }
        return WhyReply.Cause(
            subject: "bmc", what: "the machine says that its BMC is at \(address), which the site does not know",
            owner: .operator,
            next: "if that is right, add to 'bmcs' in the site file: '- { name: \(name)-bmc, address: "
                + "https://\(address), username: USER, passwordFile: FILE }' (ipmi://\(address) for one without "
                + "Redfish), then 'muster site apply'")
    }

    private var sessionCause: WhyReply.Cause? {
        guard let session = node.status.session else { return nil }
        let trust = session.isTrusted ? "trusted" : "not trusted, it gets no secret"
        let isNeeded = node.spec.approval != nil && !session.isTrusted && node.status.agent == nil
        return WhyReply.Cause(
            subject: "ramdisk", what: "booted (\(trust))", since: session.opened,
            next: isNeeded ? "muster node approve \(node.spec.name)" : nil, isProblem: isNeeded)
    }

    private var agentCause: WhyReply.Cause? {
        guard let agent = node.status.agent else { return nil }
        guard agent.isConnected else {
            return WhyReply.Cause(
                subject: "agent", what: "version \(agent.version), its stream is gone", since: agent.since,
                owner: .agent, next: "look at the machine: 'muster node ssh \(node.spec.name)'", isProblem: true)
        }
        if let until = agent.unknownUntil {
            return WhyReply.Cause(
                subject: "agent",
                what:
                    "version \(agent.version), nobody knows whether it is there: the conductor that had its stream is "
                    + "gone, and it has until \(until) to come to another",
                since: agent.since, owner: .agent, next: "wait; then it is called gone", isProblem: true)
        }
        guard agent.isReady else {
            let missing = agent.conditions.filter { !$0.isTrue }.map { "\($0.type): \($0.message)" }
            let what = missing.isEmpty ? "has not reported yet" : missing.joined(separator: "; ")
            return WhyReply.Cause(
                subject: "agent", what: "version \(agent.version), not ready: \(what)", since: agent.since,
                owner: .agent, next: "look at its log: 'muster node logs \(node.spec.name)'", isProblem: true)
        }
        if let offset = agent.clockOffsetMilliseconds {
            return WhyReply.Cause(
                subject: "clock", what: "\(offset.magnitude) ms \(offset > 0 ? "ahead of" : "behind") the conductor's",
                owner: .operator, next: "look at the time servers of both", isProblem: true)
        }
        let failing = agent.conditions.filter { !$0.isTrue }.map { "\($0.type): \($0.message)" }
        let what = failing.isEmpty ? "all checks pass" : "ready, but \(failing.joined(separator: "; "))"
        return WhyReply.Cause(subject: "agent", what: "version \(agent.version), \(what)", since: agent.since)
    }

    private var certificateCause: WhyReply.Cause? {
        guard let certificates, node.status.agent != nil else { return nil }
        if let held = certificates.held, held.notAfter <= now {
            return WhyReply.Cause(
                subject: "certificate", what: "ended while its agent was away; no conductor takes it any more",
                since: held.notAfter, owner: .operator, next: "muster node deploy \(node.spec.name)", isProblem: true)
        }
        guard let revoked = certificates.shutOut else { return nil }
        return WhyReply.Cause(
            subject: "certificate", what: "revoked by \(revoked.by): \(revoked.reason); no conductor takes its agent",
            since: revoked.at, owner: .operator, next: "muster node deploy \(node.spec.name)", isProblem: true)
    }

    private func cause(_ conflict: IdentityConflict) -> WhyReply.Cause {
        WhyReply.Cause(
            subject: "identity",
            what: "a machine claims to be this one, \(conflict.status.count) times: \(conflict.spec.reason)",
            since: conflict.status.lastSeen, owner: .operator,
            next: "compare the serial numbers of both machines; switch the false one off", isProblem: true)
    }
}

extension NodeState {
    /// Whether something has failed.
    var isFailure: Bool {
        switch self {
        case .inspectFailed, .deployFailed, .cleanFailed, .rescueFailed, .serviceFailed, .deleteFailed: true
        case .enroll, .verifying, .manageable, .inspecting, .available, .deploying, .active, .cleaning, .rescuing,
            .rescue,
            .unrescuing, .servicing, .deleting:
            false
        }
    }
}
