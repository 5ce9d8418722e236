import CatalogBareMetal
import Primitives

/// What the power says of a machine.
extension NodeWalk {
    /// Notes the power, and tells when it changes, is lost or comes back. A machine whose BMC does not answer is not taken to
    /// be off.
    mutating func powerRead(_ reading: PowerReading) {
        let before = node.status.power
        node.status.power = reading
        guard before?.state != reading.state else { return }
        if before?.state == .off { waitAgain() } else { hurryIfOff() }
        switch (before, reading) {
        case (_, .unknown(_, let cause)):
            effects.append(.record(type: "PowerUnknown", message: "whether it is on is not known: \(cause)"))
        case (.unknown(let since, _), _):
            effects.append(
                .record(
                    type: "PowerKnown",
                    message: "the power is \(reading.state.rawValue), which was not known since \(since)"))
        case (.some(let before), _):
            effects.append(
                .record(
                    type: "PowerChanged",
                    message: "the power went from \(before.state.rawValue) to \(reading.state.rawValue)"))
        case (nil, _):
            break
        }
    }

    mutating func powerDone(number: UInt64, failure: String?) {
        guard number > node.status.powerSeen else { return }
        node.status.powerSeen = number
        if let failure {
            node.status.lastError = failure
            effects.append(.record(type: "PowerFailed", message: failure))
        } else {
            effects.append(
                .record(type: "PowerSwitched", message: "power \(node.spec.power?.action.rawValue ?? "order") done"))
        }
    }

    /// A machine that is off does not take its order, and one that was switched off is not working on it any more: its
    /// silence is judged soon. It is not judged by its BMC's word alone, which may be old or wrong.
    mutating func hurryIfOff() {
        guard node.status.power?.state == .off, let wait = node.status.wait, wait.owner == .machine else { return }
        let deadline = now.advanced(by: deadlines.offStall)
        guard wait.deadline > deadline else { return }
        switch node.status.state {
        case .deploying(.writing), .cleaning(.wiping):
            node.status.wait = Node.Wait(
                cause: "\(wait.cause); its BMC says that it is off", owner: .machine, deadline: deadline,
                next: wait.next)
        default: break
        }
    }

    /// It is not off after all, or not any more: its silence is judged as ever.
    private mutating func waitAgain() {
        guard node.status.wait?.owner == .machine else { return }
        switch node.status.state {
        case .deploying(.writing): node.status.wait = writeWait("the ramdisk works on its order")
        case .cleaning(.wiping): node.status.wait = wipeWait("the ramdisk works on its order")
        default: break
        }
    }
}
