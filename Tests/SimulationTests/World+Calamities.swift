import BareMetal
import CatalogBareMetal
import Primitives

/// What goes wrong by itself, and the end of it.
extension World {
    func calamities() {
        guard hasFaults else { return }
        after(10_000, "~ calamities") { [self] in calamities() }
        if conductor != nil, strikes(.crash) { crash() }
        if strikes(.fullStore) { disk.fullUntil = now + draw(20_000...120_000) }
        if strikes(.busyStore) { disk.busyUntil = now + draw(2000...40_000) }
        if strikes(.slowness) { slowUntil = now + draw(20_000...60_000) }
        if strikes(.clockJump) {
            let most: Int64 = [2000, 60_000, 600_000].randomElement(using: &random) ?? 2000
            clockOffset += draw(-most...most)
            setClock()
        }
        if strikes(.powerCut), let machine = machines.randomElement(using: &random) { cutPower(of: machine) }
        if strikes(.foreignAddress) { takeAddress() }
    }

    private func cutPower(of machine: Machine) {
        guard machine.isOn else { return }
        note("\(machine) has no power")
        machine.powerOff()
        // Not all machines start by themselves when the power is back.
        guard draw(0...3) != 0 else { return }
        after(draw(1000...20_000), machine, "has power again") { machine.boot() }
    }

    /// A host that nobody knows takes an address of the pool.
    private func takeAddress() {
        let pool = site.segment.spec.pools[0]
        let address = IPv4Address(draw(pool.start.value...pool.end.value))
        guard !machines.contains(where: { $0.address == address }) else { return }
        note("somebody takes \(address)")
        foreignAddresses[address] = now + draw(60_000...600_000)
    }

    func endFaults() {
        disk.fullUntil = 0
        disk.busyUntil = 0
        slowUntil = 0
        foreignAddresses = [:]
        for machine in machines { machine.bmc.unreachableUntil = 0 }
        after(30_000, "~ inspection of the end") { [self] in lookForEnd() }
    }

    private func lookForEnd() {
        let late = machines.filter { !isDone($0) }
        if late.isEmpty { return finish() }
        guard now < shape.faultsEnd + Self.recoveryMax else {
            let states = late.map { machine -> String in
                let node = ledger.nodes.values.first { self.machine(of: $0) === machine }
                return
                    "\(machine): \(node.map { "\($0.status.state), \($0.status.wait?.cause ?? "no wait")" } ?? "no node")"
            }
            return violate(.progress, states.joined(separator: "; "))
        }
        after(30_000, "~ inspection of the end") { [self] in lookForEnd() }
    }

    /// Whether a machine is where it should be: active and connected, or outside when nobody lets it in.
    private func isDone(_ machine: Machine) -> Bool {
        guard let node = ledger.nodes.values.first(where: { self.machine(of: $0) === machine }) else { return false }
        if machine.shape.isStranger { return node.status.state == .enroll }
        let spec = node.spec
        return node.status.state == .active && node.status.agent?.isConnected == true
            && (spec.rescue == nil) == !machine.shape.isRescued && (spec.cleaning == nil) == !machine.shape.isReleased
            && spec.wantedDeployment == node.status.deployed
    }

    /// Looks at what takes time to go wrong.
    func inspect() {
        after(15_000, "~ inspection") { [self] in inspect() }
        checkDeadlines()
        checkEffects()
    }
}
