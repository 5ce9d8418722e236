import AgentProtocol
import Primitives

extension AgentState {
    mutating func tick(_ now: AgentTime) -> [AgentEffect] {
        var effects = retryIfDue(now)
        if let statusAt, statusAt <= now.uptime {
            self.statusAt = now.uptime + Self.statusInterval
            statusSent = nil
            // What is not as the view says is made so again: nothing but this repairs it while no new view comes.
            wantedWork.insert(unreadyCount == 0 ? .check : .apply)
            effects += renewIfDue(now)
        }
        effects += attendIfDue(now) + askIfDue(now)
        if let metricsAt, metricsAt <= now.uptime {
            self.metricsAt = now.uptime + metricsInterval
            if phase == .open { wantedWork.insert(.metrics) }
        }
        if let logsAt, logsAt <= now.uptime {
            self.logsAt = now.uptime + Self.logInterval
            effects.append(.sendLogs)
        }
        return effects + startRoleWork()
    }

    /// Looks at what a role has noticed, when it is time for that.
    mutating func attendIfDue(_ now: AgentTime) -> [AgentEffect] {
        guard let attentionAt, attentionAt <= now.uptime else { return [] }
        self.attentionAt = nil
        lookedAt = now.uptime
        wantedWork.insert(.check)
        return []
    }

    /// The roles that the view asks for and this agent has.
    var wantedRoles: Set<Role> { Set(settings?.roles ?? roles).intersection(roles) }

    /// Begins the most urgent piece of role work unless one is under way or there is no view yet.
    mutating func startRoleWork() -> [AgentEffect] {
        guard let view, runningWork == nil, let next = wantedWork.min() else { return [] }
        wantedWork.remove(next)
        runningWork = next
        switch next {
        case .take:
            guard let reply else {
                runningWork = nil
                return startRoleWork()
            }
            self.reply = nil
            return [.take(reply)]
        case .apply:
            wantedWork.remove(.check)
            applying = view
            return [.apply(view)]
        case .check: return [.check]
        case .metrics: return [.collectMetrics]
        }
    }

    mutating func checked(
        _ roles: [NodeStatusReport.RoleStatus], _ addresses: [IPv4Address], _ conditions: [Condition], _ now: AgentTime
    ) -> [AgentEffect] {
        runningWork = nil
        hasStatus = true
        lookedAt = now.uptime
        let roles = roles + missingRoles(now)
        let before = status.conditions ?? []
        let kept = conditions.map { keepingTime($0, before, now) }
        status = NodeStatusReport(
            observedRevision: applying.revision, observedGeneration: applying.generation,
            roles: roles.map { keepingTimes($0, now) }, addresses: addresses)
        status.conditions = kept.isEmpty ? nil : kept
        repairSoon(roles.allSatisfy(\.isReady), now)
        return sendStatus() + askIfDue(now) + startRoleWork()
    }

    /// Notes what a role lacks.
    mutating func want(_ wish: ControllerSecretsRequest?) {
        guard wish != self.wish else { return }
        self.wish = wish
        wishAskedAt = nil
        wishPause = Self.wishPauses.first
    }

    /// Asks for what a role lacks, when it is time for that.
    mutating func askIfDue(_ now: AgentTime) -> [AgentEffect] {
        guard phase == .open, let wish else { return [] }
        if let wishAskedAt {
            guard now.uptime - wishAskedAt >= wishPause else { return [] }
            wishPause = min(wishPause * 2, Self.wishPauses.most)
        }
        wishAskedAt = now.uptime
        return [.send(.secrets(wish))]
    }

    /// Gives the conductor's answer to the role, unless that lacks nothing any more.
    mutating func answered(_ reply: ControllerSecretsReply) -> [AgentEffect] {
        guard wish != nil else { return [] }
        self.reply = reply
        wantedWork.insert(.take)
        return startRoleWork()
    }

    /// Roles that the view asks for and this agent does not have.
    private func missingRoles(_ now: AgentTime) -> [NodeStatusReport.RoleStatus] {
        (settings?.roles ?? []).filter { !roles.contains($0) }.map { role in
            let name = identity?.name ?? "NAME"
            let message =
                "The agent on this node cannot do the \(role) role. Write an image for that role: "
                + "muster node deploy \(name)."
            return NodeStatusReport.RoleStatus(
                role: role, isReady: false,
                conditions: [Condition(type: "RoleModulePresent", isTrue: false, message: message, since: now.wall)])
        }
    }

    /// The next look comes after 2, 4, 8 … seconds, at most the usual interval, while a role is not ready.
    private mutating func repairSoon(_ isReady: Bool, _ now: AgentTime) {
        unreadyCount = isReady ? 0 : min(unreadyCount + 1, 16)
        guard unreadyCount > 0 else { return }
        let next = now.uptime + min(Self.statusInterval, .seconds(1 << unreadyCount))
        statusAt = min(statusAt ?? next, next)
    }

    /// `since` is when a condition became what it is, whatever a module says at each check.
    private func keepingTimes(
        _ role: NodeStatusReport.RoleStatus, _ now: AgentTime
    ) -> NodeStatusReport.RoleStatus {
        var role = role
        let old = status.roles.first { $0.role == role.role }?.conditions ?? []
        role.conditions = role.conditions.map { keepingTime($0, old, now) }
        return role
    }

    private func keepingTime(_ condition: Condition, _ old: [Condition], _ now: AgentTime) -> Condition {
        var condition = condition
        let same = old.first { $0.type == condition.type && $0.isTrue == condition.isTrue }
        condition.since = same?.since ?? now.wall
        return condition
    }

    /// Reports when there is something new to report.
    mutating func sendStatus() -> [AgentEffect] {
        guard phase == .open, hasStatus else { return [] }
        if !authorities.isEmpty || certificate?.serial != nil {
            status.trust = NodeStatusReport.Trust(
                authorities: authorities.map(\.fingerprint), certificate: certificate?.serial)
        }
        guard status != statusSent else { return [] }
        statusSent = status
        return [.send(.status(status))]
    }

    mutating func collected(_ samples: [MetricsReport.Sample], _ now: AgentTime) -> [AgentEffect] {
        runningWork = nil
        var effects: [AgentEffect] = []
        if phase == .open {
            let kept = Array(samples.prefix(MetricsReport.sampleCountMax))
            effects.append(.send(.metrics(MetricsReport(time: now.wall, samples: kept))))
        }
        return effects + startRoleWork()
    }

    /// Between two metric reports, by the view's settings.
    var metricsInterval: Duration {
        .seconds(min(3600, max(1, settings?.metricsIntervalSeconds ?? Self.metricsIntervalDefault)))
    }

    /// How the agent itself shall behave.
    private var settings: AgentSettings? {
        let item = view?.items.values.first { $0.kind == AgentSettings.kind }
        return item.flatMap { try? $0.decode(AgentSettings.self) }
    }
}
