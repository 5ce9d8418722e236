import AgentProtocol
import CatalogBareMetal
import Primitives

extension Node {
    /// The cleaning that is asked for and that the state allows to begin; nil: none.
    var cleaningToBegin: CleanRequest? {
        guard let cleaning = spec.cleaning, cleaning.number > status.cleaned ?? 0, spec.approval != nil else {
            return nil
        }
        switch status.state {
        case .available, .deployFailed, .cleanFailed, .manageable: return cleaning
        case .active, .rescueFailed: return cleaning.isRelease ? cleaning : nil
        case .enroll, .verifying, .inspecting, .inspectFailed, .deploying, .cleaning, .rescuing, .rescue, .unrescuing,
            .servicing, .serviceFailed, .deleting, .deleteFailed:
            return nil
        }
    }
}

extension NodeWalk {
    mutating func beginCleaning(_ request: Node.CleanRequest, why: String) {
        node.status.cleaned = request.number
        node.status.retries = 0
        node.status.lastError = nil
        node.status.progress = nil
        if node.status.session?.isTrusted == true {
            beginWiping(why: why)
        } else {
            node.status.formerBoot = node.status.session?.bootID
            node.status.session = nil
            enter(
                .cleaning(.bootingRamdisk),
                wait: wait(
                    "the machine is told to boot the ramdisk", .bmc, deadlines.ramdiskBoot, next: "the cleaning fails"),
                why: why)
            effects.append(.boot(.ramdisk))
        }
    }

    mutating func beginWiping(why: String) {
        enter(.cleaning(.wiping), wait: wipeWait("the ramdisk takes its order"), why: why)
        hurryIfOff()
    }

    func wipeWait(_ cause: String) -> Node.Wait {
        wait(cause, .machine, deadlines.writeStall, next: "the cleaning fails; what was emptied stays so")
    }

    mutating func failCleaning(_ message: String) {
        node.status.lastError = message
        node.status.progress = nil
        enter(
            .cleanFailed,
            wait: operatorWait(message, next: "mend it, then: muster node clean \(node.spec.name) …"), why: message)
    }

    mutating func cleaningProgressed(_ stage: DiscoveryProgress.Stage) throws(InvalidTransition) {
        switch stage {
        case .started(let disk):
            node.status.wait = wipeWait("\(disk.printable(limit: 80)) is being emptied")
        case .cleaning(let disk, let index, let count, let done, let total):
            guard now.since(node.status.since) < deadlines.clean else {
                return failCleaning("the disks were not empty after \(deadlines.clean.components.seconds / 3600) hours")
            }
            let percent = total > 0 ? Int(Double(min(done, total)) / Double(total) * 100) : 0
            node.status.wait = wipeWait(
                "\(disk.printable(limit: 80)) (\(index) of \(count)) is being emptied, \(percent) %")
        case .cleaned(let disks):
            for disk in disks.prefix(CleanOrder.diskCountMax) {
                effects.append(.record(type: "DiskCleaned", message: disk.description))
            }
            // What ran on it is gone with its disks.
            node.status.deployed = Generation(0)
            node.status.image = nil
            node.status.agent = nil
            becomeAvailable(why: "\(disks.count) disks are empty, which was read back")
        case .failed(let message, _):
            failCleaning(message)
        case .writing, .finished, .rescued, .login:
            throw InvalidTransition(
                state: node.status.state, asked: "a report of another order", hint: "This order is to empty disks.")
        }
    }
}
