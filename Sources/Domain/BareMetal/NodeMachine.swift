import AgentProtocol
import CatalogBareMetal
import Primitives

/// The machine's life: a pure step from a node and an input to the node after it and what has to be done.
///
/// No clock, no I/O. Inputs that come late or twice change nothing; what a state does not allow is refused with
/// `InvalidTransition`.
public struct NodeMachine: Sendable {
    /// How long waits may take.
    public let deadlines: NodeDeadlines

    /// A machine with these deadlines.
    public init(deadlines: NodeDeadlines = NodeDeadlines()) { self.deadlines = deadlines }

    /// `node` after `input`, and the effects, in order.
    public func step(_ node: Node, _ input: NodeInput, now: Timestamp) throws(InvalidTransition) -> (
        node: Node, effects: [NodeEffect]
    ) {
        var walk = NodeWalk(node: node, now: now, deadlines: deadlines)
        switch input {
        case .registered(let registration): walk.register(registration)
        case .specified: walk.followSpec()
        case .resumed(let runs): walk.resume(runs)
        case .conductorsChanged(let runs): walk.judgeStream(runs)
        case .tick: walk.tick()
        case .bmcVerified(let hasBMC): walk.bmcVerified(hasBMC: hasBMC)
        case .bmcFailed(let message): walk.bmcFailed(message)
        case .bootOrdered(let order): walk.bootOrdered(order)
        case .bootLeftToOperator(let order, let message): walk.bootLeftToOperator(order, message)
        case .judged(let blocks): walk.judged(blocks)
        case .powerRead(let reading): walk.powerRead(reading)
        case .powerDone(let number, let failure): walk.powerDone(number: number, failure: failure)
        case .progressed(let order, let stage): try walk.progressed(order: order, stage)
        case .imageChosen(let image): walk.node.status.image = image
        case .imageMissing(let message): walk.imageMissing(message)
        case .agentEnrolled: try walk.agentEnrolled()
        case .agentConnected(let hello, let stream): walk.agentConnected(hello, stream)
        case .agentDisconnected(let stream): walk.agentDisconnected(stream)
        case .agentReported(let report): walk.agentReported(report)
        case .clockRead(let milliseconds): walk.clockRead(milliseconds)
        }
        walk.keepHandsOff()
        walk.expectOperator()
        // What an early part of the step asked for may be overtaken by a later one: a machine that an approval has let go on
        // is not to be booted anew.
        let owed = Self.owed(walk.node)
        walk.effects.removeAll { effect in
            switch effect {
            case .verifyBMC, .boot: effect != owed
            case .power, .record, .keep: false
            }
        }
        return (walk.node, walk.effects)
    }

    /// Whether the node would be another one after `NodeInput.conductorsChanged`.
    public static func hangs(_ node: Node, onOthersThan runs: Set<String>) -> Bool {
        guard let agent = node.status.agent, agent.isConnected else { return false }
        return (agent.stream.map { runs.contains($0.conductor) } ?? false) != (agent.unknownUntil == nil)
    }

    /// Whether the specification asks for something that the status has not followed yet.
    public static func needsAttention(_ node: Node) -> Bool {
        let spec = node.spec
        let status = node.status
        if node.approvalToTake != nil { return true }
        if let power = spec.power, power.number > status.powerSeen { return true }
        guard !spec.isInMaintenance else { return false }
        if node.rescueToFollow != nil || node.cleaningToBegin != nil { return true }
        switch status.state {
        case .available: return spec.role != nil
        case .deployFailed, .active, .rescueFailed: return spec.wantedDeployment > status.attempted
        case .deploying: return node.isLeftToOperator && spec.wantedDeployment > status.attempted
        default: return false
        }
    }
}

extension Node {
    /// The approval that was not acted upon yet; a rule's waits for the boot that it was given for.
    var approvalToTake: Approval? {
        guard let approval = spec.approval, approval.number > status.approvalSeen else { return nil }
        let isEarly =
            approval.isByRule && status.state == .enroll && status.session == nil && status.inventory == nil
        return isEarly ? nil : approval
    }
}

extension Node {
    /// Whether what it waits for is a person who boots its machine, so that there is no end to that but what they do.
    public var isLeftToOperator: Bool { status.wait?.owner == .operator }
}

extension Node.Spec {
    /// The deployment that is asked for: a role asks for the first one by itself.
    public var wantedDeployment: Generation { max(deployment, Generation(role == nil ? 0 : 1)) }
}

