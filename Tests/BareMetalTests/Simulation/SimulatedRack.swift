import AgentProtocol
import BareMetal
import Primitives
import ReconcileRuntime

/// Machines, their BMCs and an operator around the real registrar and the real writer of nodes, in virtual time.
///
/// Until `faultsEnd` messages are lost and doubled, BMCs fail or do what they say has failed, machines lose power and
/// the conductor crashes between a commit and its effects; afterwards everything works.
struct SimulatedRack: Reconciler {
    enum Event: Sendable {
        case begin
        case booted(Int, epoch: Int)
        case mayBoot(Int, epoch: Int, fromDisk: Bool)
        case registered(Int, epoch: Int, session: String?)
        case poll(Int, epoch: Int)
        case ordered(Int, epoch: Int, Order)
        case proceed(Int, epoch: Int)
        case reported(Int, epoch: Int, isTaken: Bool)
        case reconnect(Int, epoch: Int)
        case enrolled(Int, epoch: Int, isDone: Bool)
        case orderedBMC(NodeEffect, Int, node: NodeID, run: Int)
        case operatorLooks
        case conductorTicks
        case powerCut
        case conductorCrash
    }

    enum Order: Sendable {
        case noSession
        case wait
        case standBy(number: UInt64)
        case rescue(number: UInt64)
        case deploy(NodeID, number: UInt64)
    }

    enum Effect: Sendable {
        case askBoot(Int, epoch: Int)
        case register(Int, epoch: Int, answers: Bool)
        case askOrder(Int, epoch: Int, session: String)
        case report(Int, epoch: Int, session: String, order: UInt64, DiscoveryProgress.Stage)
        case enrol(Int, epoch: Int, node: NodeID, stream: UInt64)
        case disconnect(node: NodeID, stream: UInt64)
        case tell(NodeInput, node: NodeID)
        case tick
        case operate
        case restart(run: Int)
    }

    struct Machine: Sendable {
        var epoch = 0
        var bootsDisk = false
        var disk: NodeID?
        var session: String?
        var writing: (node: NodeID, order: UInt64, step: Int)?
        var ordersDone: Set<UInt64> = []
        var isRescued = false
        var stream: (node: NodeID, number: UInt64)?
    }

    private(set) var machines: [Machine]
    private(set) var faults: [String: Int] = [:]
    /// How often an operator could have logged in to a machine.
    private(set) var rescueCount = 0
    private let faultsEnd: Timestamp
    private var run = 1
    private var streams: UInt64 = 0

    /// A rack of machines that are switched off.
    init(machineCount: Int, faultsEnd: Timestamp) {
        machines = Array(repeating: Machine(), count: machineCount)
        self.faultsEnd = faultsEnd
    }

    // MARK: Steps

    mutating func step(_ event: Event, now: Timestamp, random: inout some RandomNumberGenerator) -> [Action] {
        switch event {
        case .begin: return begin(&random)
        case .booted(let index, let epoch) where isPresent(index, epoch):
            return machines[index].bootsDisk && machines[index].disk != nil
                ? startAgent(index) : [.perform(.askBoot(index, epoch: epoch))]
        case .mayBoot(let index, let epoch, let fromDisk) where isPresent(index, epoch):
            if fromDisk, machines[index].disk != nil { return startAgent(index) }
            return register(index, now, &random)
        case .registered(let index, let epoch, let session) where isPresent(index, epoch):
            guard let session else { return after(5, "retry/\(index)", .mayBoot(index, epoch: epoch, fromDisk: false)) }
            machines[index].session = session
            return [.perform(.askOrder(index, epoch: epoch, session: session))]
        case .poll(let index, let epoch) where isPresent(index, epoch):
            guard let session = machines[index].session else { return register(index, now, &random) }
            return [.perform(.askOrder(index, epoch: epoch, session: session))]
        case .ordered(let index, let epoch, let order) where isPresent(index, epoch):
            return take(order, index)
        case .proceed(let index, let epoch) where isPresent(index, epoch):
            return write(index, now, &random)
        case .reported(let index, let epoch, let isTaken) where isPresent(index, epoch):
            guard isTaken, machines[index].writing != nil else {
                machines[index].writing = nil
                return after(5, "poll/\(index)", .poll(index, epoch: epoch))
            }
            return after(30, "write/\(index)", .proceed(index, epoch: epoch))
        case .enrolled(let index, let epoch, let isDone) where isPresent(index, epoch):
            return isDone ? [] : after(20, "agent/\(index)", .booted(index, epoch: epoch))
        case .reconnect(let index, let epoch) where isPresent(index, epoch):
            return machines[index].stream == nil ? [] : startAgent(index)
        case .booted, .mayBoot, .registered, .poll, .ordered, .proceed, .reported, .reconnect, .enrolled:
            return []
        case .orderedBMC(let effect, let index, let node, let run):
            // What a conductor had in hand when it crashed is gone with it.
            return run == self.run ? carryOut(effect, index, node, now, &random) : []
        case .operatorLooks: return [.perform(.operate)] + after(60, "operator", .operatorLooks)
        case .conductorTicks: return [.perform(.tick)] + after(30, "tick", .conductorTicks)
        case .powerCut: return powerCut(now, &random)
        case .conductorCrash: return now < faultsEnd ? crash(&random) : []
        }
    }

