import AgentProtocol
import NodeTransport
import Primitives

extension AgentState {
    // MARK: Start and enrolment

    mutating func start(_ stored: StoredIdentity, _ view: NodeView?, _ now: AgentTime) -> [AgentEffect] {
        adopt(stored)
        self.view = view
        statusAt = now.uptime + Self.statusInterval
        metricsAt = now.uptime + metricsInterval
        wantedWork = [.apply]
        return startRoleWork() + approach(now)
    }

    mutating func reload(_ stored: StoredIdentity, _ now: AgentTime) -> [AgentEffect] {
        guard phase == .waiting else { return [] }
        adopt(stored)
        return approach(now)
    }

    private mutating func adopt(_ stored: StoredIdentity) {
        let isNew = identity != stored.identity
        identity = stored.identity
        certificate = stored.certificate
        authorities = stored.authorities
        if isNew { target = 0 }
    }

    /// Goes towards a stream with what there is: a certificate, or a token to get one with.
    private mutating func approach(_ now: AgentTime) -> [AgentEffect] {
        guard let identity else { return [] }
        retryAt = nil
        if let certificate, certificate.notAfter > now.wall {
            guard !identity.conductors.isEmpty else {
                return waitForOperator(now, "The identity file names no conductor")
            }
            phase = .connecting
            return [.connect(endpoint: identity.conductors[target % identity.conductors.count])]
        }
        guard identity.token != nil else {
            let reason = certificate.map { "The certificate ended at \($0.notAfter)" } ?? "There is no certificate"
            return waitForOperator(now, "\(reason) and there is no enrolment token")
        }
        guard !identity.provisioning.isEmpty else {
            return waitForOperator(now, "The identity file names no provisioning port")
        }
        phase = .enrolling
        return [.enrol(endpoint: identity.provisioning[target % identity.provisioning.count])]
    }

    private mutating func waitForOperator(_ now: AgentTime, _ reason: String) -> [AgentEffect] {
        phase = .waiting
        retryAt = now.uptime + Self.refusalDelay
        let name = identity?.name ?? "NAME"
        return [
            .log(
                .error,
                "\(reason). Deploy the node again: muster node deploy \(name). The roles go on with the last view.")
        ]
    }

    mutating func enrolled(_ validity: CertificateValidity, _ now: AgentTime) -> [AgentEffect] {
        guard phase == .enrolling else { return [] }
        certificate = validity
        identity?.token = nil
        failures = 0
        target = 0
        phase = .waiting
        return [.log(.info, "Enrolled; the certificate is good until \(validity.notAfter).")] + approach(now)
    }

    mutating func enrolmentFailed(
        _ failure: EnrolmentFailure, _ now: AgentTime, _ random: inout some RandomNumberGenerator
    ) -> [AgentEffect] {
        guard phase == .enrolling else { return [] }
        guard failure.isRefusal else {
            return retry(after: backoff(&random), now, "Not enrolled: \(failure.message)")
        }
        phase = .waiting
        retryAt = now.uptime + Self.refusalDelay
        let next = "The next attempt is in \(Self.refusalDelay.milliseconds / 60_000) minutes."
        return [.log(.error, "The conductor refuses to enrol this node: \(failure.message) \(next)")]
    }

    // MARK: Stream

    /// Where the stream is open; nil: it is not.
    var streamEndpoint: String? {
        guard phase == .open, let known = identity?.conductors, !known.isEmpty else { return nil }
        return known[target % known.count]
    }

    mutating func connected() -> [AgentEffect] {
        guard phase == .connecting else { return [.disconnect("not awaited")] }
        phase = .greeting
        let hello = AgentHello(
            agentVersion: agentVersion, bootID: bootID, roles: roles,
            viewRevision: mustResync ? .zero : view?.revision ?? .zero)
        return [.send(.hello(hello))]
    }

    mutating func receive(
        _ message: ConductorMessage, _ now: AgentTime, _ random: inout some RandomNumberGenerator
    ) -> [AgentEffect] {
        guard phase == .open || phase == .greeting else { return [] }
        switch message {
        case .welcome(let welcome): return welcomed(welcome, now)
        case .view(let view):
            mustResync = false
            return adopt(view, now)
        case .change(let change):
            guard let next = view?.applying(change) else {
                mustResync = true
                let effects = retry(after: .zero, now, "A change does not fit the view; the whole view is asked for")
                return [.disconnect("the change is for another revision")] + effects
            }
            return adopt(next, now)
        case .certificate(let reply): return [.installCertificate(reply)]
        case .secrets(let reply): return answered(reply)
        case .goodbye(let message, let seconds):
            let asked = seconds.map { Duration.seconds(max(0, $0)) } ?? Self.goodbyeDelayMax
            let delay = min(asked, Self.goodbyeDelayMax) + .milliseconds(Int64.random(in: 0...1000, using: &random))
            return [.disconnect("goodbye")]
                + retry(after: delay, now, "The conductor says goodbye: \(message.printable(limit: 300))")
        }
    }

