import BareMetal
import CatalogBareMetal
import Primitives

/// A machine's BMC as one run of the conductor talks to it.
struct BMCDouble: BMCDriver {
    let machine: Machine
    let conductor: Conductor

    private var world: World { machine.world }

    /// One call: it takes a time, and may fail in the ways that BMCs have.
    private func call(_ name: String) async throws(BMCError) {
        await world.pause(world.slowly(50...2500), run: conductor.run, "\(machine) BMC: \(name)")
        guard conductor.isAlive else { throw .cancelled }
        guard machine.bmc.unreachableUntil <= world.now, !world.strikes(.bmcUnreachable) else {
            throw .unreachable(cause: "no route to host")
        }
        if world.strikes(.bmcHang) {
            await world.pause(world.draw(20_000...90_000), run: conductor.run, "\(machine) BMC hangs")
            throw .timeout("no answer")
        }
        if world.strikes(.bmcReset) {
            // A BMC that starts anew forgets what the next start was to be.
            machine.target.next = nil
            machine.bmc.unreachableUntil = world.now + world.draw(30_000...120_000)
            throw .unreachable(cause: "connection reset")
        }
    }

    func identify() async throws(BMCError) -> BMCIdentification {
        try await call("identify")
        return BMCIdentification(system: "1", serial: machine.serial, uuid: machine.uuid)
    }

    func sensors() async throws(BMCError) -> [SensorReading] { [] }

    func powerState() async throws(BMCError) -> PowerState {
        try await call("power?")
        if world.strikes(.bmcLiedPower) {
            return [.on, .off, .unknown].randomElement(using: &world.random) ?? .unknown
        }
        return machine.isOn ? .on : .off
    }

    func setBoot(_ target: BootTarget, once: Bool, firmware: MachineFirmware?) async throws(BMCError) {
        note("boot \(target)\(once ? " once" : "")")
        try await call("boot \(target)")
        if world.strikes(.bmcRefusal) { throw .refused("internal error") }
        if target == .network { world.rememberOrder(machine) }
        if world.strikes(.bmcLie) { return }
        let wanted: Machine.BootTargets.Target = target == .network ? .network : .disk
        if once { machine.target.next = wanted } else { (machine.target.usual, machine.target.next) = (wanted, nil) }
    }

    func setPower(_ action: PowerAction) async throws(BMCError) {
        note("power \(action)")
        try await call("power \(action)")
        if world.strikes(.bmcRefusal) { throw .refused("internal error") }
        if world.strikes(.bmcLie) {
            // It says what it has not done, or has done what it says it could not.
            if world.draw(0...1) == 0 {
                world.rememberLie(machine)
                return
            }
            switchPower(action)
            throw .timeout("no answer")
        }
        switchPower(action)
    }

    /// An order of the conductor's has reached it.
    private func note(_ order: String) {
        world.note("\(machine) BMC: \(order)")
        world.reached(machine)
    }

    private func switchPower(_ action: PowerAction) {
        world.note("\(machine) power \(action)")
        switch action {
        case .on: if !machine.isOn { machine.boot() }
        case .forceOff: if machine.isOn { machine.powerOff() }
        case .reset: machine.boot()
        }
    }
}