    /// What the conductor had in hand is gone, and all streams; agents come back within a minute.
    private mutating func crash(_ random: inout some RandomNumberGenerator) -> [Action] {
        count("crash")
        run += 1
        var actions: [Action] = [.perform(.restart(run: run))]
        for index in machines.indices where machines[index].stream != nil {
            actions += after(
                .random(in: 1...60, using: &random), "agent/\(index)",
                .reconnect(index, epoch: machines[index].epoch))
        }
        return actions + after(.random(in: 300...1500, using: &random), "crash", .conductorCrash)
    }

    private func isPresent(_ index: Int, _ epoch: Int) -> Bool { machines[index].epoch == epoch }

    private func after(_ seconds: Int64, _ timer: TimerID, _ event: Event) -> [Action] {
        [.setTimer(timer, after: .seconds(seconds), event)]
    }

    private mutating func count(_ fault: String) { faults[fault, default: 0] += 1 }

    /// Whether a fault of this chance in a hundred happens now.
    private mutating func strikes(
        _ fault: String, _ percent: Int, _ now: Timestamp, _ random: inout some RandomNumberGenerator
    ) -> Bool {
        guard now < faultsEnd, Int.random(in: 0..<100, using: &random) < percent else { return false }
        count(fault)
        return true
    }

    private mutating func begin(_ random: inout some RandomNumberGenerator) -> [Action] {
        var actions = after(60, "operator", .operatorLooks) + after(30, "tick", .conductorTicks)
        actions += after(.random(in: 300...1500, using: &random), "crash", .conductorCrash)
        actions += after(.random(in: 300...1500, using: &random), "cut", .powerCut)
        for index in machines.indices { actions += boot(index, &random) }
        return actions
    }

    // MARK: Machines

    /// Switches on or resets: whatever ran there is gone.
    private mutating func boot(_ index: Int, _ random: inout some RandomNumberGenerator) -> [Action] {
        machines[index].epoch += 1
        machines[index].session = nil
        machines[index].writing = nil
        machines[index].ordersDone = []
        machines[index].isRescued = false
        var actions: [Action] = []
        if let stream = machines[index].stream {
            machines[index].stream = nil
            actions.append(.perform(.disconnect(node: stream.node, stream: stream.number)))
        }
        return actions
            + after(
                .random(in: 20...90, using: &random), "boot/\(index)",
                .booted(index, epoch: machines[index].epoch))
    }

    private mutating func powerCut(_ now: Timestamp, _ random: inout some RandomNumberGenerator) -> [Action] {
        guard now < faultsEnd else { return [] }
        count("power cut")
        return boot(.random(in: machines.indices, using: &random), &random)
            + after(.random(in: 300...1500, using: &random), "cut", .powerCut)
    }

