import AgentProtocol
import CatalogBareMetal
import Primitives

extension Node {
    /// The order to begin or end a rescue that the state allows to follow; nil: none.
    var rescueToFollow: RescueRequest? {
        guard let request = spec.rescue, request.number > status.rescued ?? 0, spec.approval != nil else { return nil }
        switch status.state {
        case .active: return request.passwordEnds == nil ? nil : request
        case .rescuing, .rescue, .rescueFailed: return request
        default: return nil
        }
    }

    /// Whether the ramdisk works on a rescue.
    var isInRescueRamdisk: Bool {
        switch status.state {
        case .rescuing(.opening), .rescue, .unrescuing(.closing): true
        default: false
        }
    }
}

/// A rescue: the disks are left alone, and what was deployed stays deployed.
extension NodeWalk {
    mutating func followRescue(_ request: Node.RescueRequest) {
        node.status.rescued = request.number
        node.status.retries = 0
        node.status.lastError = nil
        node.status.progress = nil
        node.status.rescue = nil
        let hasRamdisk = node.status.session?.isTrusted == true
        if request.passwordEnds != nil {
            if hasRamdisk { return openRescue(why: "a rescue is asked for") }
            node.status.formerBoot = node.status.session?.bootID
            node.status.session = nil
            enter(
                .rescuing(.bootingRamdisk),
                wait: wait(
                    "the machine is told to boot the ramdisk", .bmc, deadlines.ramdiskBoot, next: "the rescue fails"),
                why: "a rescue is asked for")
            effects.append(.boot(.ramdisk))
        } else if hasRamdisk {
            enter(
                .unrescuing(.closing),
                wait: wait(
                    "the ramdisk ends logins and writes what is mounted back", .machine, deadlines.rescueClose,
                    next: "its disk is booted all the same"),
                why: "the rescue is to end")
        } else {
            bootRescuedDisk(why: "the rescue is to end")
        }
    }

    mutating func openRescue(why: String) {
        enter(
            .rescuing(.opening),
            wait: wait(
                "the ramdisk makes its host key", .machine, deadlines.rescueOpen, next: "the rescue fails"), why: why)
    }

    private mutating func bootRescuedDisk(why: String) {
        enter(
            .unrescuing(.bootingDisk),
            wait: wait(
                "the BMC is told to boot the disk", .bmc, deadlines.diskBoot,
                next: "the rescue is told not to have ended"),
            why: why)
        effects.append(.boot(.disk))
    }

    mutating func failRescue(_ message: String) {
        node.status.lastError = message
        node.status.rescue = nil
        // An operator may have changed what runs there: whatever comes next begins with a boot of its own.
        node.status.session?.isTrusted = false
        let name = node.spec.name
        enter(
            .rescueFailed,
            wait: operatorWait(
                message, next: "'muster node unrescue \(name)' boots its disk, 'muster node rescue \(name)' tries again"
            ),
            why: message)
    }

    mutating func endRescue(why: String) {
        node.status.rescue = nil
        enter(.active, wait: nil, why: why)
    }

    /// What the ramdisk tells of the rescue that it works on.
    mutating func rescueProgressed(_ stage: DiscoveryProgress.Stage) throws(InvalidTransition) {
        switch (node.status.state, stage) {
        case (.rescuing(.opening), .rescued(let access)), (.rescue, .rescued(let access)):
            var rescue = node.status.rescue ?? Node.Rescue(access: access)
            rescue.access = RescueAccess(
                addresses: access.addresses, hostKey: access.hostKey, fingerprint: access.fingerprint)
            node.status.rescue = rescue
            if node.status.state != .rescue { enter(.rescue, wait: rescueWait(), why: "an operator may log in") }
        case (.rescue, .login(let from)):
            guard node.status.rescue?.loginAt == nil else { return }
            node.status.rescue?.loginAt = now
            node.status.rescue?.loginFrom = from.printable(limit: 80)
            node.status.wait = rescueWait()
            effects.append(
                .record(
                    type: "RescueLogin",
                    message: "somebody logged in from \(from.printable(limit: 80)); the password is void now"))
        case (.rescuing(.opening), .failed(let message, _)), (.rescue, .failed(let message, _)):
            failRescue(message.printable(limit: 400))
        case (.unrescuing(.closing), .finished), (.unrescuing(.closing), .failed):
            bootRescuedDisk(why: "the ramdisk has let go of the disks")
        case (.unrescuing(.closing), .rescued), (.unrescuing(.closing), .login):
            return
        default:
            throw InvalidTransition(
                state: node.status.state, asked: "a report of another order", hint: "This order is to rescue.")
        }
    }

    /// What an operator has to do in a rescue.
    private func rescueWait() -> Node.Wait {
        let name = node.spec.name
        let end = "when done: muster node unrescue \(name)"
        guard let rescue = node.status.rescue else { return operatorWait("it is in rescue", next: end) }
        if rescue.loginAt != nil {
            return operatorWait("an operator works on it; the one-time password was used", next: end)
        }
        guard !rescue.hasPasswordEnded, let ends = node.spec.rescue?.passwordEnds else {
            return operatorWait(
                "the time of its one-time password is over, and nobody had logged in",
                next: "'muster node rescue \(name) --new-password' gives another; \(end)")
        }
        var wait = operatorWait(
            "an operator may log in with the one-time password", next: "muster node ssh \(name); \(end)")
        wait.deadline = min(wait.deadline, ends)
        return wait
    }

    /// Notes that the password's time is over; false when it is not, or that is known.
    mutating func endRescuePassword() -> Bool {
        guard let rescue = node.status.rescue, rescue.loginAt == nil, !rescue.hasPasswordEnded,
            let ends = node.spec.rescue?.passwordEnds, ends <= now
        else { return false }
        node.status.rescue?.hasPasswordEnded = true
        node.status.wait = rescueWait()
        effects.append(.record(type: "RescuePasswordEnded", message: "the one-time password ended unused"))
        return true
    }

    /// The agent of the disk has come back: only after the disk was booted, as one of before says nothing.
    mutating func rescueSawAgent() {
        guard node.status.state == .unrescuing(.bootingDisk), node.status.wait?.owner != .bmc else { return }
        enter(
            .unrescuing(.checking),
            wait: wait(
                "the roles have to report that they are ready", .agent, deadlines.check,
                next: "the rescue is over all the same"),
            why: "the agent's stream is open")
    }

    /// A phase of the beginning or the end took too long.
    mutating func rescueIsLate(_ late: String) {
        switch node.status.state {
        case .unrescuing(.closing): bootRescuedDisk(why: late)
        case .unrescuing(.checking): endRescue(why: late)
        default: failRescue(late)
        }
    }
}
