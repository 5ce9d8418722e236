import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import TestSupport

@testable import ConductorServer

/// An operator who lets machines in, mends what has failed, and asks for a rescue and a release now and then; writes
/// specifications, as the API does.
extension World {
    func operate() {
        after(draw(20_000...50_000), "~ operator") { [self] in operate() }
        guard let conductor, conductor.isFollowing else { return }
        executor.begin { [self] in
            let store = StoreHandle(part: .api, conductor: conductor)
            for node in conductor.pieces.catalog.nodes() { await attend(to: node, store) }
            for bmc in conductor.pieces.catalog.bmcs() { await attend(to: bmc, store) }
        }
        for machine in machines { bootByHand(machine) }
    }

    /// Changes a node's specification unless its state is another by now.
    private func change(_ node: Node, _ store: StoreHandle, _ body: (inout Node.Spec) -> Void) async {
        _ = try? await store.update(Node.self, node.metadata.name) { current in
            guard var current, current.value.status.state == node.status.state else { return nil }
            body(&current.value.spec)
            return current
        }
    }

    private func attend(to node: Node, _ store: StoreHandle) async {
        guard let machine = machine(of: node), !machine.shape.isStranger else { return }
        switch node.status.state {
        case .active: await attend(toActive: node, machine, store)
        case .rescue:
            guard node.status.rescue?.loginAt != nil || draw(0...3) == 0 else { return }
            await change(node, store) { $0.rescue = request(after: $0.rescue, begins: false) }
        case .rescueFailed:
            await change(node, store) { $0.rescue = request(after: $0.rescue, begins: false) }
        case .cleanFailed:
            await change(node, store) { spec in
                spec.cleaning = cleaning(of: machine, after: spec.cleaning)
            }
        default:
            guard node.status.wait?.owner == .operator else { return }
            if node.isLeftToHands, node.status.session == nil || node.status.state == .deploying(.enrolling) {
                // Who has waited long enough begins anew.
                guard node.status.state == .deploying(.enrolling), wall.now.since(node.status.since) > .seconds(1800)
                else { return }
                return await change(node, store) {
                    $0.deployment = max($0.wantedDeployment, node.status.attempted).next
                }
            }
            await approve(node, machine, store)
        }
    }

    private func approve(_ node: Node, _ machine: Machine, _ store: StoreHandle) async {
        let session = node.status.session?.tokenHash
        if let boot = node.status.session?.bootID { ledger.approvedBoots.insert(boot) }
        let now = wall.now
        await change(node, store) { spec in
            spec.role = .network
            spec.rootDisk = machine.hint
            spec.approval = Node.Approval(
                by: "operator", at: now, number: (spec.approval?.number ?? 0) + 1, session: session)
            if node.status.state == .deployFailed {
                spec.deployment = max(spec.wantedDeployment, node.status.attempted).next
            }
        }
    }

    private func attend(toActive node: Node, _ machine: Machine, _ store: StoreHandle) async {
        if node.status.agent?.isConnected != true {
            let since = node.status.agent?.since ?? node.status.since
            guard machine.hasBMC, wall.now.since(since) > .seconds(400),
                (node.spec.power?.number ?? 0) <= node.status.powerSeen, draw(0...4) == 0
            else { return }
            return await change(node, store) { spec in
                spec.power = Node.PowerRequest(number: (spec.power?.number ?? 0) + 1, action: .reset)
            }
        }
        if machine.shape.isRescued, node.spec.rescue == nil {
            await change(node, store) { $0.rescue = request(after: nil, begins: true) }
        } else if machine.shape.isReleased, node.spec.cleaning == nil {
            await change(node, store) { $0.cleaning = cleaning(of: machine, after: nil) }
        }
    }

    private func request(after last: Node.RescueRequest?, begins: Bool) -> Node.RescueRequest {
        Node.RescueRequest(
            number: (last?.number ?? 0) + 1, by: "operator", at: wall.now,
            passwordEnds: begins ? wall.now.advanced(by: .seconds(3600)) : nil)
    }

    private func cleaning(of machine: Machine, after last: Node.CleanRequest?) -> Node.CleanRequest {
        Node.CleanRequest(
            number: (last?.number ?? 0) + 1, order: CleanOrder(disks: [machine.hint], method: .quick), isRelease: true)
    }

    /// A machine that was switched on and is not seen is reset.
    private func attend(to bmc: BMC, _ store: StoreHandle) async {
        guard let conductor, bmc.status.isReachable, now > 600_000, draw(0...9) == 0,
            (bmc.spec.power?.number ?? 0) <= bmc.status.powerSeen ?? 0,
            !conductor.pieces.catalog.nodes().contains(where: { $0.bmcName == bmc.metadata.name })
        else { return }
        _ = try? await store.update(BMC.self, bmc.metadata.name) { current in
            guard var current else { return nil }
            current.value.spec.power = Node.PowerRequest(
                number: (current.value.spec.power?.number ?? 0) + 1, action: .reset)
            return current
        }
    }

    /// Somebody goes to a machine that has no BMC, when it is asked for or seems dead, and not more often than they like.
    private func bootByHand(_ machine: Machine) {
        guard now - machine.handledAt > 600_000 else { return }
        let node = ledger.nodes.values.first { self.machine(of: $0) === machine }
        guard !machine.hasBMC || node?.isLeftToHands == true else { return }
        switch node?.status.state {
        case .deploying(.bootingRamdisk), .cleaning(.bootingRamdisk), .rescuing(.bootingRamdisk), .inspecting:
            guard node?.status.session == nil else { return }
            machine.target.usual = .network
        case .deploying(.enrolling), .unrescuing(.bootingDisk):
            guard node?.status.wait?.owner == .operator else { return }
            machine.target.usual = .disk
        case .active:
            guard node?.status.agent?.isConnected != true else { return }
            machine.target.usual = .disk
        case nil: break
        default:
            guard !machine.isOn else { return }
        }
        machine.handledAt = now
        note("\(machine) is switched on by hand")
        machine.boot()
    }
}

extension Node {
    /// Whether somebody has to boot its machine by hand.
    fileprivate var isLeftToHands: Bool {
        guard status.wait?.owner == .operator else { return false }
        switch status.state {
        case .inspecting, .deploying, .cleaning, .rescuing, .unrescuing: return true
        default: return false
        }
    }
}
