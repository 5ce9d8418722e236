import AgentProtocol
import CatalogBareMetal
import Primitives

extension NodeWalk {
    mutating func beginDeployment(why: String) {
        node.status.attempted = node.spec.wantedDeployment
        node.status.retries = 0
        node.status.lastError = nil
        node.status.progress = nil
        node.status.image = nil
        if node.status.session?.isTrusted == true {
            beginWriting(why: why)
        } else {
            bootRamdisk(why: why)
        }
    }

    private mutating func bootRamdisk(why: String) {
        node.status.formerBoot = node.status.session?.bootID
        node.status.session = nil
        enter(
            .deploying(.bootingRamdisk),
            wait: wait(
                "the machine is told to boot the ramdisk", .bmc, deadlines.ramdiskBoot,
                next: "the deployment fails"),
            why: why)
        effects.append(.boot(.ramdisk))
    }

    mutating func beginWriting(why: String) {
        enter(.deploying(.writing), wait: writeWait("the ramdisk takes its order"), why: why)
        hurryIfOff()
    }

    func writeWait(_ cause: String) -> Node.Wait {
        wait(cause, .machine, deadlines.writeStall, next: "a machine that stays silent is reset and begins again")
    }

    mutating func failDeployment(_ message: String) {
        node.status.lastError = message
        enter(
            .deployFailed,
            wait: wait(
                message, .operator, deadlines.operatorReminder,
                next: "mend it, then: muster node deploy \(node.spec.name)"),
            why: message)
    }

    mutating func imageMissing(_ message: String) {
        guard node.status.state == .deploying(.writing) else { return }
        failDeployment(message)
    }

    /// The number of the order that the present state asks of the ramdisk; see `DiscoveryOrders`.
    var orderNumber: UInt64 { DiscoveryOrders.number(of: node) }

    mutating func progressed(order: UInt64, _ stage: DiscoveryProgress.Stage) throws(InvalidTransition) {
        if order == orderNumber, node.status.state == .cleaning(.wiping) { return try cleaningProgressed(stage) }
        if order == orderNumber, node.isInRescueRamdisk { return try rescueProgressed(stage) }
        guard order == orderNumber, node.status.state == .deploying(.writing) else {
            switch stage {
            case .finished: if order <= orderNumber { return }
            // The number of a node that rests is that of its last order less one.
            case .cleaned: if order <= orderNumber + 1 { return }
            case .started, .writing, .cleaning, .rescued, .login, .failed: break
            }
            throw InvalidTransition(
                state: node.status.state, asked: "progress of order \(order)",
                hint: "The order is over; ask for the present one.")
        }
        switch stage {
        case .started(let disk):
            node.status.wait = writeWait("the image is being written to \(disk)")
            effects.append(.record(type: "WriteStarted", message: "writing to \(disk)"))
        case .writing(let done, let total, let bytes):
            node.status.progress = Node.Progress(done: done, total: total, bytes: bytes)
            node.status.wait = writeWait("the image is being written")
        case .failed(let message, _):
            failDeployment(message)
        case .finished:
            node.status.progress = nil
            enter(
                .deploying(.bootingDisk),
                wait: wait(
                    "the BMC is told to boot the disk", .bmc, deadlines.diskBoot, next: "the deployment fails"),
                why: "the image is written and verified")
            effects.append(.boot(.disk))
        case .cleaning, .cleaned, .rescued, .login:
            throw InvalidTransition(
                state: node.status.state, asked: "a report of another order", hint: "This order is to write an image.")
        }
    }

    mutating func bootOrdered(_ order: BootOrder) {
        switch (node.status.state, order) {
        case (.deploying(.bootingRamdisk), .ramdisk):
            node.status.wait = wait(
                "the machine boots the ramdisk", .machine, deadlines.ramdiskBoot, next: "the deployment fails")
        case (.cleaning(.bootingRamdisk), .ramdisk):
            node.status.wait = wait(
                "the machine boots the ramdisk", .machine, deadlines.ramdiskBoot, next: "the cleaning fails")
        case (.rescuing(.bootingRamdisk), .ramdisk):
            node.status.wait = wait(
                "the machine boots the ramdisk", .machine, deadlines.ramdiskBoot, next: "the rescue fails")
        case (.unrescuing(.bootingDisk), .disk):
            node.status.session = nil
            node.status.wait = wait(
                "the installed system boots, and its agent opens its stream", .machine, deadlines.enrol,
                next: "the rescue is told not to have ended; read the console: muster node console \(node.spec.name)")
        case (.inspecting, .ramdisk):
            node.status.wait = wait(
                "the machine boots the ramdisk", .machine, deadlines.ramdiskBoot, next: "the inspection is given up")
        case (.deploying(.bootingDisk), .disk):
            node.status.session = nil
            enter(
                .deploying(.enrolling),
                wait: wait(
                    "the installed system boots and asks for its certificate", .machine, deadlines.enrol,
                    next: "the deployment fails; read the console: muster node console \(node.spec.name)"),
                why: "the power was reset")
        default:
            break
        }
    }