/// One step in progress.
struct NodeWalk {
    var node: Node
    let now: Timestamp
    let deadlines: NodeDeadlines
    var effects: [NodeEffect] = []

    init(node: Node, now: Timestamp, deadlines: NodeDeadlines) {
        self.node = node
        self.now = now
        self.deadlines = deadlines
    }

    // MARK: Moving

    mutating func enter(_ state: NodeState, wait: Node.Wait?, why: String) {
        let before = node.status.state
        node.status.state = state
        node.status.wait = wait
        guard before != state else { return }
        node.status.since = now
        effects.append(.record(type: "StateChanged", message: "\(before) → \(state): \(why)"))
    }

    func wait(_ cause: String, _ owner: Node.Wait.Owner, _ duration: Duration, next: String) -> Node.Wait {
        Node.Wait(cause: cause, owner: owner, deadline: now.advanced(by: duration), next: next)
    }

    func operatorWait(_ cause: String, next: String) -> Node.Wait {
        wait(cause, .operator, deadlines.operatorReminder, next: next)
    }

    /// In maintenance no machine is booted: what would have to be ends, and says why.
    mutating func keepHandsOff() {
        let isBoot = { (effect: NodeEffect) in if case .boot = effect { true } else { false } }
        guard node.spec.isInMaintenance, effects.contains(where: isBoot) else { return }
        effects.removeAll(where: isBoot)
        bmcFailed("it is in maintenance, so its power is left alone", event: "LeftAlone")
        guard let wait = node.status.wait else { return }
        node.status.wait?.next = "muster node set \(node.spec.name) --maintenance off; \(wait.next)"
    }

    // MARK: Registration and approval

    mutating func register(_ registration: Registration) {
        // An approval that was not acted upon yet is for the boot that was there, not for this one.
        if node.spec.approval?.isByRule == false { takeApproval() }
        let former = node.status.session
        let known = former?.bootID == registration.bootID
        let isFresh = node.spec.approval == nil || node.status.approvalSeen == 0
        let isDistrusted = !changedRequiredPCRs(registration).isEmpty
        let isWelcome = isOrdered(registration.bootID) || isAttestedReturn(registration)
        let isTrusted = known ? former?.isTrusted ?? false : isWelcome && !isFresh && !isDistrusted
        if !known { noteAttestation(registration) }
        let measurementWait = measurementWait(registration)
        node.status.session = Node.Session(
            tokenHash: registration.tokenHash, bootID: registration.bootID, opened: now, isTrusted: isTrusted,
            claim: claim(registration))
        if isTrusted || isFresh { takeClaim() }
        if !known {
            effects.append(
                .record(type: "RamdiskBooted", message: "the machine booted the ramdisk and was inventoried"))
        }
        if !registration.changes.isEmpty {
            let text = InventoryDifference.text(registration.changes)
            effects.append(
                .record(
                    type: "InventoryChanged",
                    message: isTrusted || isFresh ? text : "a boot that is not trusted says: \(text)"))
        }
        switch node.status.state {
        case .enroll:
            enter(.enroll, wait: approvalWait(), why: "seen")
        case .inspecting where isTrusted || isFresh:
            becomeAvailable(why: "inspected")
        case .deploying(.bootingRamdisk) where isTrusted:
            beginWriting(why: "the ramdisk is up")
        case .cleaning(.bootingRamdisk) where isTrusted:
            beginWiping(why: "the ramdisk is up")
        case .cleaning(.wiping) where !known:
            failCleaning("the machine rebooted by itself while its disks were emptied")
        case .deploying(.writing) where !known && isTrusted && node.status.retries < deadlines.retryCountMax:
            node.status.retries += 1
            beginWriting(why: "the machine rebooted by itself, and its TPM proves that it is the one")
        case .deploying(.writing) where !known, .deploying(.bootingDisk) where !known:
            distrust("the machine rebooted by itself in the middle of its deployment")
        case .rescuing(.bootingRamdisk) where isTrusted:
            openRescue(why: "the ramdisk is up")
        case .rescuing(.opening) where !known, .rescue where !known:
            failRescue("the machine rebooted by itself, so nobody can log in any more")
        case .inspecting, .deploying(.bootingRamdisk), .deploying(.enrolling), .deploying(.checking), .active,
            .cleaning(.bootingRamdisk), .rescuing(.bootingRamdisk), .unrescuing:
            effects.append(
                .record(
                    type: "UnexpectedBoot",
                    message: "the machine booted the ramdisk without having been told to; nothing is sent to it"))
        case .deploying, .verifying, .manageable, .inspectFailed, .available, .deployFailed, .cleaning, .cleanFailed,
            .rescuing, .rescue, .rescueFailed, .servicing, .serviceFailed, .deleting, .deleteFailed:
            break
        }
        followSpec()
        let owner = node.status.wait?.owner
        if let measurementWait, !isTrusted, !isFresh, owner == .operator || owner == .machine {
            node.status.wait = measurementWait
        }
    }