    private mutating func welcomed(_ welcome: ConductorWelcome, _ now: AgentTime) -> [AgentEffect] {
        phase = .open
        failures = 0
        statusSent = nil
        logsAt = now.uptime
        metricsAt = now.uptime
        // An answer that was under way on the stream before does not come any more.
        wishAskedAt = nil
        var effects: [AgentEffect] = [.log(.info, "The stream is open.")] + know(welcome.conductors)
        let skew = now.wall.since(welcome.time).milliseconds
        if abs(skew) > 1000, now.isSynchronised {
            // Two that both set the clock would pull it to and fro.
            effects.append(
                .log(
                    .error,
                    "This node's clock differs from the conductor's by \(skew) ms, though its time servers keep it; look "
                        + "at the time servers of both."))
        } else if abs(skew) > 1000 {
            effects += [
                .log(.warning, "This node's clock differs from the conductor's by \(skew) ms and is set to it."),
                .setClock(welcome.time),
            ]
        }
        return effects + keepAuthorities() + sendStatus() + renewIfDue(now) + askIfDue(now)
    }

    /// Takes `told` as the conductors to try from now on, the present one first and then each node in an order of its own,
    /// so that the nodes of one that goes do not all come to the same.
    private mutating func know(_ told: [String]) -> [AgentEffect] {
        guard let known = identity?.conductors, !known.isEmpty, !told.isEmpty else { return [] }
        let current = known[target % known.count]
        let node = identity?.node.raw ?? ""
        let others = Set(told).filter { $0 != current && (try? Endpoint($0)) != nil }
            .map { (rank: StableHash.of("\(node) \($0)"), $0) }.sorted { $0 < $1 }.map(\.1)
        let all = [current] + others.prefix(Self.conductorCountMax - 1)
        guard Set(all) != Set(known) else { return [] }
        identity?.conductors = all
        target = 0
        return [.saveConductors(all)]
    }

    private mutating func adopt(_ next: NodeView, _ now: AgentTime) -> [AgentEffect] {
        view = next
        metricsAt = min(metricsAt ?? .zero, now.uptime + metricsInterval)
        wantedWork.insert(.apply)
        let item = next.items[ConductorsItem.key].flatMap { $0.kind == ConductorsItem.kind ? $0 : nil }
        let conductors = item.flatMap { try? $0.decode(ConductorsItem.self) }?.agents ?? []
        return [.saveView(next)] + know(conductors) + keepAuthorities() + startRoleWork() + renewIfDue(now)
    }

    /// The site's authorities as the view has them.
    private var trust: TrustItem? {
        view?.items[TrustItem.key].flatMap { $0.kind == TrustItem.kind ? try? $0.decode(TrustItem.self) : nil }
    }

    /// Keeps the authorities of the view unless they are kept already.
    private func keepAuthorities() -> [AgentEffect] {
        guard let wanted = trust?.authorities, !wanted.isEmpty, wanted.count <= TrustItem.authorityCountMax,
            wanted != authorities.map(\.pem)
        else { return [] }
        return [.keepAuthorities(wanted)]
    }

    /// Whether another authority than the newest has issued the certificate, and that is to end soon.
    private func isHastened(_ certificate: CertificateValidity) -> Bool {
        guard trust?.hastensRenewal == true, let newest = authorities.first?.key else { return false }
        return certificate.authorityKey != newest
    }

    mutating func renewIfDue(_ now: AgentTime) -> [AgentEffect] {
        guard phase == .open, let certificate, certificate.renewal <= now.wall || isHastened(certificate),
            renewalAskedAt.map({ now.uptime - $0 >= Self.renewalPause }) ?? true
        else { return [] }
        renewalAskedAt = now.uptime
        return [.prepareRenewal]
    }

    // MARK: Trying again

    /// Half to all of 1, 2, 4 … 60 seconds, one step for each round through all conductors.
    func backoff(_ random: inout some RandomNumberGenerator) -> Duration {
        let rounds = failures / max(1, identity?.conductors.count ?? 1)
        let ceiling = min(Self.backoffMax.milliseconds, 1000 << Int64(min(rounds, 10)))
        return .milliseconds(Int64.random(in: ceiling / 2...ceiling, using: &random))
    }

    mutating func retry(after delay: Duration, _ now: AgentTime, _ reason: String) -> [AgentEffect] {
        phase = .waiting
        failures += 1
        target += 1
        logsAt = nil
        retryAt = now.uptime + delay
        return [.log(.warning, "\(reason) Next attempt in \(delay.milliseconds) ms.")]
    }

    mutating func retryIfDue(_ now: AgentTime) -> [AgentEffect] {
        guard phase == .waiting, let retryAt, retryAt <= now.uptime else { return [] }
        self.retryAt = nil
        return [.reload]
    }
}