    /// A machine without a BMC: what is waited for is a person.
    mutating func bootLeftToOperator(_ order: BootOrder, _ message: String) {
        switch (node.status.state, order) {
        case (.deploying(.bootingDisk), .disk):
            node.status.session = nil
            enter(
                .deploying(.enrolling),
                wait: operatorWait(
                    message, next: "the deployment goes on when the installed system asks for its certificate"),
                why: "there is no BMC")
        case (.unrescuing(.bootingDisk), .disk):
            node.status.session = nil
            node.status.wait = operatorWait(message, next: "it is active again when its agent opens its stream")
        case (.deploying(.bootingRamdisk), .ramdisk), (.cleaning(.bootingRamdisk), .ramdisk),
            (.rescuing(.bootingRamdisk), .ramdisk), (.inspecting, .ramdisk):
            node.status.wait = operatorWait(
                message, next: "boot it over the network, then: muster node approve \(node.spec.name)")
        default:
            break
        }
    }

    mutating func agentEnrolled() throws(InvalidTransition) {
        switch node.status.state {
        case .deploying(.bootingDisk), .deploying(.enrolling):
            enterChecking(why: "the agent has its certificate")
        case .deploying(.checking), .active:
            break
        default:
            throw InvalidTransition(
                state: node.status.state, asked: "an agent's certificate",
                hint: "Certificates are given to machines that have just been deployed.")
        }
    }

    private mutating func enterChecking(why: String) {
        node.status.session = nil
        enter(
            .deploying(.checking),
            wait: wait(
                "the roles have to report that they are ready", .agent, deadlines.check,
                next: "the deployment fails with the checks that do not pass"),
            why: why)
    }

    mutating func agentConnected(_ hello: AgentHello, _ stream: Node.Stream) {
        let before = node.status.agent
        // Inputs of one node may overtake each other: an older stream says nothing once a newer one is known.
        if let known = before?.stream, known.conductor == stream.conductor {
            guard known.number <= stream.number else { return }
            if known == stream, before?.connection == .open { return }
        }
        node.status.agent = Node.Agent(
            version: hello.agentVersion.printable(limit: 60), bootID: hello.bootID.printable(limit: 60),
            stream: stream, isConnected: true, since: now, addresses: before?.addresses ?? [],
            isReady: before?.isReady ?? false, conditions: before?.conditions ?? [])
        node.status.agent?.checkEvents = before?.checkEvents
        node.status.agent?.clockOffsetMilliseconds = before?.clockOffsetMilliseconds
        if before?.isConnected != true || before?.bootID != node.status.agent?.bootID {
            effects.append(.record(type: "AgentConnected", message: "agent \(hello.agentVersion.printable(limit: 60))"))
        }
        if node.status.state == .deploying(.bootingDisk) || node.status.state == .deploying(.enrolling) {
            enterChecking(why: "the agent's stream is open")
        }
        rescueSawAgent()
    }

    mutating func agentDisconnected(_ stream: Node.Stream) {
        guard node.status.agent?.stream == stream, node.status.agent?.isConnected == true else { return }
        markDisconnected()
        effects.append(.record(type: "AgentDisconnected", message: "the agent's stream is gone; its work goes on"))
    }