    private mutating func register(
        _ index: Int, _ now: Timestamp, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        let epoch = machines[index].epoch
        let again = after(15, "retry/\(index)", .mayBoot(index, epoch: epoch, fromDisk: false))
        if strikes("lost post", 10, now, &random) { return again }
        let isLost = strikes("lost answer", 10, now, &random)
        let post = Action.perform(.register(index, epoch: epoch, answers: !isLost))
        let isDoubled = strikes("doubled post", 5, now, &random)
        return (isDoubled ? [post, post] : [post]) + (isLost ? again : [])
    }

    private mutating func take(_ order: Order, _ index: Int) -> [Action] {
        let epoch = machines[index].epoch
        switch order {
        case .noSession: machines[index].session = nil
        case .wait: break
        case .rescue(let number):
            guard let session = machines[index].session, machines[index].ordersDone.insert(number).inserted else {
                break
            }
            machines[index].isRescued = true
            rescueCount += 1
            let access = RescueAccess(addresses: [], hostKey: "ssh-ed25519 A", fingerprint: "SHA256:a")
            return [
                .perform(.report(index, epoch: epoch, session: session, order: number, .rescued(access)))
            ]
        case .standBy(let number):
            guard let session = machines[index].session, machines[index].isRescued else { break }
            machines[index].isRescued = false
            return [.perform(.report(index, epoch: epoch, session: session, order: number, .finished))]
        case .deploy(let node, let number):
            guard machines[index].writing == nil, !machines[index].ordersDone.contains(number) else { break }
            machines[index].writing = (node, number, 0)
            return after(1, "write/\(index)", .proceed(index, epoch: epoch))
        }
        return after(10, "poll/\(index)", .poll(index, epoch: epoch))
    }

    /// One more piece of the image, and the report of it.
    private mutating func write(
        _ index: Int, _ now: Timestamp, _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        let epoch = machines[index].epoch
        guard var writing = machines[index].writing, let session = machines[index].session else { return [] }
        if strikes("lost report", 5, now, &random) { return after(5, "write/\(index)", .proceed(index, epoch: epoch)) }
        let stage: DiscoveryProgress.Stage
        if writing.step == 0 {
            machines[index].disk = nil
            stage = .started(disk: "vda")
        } else if strikes("bad disk", 2, now, &random) {
            machines[index].ordersDone.insert(writing.order)
            stage = .failed(message: "the disk has bad sectors", retryable: false)
        } else if writing.step < 4 {
            stage = .writing(done: writing.step, total: 4, bytes: UInt64(writing.step))
        } else {
            machines[index].disk = writing.node
            machines[index].ordersDone.insert(writing.order)
            stage = .finished
        }
        writing.step += 1
        machines[index].writing = writing.step > 4 ? nil : writing
        return [.perform(.report(index, epoch: epoch, session: session, order: writing.order, stage))]
    }

    private mutating func startAgent(_ index: Int) -> [Action] {
        guard let node = machines[index].disk else { return [] }
        streams += 1
        machines[index].stream = (node, streams)
        return [.perform(.enrol(index, epoch: machines[index].epoch, node: node, stream: streams))]
    }

    // MARK: BMCs

    private mutating func carryOut(
        _ effect: NodeEffect, _ index: Int, _ node: NodeID, _ now: Timestamp,
        _ random: inout some RandomNumberGenerator
    ) -> [Action] {
        switch effect {
        case .verifyBMC:
            let fails = strikes("BMC refuses", 10, now, &random)
            return [.perform(.tell(fails ? .bmcFailed("the BMC hangs") : .bmcVerified(hasBMC: true), node: node))]
        case .boot(let order):
            if strikes("BMC fails", 5, now, &random) {
                return [.perform(.tell(.bmcFailed("the BMC hangs"), node: node))]
            }
            machines[index].bootsDisk = order == .disk
            var actions = boot(index, &random)
            // Only a deadline of the conductor's gets a machine out of this.
            if strikes("hung boot", 20, now, &random) { actions.append(.stopTimer("boot/\(index)")) }
            if strikes("BMC silent", 5, now, &random) { return actions }
            let lies = strikes("BMC lies", 5, now, &random)
            return actions + [.perform(.tell(lies ? .bmcFailed("the BMC hangs") : .bootOrdered(order), node: node))]
        case .power, .record, .keep: return []
        }
    }
}