    /// What the registration says, with what its measurements have against it.
    private func claim(_ registration: Registration) -> Node.Claim {
        var claim = registration.claim
        let changed = changedRequiredPCRs(registration)
        if !changed.isEmpty {
            claim.blocks = Array(([.measurements(changed)] + (claim.blocks ?? [])).prefix(Node.Block.countMax))
        }
        return claim
    }

    /// Whether the BMC has been told to make just such a boot, and it is not the one that ran before.
    private func isOrdered(_ bootID: String) -> Bool {
        guard node.status.wait?.owner == .machine, bootID != node.status.formerBoot else { return false }
        switch node.status.state {
        case .deploying(.bootingRamdisk), .cleaning(.bootingRamdisk), .rescuing(.bootingRamdisk), .inspecting:
            return true
        default: return false
        }
    }

    /// Makes what the session's machine says of itself what the node is known by.
    private mutating func takeClaim() {
        guard let claim = node.status.session?.claim else { return }
        node.status.session?.claim = nil
        node.status.identity = claim.identity
        node.status.inventory = claim.inventory
        node.status.summary = claim.summary
        node.status.attestation = claim.attestation
        // Measurements that are taken over are accepted by that.
        let blocks = (claim.blocks ?? []).filter { $0.kind != .measurements }
        if let block = blocks.first, blocks != node.status.blocks {
            effects.append(.record(type: "Blocked", message: block.message))
        }
        node.status.blocks = blocks.isEmpty ? nil : blocks
    }

    /// Lets in the boot that an approval is for, once for each approval.
    private mutating func takeApproval() {
        guard let approval = node.approvalToTake else { return }
        node.status.approvalSeen = approval.number
        let session = node.status.session
        if session != nil, approval.isByRule || approval.session == session?.tokenHash {
            node.status.session?.isTrusted = true
            takeClaim()
        }
        effects.append(.record(type: "Approved", message: "let in by \(approval.by)"))
        switch node.status.state {
        case .enroll, .inspectFailed: verify(why: "approved")
        case .deploying(.bootingRamdisk) where node.status.session?.isTrusted == true:
            beginWriting(why: "its present boot is approved")
        case .cleaning(.bootingRamdisk) where node.status.session?.isTrusted == true:
            beginWiping(why: "its present boot is approved")
        case .rescuing(.bootingRamdisk) where node.status.session?.isTrusted == true:
            openRescue(why: "its present boot is approved")
        case .inspecting where node.status.session?.isTrusted == true: becomeAvailable(why: "inspected")
        default: break
        }
    }

    /// A machine that was made, but whose first registration a crash swallowed, waits for its operator too.
    mutating func expectOperator() {
        if node.status.state == .enroll, node.status.wait == nil { node.status.wait = approvalWait() }
    }

    /// What the operator is told about a machine that nobody has let in.
    private func approvalWait() -> Node.Wait {
        if let block = node.status.blocks?.first {
            let more = (node.status.blocks?.count ?? 1) - 1
            return operatorWait(
                "it cannot be let in: \(block.message)" + (more > 0 ? " (and \(more) more)" : ""),
                next: "mend it ('muster site explain \(node.spec.name)' tells all), or accept it: muster node approve "
                    + "\(node.spec.name) --accept-difference")
        }
        return operatorWait(
            "nobody has let this machine in yet",
            next: "compare its serial numbers, then: muster node approve \(node.spec.name) --role ROLE")
    }

    /// What the rules say now of a machine that waits; they may have changed since it was seen.
    mutating func judged(_ blocks: [Node.Block]) {
        guard node.status.blocks ?? [] != blocks else { return }
        node.status.blocks = blocks.isEmpty ? nil : blocks
        effects.append(
            .record(
                type: blocks.isEmpty ? "Unblocked" : "Blocked",
                message: blocks.first?.message ?? "nothing keeps it out any more"))
        if node.status.state == .enroll, node.spec.approval == nil { node.status.wait = approvalWait() }
    }

