import AgentProtocol
import BootServer
import CatalogBareMetal
import DHCP
import Primitives

@testable import BareMetal

extension World {
    // MARK: Life

    func startConductor() {
        runCount += 1
        let conductor = Conductor(run: runCount, world: self)
        self.conductor = conductor
        note("\(conductor.name) starts")
        executor.begin { await conductor.start() }
    }

    /// Kills the conductor as it is: what it had in hand is gone, and what its store has acknowledged is not.
    func crash() {
        guard let old = conductor else { return }
        note("\(old.name) crashes")
        old.isAlive = false
        conductor = nil
        ledger.awaited = [:]
        ledger.overdue = [:]
        for link in old.links.values.sorted(by: { $0.number < $1.number }) where !link.isCut {
            link.isCut = true
            for machine in machines { machine.agent?.ended(link) }
        }
        releaseParked(of: old.run)
        after(slowly(2000...30_000), "the conductor is started again") { [self] in
            executor.begin { [self] in
                await disk.crash(in: self)
                await disk.open(in: self)
                startConductor()
            }
        }
    }

    // MARK: Between conductor and machines

    func sendToConductor(_ packet: DHCPPacket, from machine: Machine) {
        send("\(machine)'s \(packet.options.messageType.map { "\($0)" } ?? "?") arrives") { [self] in
            guard let packet = arriving(packet) else { return }
            conductor?.receive(packet)
        }
    }

    func sendToMachine(_ packet: DHCPPacket) {
        guard let machine = machines.first(where: { $0.mac == packet.macAddress }) else { return }
        send("\(machine) gets \(packet.options.messageType.map { "\($0)" } ?? "?") \(packet.yourAddress)") { [self] in
            if let packet = arriving(packet) { machine.receive(packet) }
        }
    }

    func sendToAgent(_ message: ConductorMessage, _ link: AgentLink) {
        checkText(message, to: machines.firstIndex { $0.installation?.identity.node == link.node } ?? -1)
        link.downDue = max(link.downDue + 1, now + slowly(2...60))
        after(link.downDue - now, "stream \(link.number) brings a message") { [self] in
            for machine in machines { machine.agent?.receive(message, link) }
        }
    }

    /// Who answers on the segment.
    func probe(_ addresses: [IPv4Address]) -> [IPv4Address: ProbeAnswer] {
        var answers: [IPv4Address: ProbeAnswer] = [:]
        for address in addresses {
            let owner = machines.first { $0.address == address }
            let isForeign = foreignAddresses[address].map { $0 > now } ?? false
            answers[address] = owner.map { .answered($0.mac) } ?? (isForeign ? .answered(nil) : .silent)
        }
        return answers
    }

    /// Remembers an order that was given, and whether it might be.
    func noteOrder(_ order: DiscoveryOrder, to index: Int, epoch: Int, session: String) {
        let hints: [RootDiskHint]
        switch order.action {
        case .deploy(let deploy):
            hints = [deploy.rootDisk]
            checkText(order, to: index)
        case .clean(let clean): hints = clean.disks
        case .rescue: hints = []
        case .wait, .standBy, .inspect: return
        }
        checkSecret("an order", to: index, epoch: epoch, session: session)
        ledger.orders[index, default: [:]][order.number] = Ledger.GivenOrder(epoch: epoch, hints: hints)
    }

    /// What the vault has for a rescue.
    func rescueSecret(_ name: String) -> SecretText {
        let node = ledger.nodes.values.first { node in (try? node.id).map { Node.RescueRequest.secretName($0) } == name
        }
        return SecretText("\(node?.spec.rescue?.number ?? 0) $y$j9T$hash")
    }
}

extension Machine {
    var agent: AgentHost? {
        if case .installed(let agent) = running { agent } else { nil }
    }
}