    /// How far the node's clock is ahead of the conductor's; nil: no more than a second either way.
    mutating func clockRead(_ milliseconds: Int64?) {
        guard node.status.agent != nil, node.status.agent?.clockOffsetMilliseconds != milliseconds else { return }
        let wasWrong = node.status.agent?.clockOffsetMilliseconds != nil
        node.status.agent?.clockOffsetMilliseconds = milliseconds
        if let milliseconds, !wasWrong {
            effects.append(
                .record(
                    type: "ClockSkewed",
                    message:
                        "the clock is \(milliseconds.magnitude) ms \(milliseconds > 0 ? "ahead of" : "behind") the "
                        + "conductor's; look at the time servers of both"))
        } else if milliseconds == nil, wasWrong {
            effects.append(.record(type: "ClockInStep", message: "the clock agrees with the conductor's again"))
        }
    }

    /// Of a stream to a conductor that is gone nobody knows whether its node lives: its agent gets time to come back.
    mutating func judgeStream(_ runs: Set<String>) {
        guard NodeMachine.hangs(node, onOthersThan: runs) else { return }
        let isKnown = node.status.agent?.unknownUntil == nil
        node.status.agent?.unknownUntil = isKnown ? now.advanced(by: deadlines.streamReturn) : nil
    }

    private mutating func endUnknown() {
        guard let until = node.status.agent?.unknownUntil, until <= now else { return }
        markDisconnected()
        effects.append(
            .record(
                type: "AgentDisconnected",
                message:
                    "the conductor that had the agent's stream is gone, and the agent came to no other; its work goes on"
            ))
    }

    // MARK: Time

    mutating func tick() {
        endUnknown()
        guard let wait = node.status.wait, wait.deadline <= now else { return }
        if node.status.state == .rescue, endRescuePassword() { return }
        if wait.owner == .operator {
            node.status.wait?.deadline = now.advanced(by: deadlines.operatorReminder)
            effects.append(.record(type: "StillWaiting", message: wait.cause))
            return
        }
        let late = "\(wait.cause): nothing came in time"
        switch node.status.state {
        case .verifying:
            bmcFailed("the BMC did not answer in time")
        case .inspecting:
            enter(
                .inspectFailed,
                wait: self.wait(
                    late, .operator, deadlines.operatorReminder, next: "muster node approve \(node.spec.name)"),
                why: late)
        case .deploying(.writing):
            if node.status.retries < deadlines.retryCountMax {
                node.status.retries += 1
                bootRamdisk(why: "\(late); attempt \(node.status.retries + 1)")
            } else {
                failDeployment("the machine fell silent \(node.status.retries + 1) times while the image was written")
            }
        case .deploying(.bootingRamdisk), .deploying(.bootingDisk), .deploying(.enrolling), .deploying(.checking):
            failDeployment(late)
        case .cleaning:
            // Whoever was silent may not be in the ramdisk any more: the next order begins with a boot of its own.
            node.status.session?.isTrusted = false
            failCleaning(late)
        case .rescuing, .unrescuing:
            rescueIsLate(late)
        case .enroll, .manageable, .inspectFailed, .available, .deployFailed, .active, .cleanFailed, .rescue,
            .rescueFailed, .servicing, .serviceFailed, .deleting, .deleteFailed:
            node.status.wait?.deadline = now.advanced(by: deadlines.operatorReminder)
        }
    }

    private mutating func markDisconnected() {
        node.status.agent?.isConnected = false
        node.status.agent?.unknownUntil = nil
        node.status.agent?.since = now
    }

    /// Asks anew for what the state waits for; all effects may be done twice without harm.
    ///
    /// Nobody could report while no conductor ran, so what was waited for gets time to be told.
    mutating func resume(_ runs: Set<String>) {
        if let wait = node.status.wait, wait.owner != .operator {
            node.status.wait?.deadline = max(wait.deadline, now.advanced(by: deadlines.resumeGrace))
        }
        switch node.status.state {
        case .verifying: effects.append(.verifyBMC)
        case .inspecting where node.status.wait?.owner == .bmc: effects.append(.boot(.ramdisk))
        case .deploying(.bootingRamdisk) where node.status.wait?.owner == .bmc,
            .cleaning(.bootingRamdisk) where node.status.wait?.owner == .bmc:
            effects.append(.boot(.ramdisk))
        case .deploying(.bootingDisk): effects.append(.boot(.disk))
        case .rescuing(.bootingRamdisk) where node.status.wait?.owner == .bmc: effects.append(.boot(.ramdisk))
        case .unrescuing(.bootingDisk) where node.status.wait?.owner == .bmc: effects.append(.boot(.disk))
        default: break
        }
        judgeStream(runs)
        followSpec()
    }
}