    /// A machine that came back without having been told to gets nothing until an operator has looked at it.
    private mutating func distrust(_ why: String) {
        node.status.lastError = why
        enter(
            .deployFailed,
            wait: operatorWait(
                why,
                next: "approve its present boot with 'muster node approve \(node.spec.name)', then 'muster node deploy "
                    + "\(node.spec.name)'"),
            why: why)
    }

    mutating func followSpec() {
        if let power = node.spec.power, power.number > node.status.powerSeen {
            effects.append(.power(number: power.number, power.action))
        }
        takeApproval()
        guard !node.spec.isInMaintenance else { return }
        if let rescue = node.rescueToFollow { return followRescue(rescue) }
        if let cleaning = node.cleaningToBegin { return beginCleaning(cleaning, why: "a cleaning is asked for") }
        switch node.status.state {
        case .available:
            if node.spec.role == nil {
                enter(.available, wait: roleWait(), why: "no role")
            } else {
                beginDeployment(why: "a role is asked for")
            }
        case .deployFailed, .active, .rescueFailed:
            if node.spec.wantedDeployment > node.status.attempted { beginDeployment(why: "a deployment is asked for") }
        // Nothing ends this by itself: a token that is void by now would keep the node here for ever.
        case .deploying where node.isLeftToOperator && node.spec.wantedDeployment > node.status.attempted:
            beginDeployment(why: "a deployment is asked for")
        case .enroll, .verifying, .manageable, .inspecting, .inspectFailed, .deploying, .cleaning, .cleanFailed,
            .rescuing, .rescue, .unrescuing, .servicing, .serviceFailed, .deleting, .deleteFailed:
            break
        }
    }

    private func roleWait() -> Node.Wait {
        operatorWait("no role is asked for", next: "muster node approve \(node.spec.name) --role ROLE")
    }

    private mutating func verify(why: String) {
        enter(
            .verifying,
            wait: wait(
                "the BMC is being asked", .bmc, deadlines.verify,
                next: "the node falls back to 'enroll' with the BMC's error"),
            why: why)
        effects.append(.verifyBMC)
    }

    mutating func bmcVerified(hasBMC: Bool) {
        guard node.status.state == .verifying else { return }
        node.status.lastError = nil
        enter(.manageable, wait: nil, why: hasBMC ? "the BMC answers" : "it has no BMC: power is switched by hand")
        if node.status.inventory == nil {
            enter(
                .inspecting,
                wait: wait(
                    "the machine is told to boot the ramdisk", .bmc, deadlines.ramdiskBoot,
                    next: "the inspection is given up"),
                why: "nothing is known of its hardware")
            effects.append(.boot(.ramdisk))
        } else {
            becomeAvailable(why: "its hardware is known")
        }
    }

    mutating func becomeAvailable(why: String) {
        enter(.available, wait: roleWait(), why: why)
        if node.spec.role != nil, !node.spec.isInMaintenance { beginDeployment(why: "a role is asked for") }
    }

    mutating func bmcFailed(_ message: String, event: String = "BMCFailed") {
        node.status.lastError = message
        effects.append(.record(type: event, message: message))
        switch node.status.state {
        case .verifying:
            node.status.approvalSeen = node.spec.approval?.number ?? 0
            enter(
                .enroll,
                wait: operatorWait(
                    message, next: "mend it, then approve again: muster node approve \(node.spec.name)"),
                why: "the BMC cannot be used")
        case .inspecting:
            enter(
                .inspectFailed,
                wait: operatorWait(message, next: "mend the BMC, then: muster node approve \(node.spec.name)"),
                why: "the BMC cannot boot the ramdisk")
        case .deploying(.bootingRamdisk), .deploying(.bootingDisk):
            failDeployment(message)
        case .cleaning(.bootingRamdisk):
            failCleaning(message)
        case .rescuing(.bootingRamdisk), .unrescuing(.bootingDisk):
            failRescue(message)
        case .deploying, .enroll, .manageable, .inspectFailed, .available, .deployFailed, .active, .cleaning,
            .cleanFailed, .rescuing, .rescue, .unrescuing, .rescueFailed, .servicing, .serviceFailed, .deleting,
            .deleteFailed:
            break
        }
    }
}
