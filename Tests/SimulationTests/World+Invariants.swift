import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import Foundation
import Primitives
import ResourceModel
import TestSupport

@testable import BareMetal

// MARK: The store

extension World {
    /// Looks at what one part has changed.
    func check(_ transaction: Transaction, before: [Document?], _ part: StoreHandle.Part, at revision: Revision) {
        var words: [String] = []
        for (operation, before) in zip(transaction.operations, before) {
            words.append("\(operation.key)")
            checkWriter(operation, before, part)
            guard operation.key.kind == Node.kind else { continue }
            switch operation {
            case .put(let key, let value, _):
                guard let node = try? JSONDecoder().decode(Node.self, from: Data(value)) else {
                    violate(.oneWriter, "\(key) cannot be read")
                    continue
                }
                checkNode(node, part)
                words[words.count - 1] = "\(node.spec.name) \(node.status.state)"
            case .delete(let key): violate(.identity, "\(part) deletes \(key)")
            }
        }
        note("r\(revision) by \(part): \(words.joined(separator: ", "))")
    }

    private func checkWriter(_ operation: Transaction.Operation, _ before: Document?, _ part: StoreHandle.Part) {
        let allowed: Set<StoreHandle.Part>
        switch operation.key.kind {
        case Node.kind: allowed = before == nil ? [.registrar] : [.nodeWriter, .api]
        case MachineMark.kind, IdentityConflict.kind: allowed = [.registrar]
        case NodeEvent.kind: allowed = [.nodeWriter, .registrar]
        case NodeFacts.kind: allowed = [.nodeWriter]
        case BMC.kind: allowed = before == nil ? [.site] : [.bmcController, .api]
        case Lease.kind: allowed = [.leases]
        case EnrolmentToken.kind: allowed = [.tokens]
        // A token is made together with the word of it.
        case AuditEvent.kind: allowed = [.audit, .tokens]
        case NodeCertificates.kind: allowed = [.certificates]
        default: allowed = [.site]
        }
        if !allowed.contains(part) { violate(.oneWriter, "\(part) writes \(operation.key)") }
    }

    private func checkNode(_ node: Node, _ part: StoreHandle.Part) {
        let name = node.metadata.name
        let old = ledger.nodes[name]
        ledger.nodes[name] = node
        if let boot = node.status.session?.bootID, ledger.firstBoots[name] == nil { ledger.firstBoots[name] = boot }
        if let old {
            if part == .api, old.status != node.status { violate(.oneWriter, "the API changes a status: \(name)") }
            if part == .nodeWriter, old.spec != node.spec {
                violate(.oneWriter, "the controller changes a specification: \(name)")
            }
        } else {
            checkIdentities()
        }
        checkWait(node, part)
        noteAwaited(node, old, part)
    }

    private func checkIdentities() {
        let nodes = ledger.nodes.values
        let names = Set(nodes.map(\.spec.name))
        let serials = Set(nodes.map(\.status.identity.serial))
        if names.count != nodes.count || serials.count != nodes.count {
            violate(.identity, "\(nodes.map { "\($0.spec.name) \($0.status.identity.serial ?? "?")" }.sorted())")
        }
    }

    private func checkWait(_ node: Node, _ part: StoreHandle.Part) {
        ledger.overdue[node.metadata.name] = nil
        guard part == .nodeWriter else { return }
        let status = node.status
        guard let wait = status.wait else {
            if ![.active, .manageable].contains(status.state) {
                violate(.deadlines, "\(node.spec.name) waits in '\(status.state)' for nothing")
            }
            return
        }
        if wait.cause.isEmpty || wait.next.isEmpty {
            violate(.deadlines, "\(node.spec.name) does not say why it waits in '\(status.state)'")
        }
        if wait.deadline.since(wall.now) > .seconds(3 * 86_400) {
            violate(.deadlines, "\(node.spec.name) waits in '\(status.state)' until \(wait.deadline)")
        }
    }

    /// A deadline that has passed has to come to something, unless no conductor runs or its store refuses all.
    func checkDeadlines() {
        guard let conductor, conductor.isFollowing, disk.fullUntil <= now, disk.busyUntil <= now, now > slowUntil else {
            ledger.overdue = [:]
            return
        }
        for (name, node) in ledger.nodes {
            guard let deadline = node.status.wait?.deadline, deadline <= wall.now else {
                ledger.overdue[name] = nil
                continue
            }
            let since = ledger.overdue[name] ?? now
            ledger.overdue[name] = since
            if now - since > 180_000 {
                violate(.deadlines, "\(node.spec.name) is '\(node.status.state)' past its deadline")
            }
        }
    }

    // MARK: Effects

    private func noteAwaited(_ node: Node, _ old: Node?, _ part: StoreHandle.Part) {
        let name = node.metadata.name
        // Whether a BMC can be reached at all is asked by what also asks it for its power now and then; and what has not
        // told whose it is yet is asked for nothing.
        guard let conductor, node.status.wait?.owner == .bmc, node.status.state != .verifying,
            let machine = machine(of: node), conductor.knowsBMC(of: machine)
        else {
            ledger.awaited[name] = nil
            return
        }
        guard part == .nodeWriter, old?.status.state != node.status.state || old?.status.wait != node.status.wait else {
            return
        }
        ledger.awaited[name] = Ledger.AwaitedCall(run: conductor.run, since: now, state: node.status.state)
    }

    /// An order has reached the machine's BMC.
    func reached(_ machine: Machine) {
        for (name, node) in ledger.nodes where self.machine(of: node) === machine { ledger.awaited[name] = nil }
    }

    /// What a crash swallows is asked for again by the next run.
    func checkEffects() {
        guard let conductor else { return }
        for (name, call) in ledger.awaited where call.run == conductor.run && now - call.since > 60_000 {
            let node = ledger.nodes[name]
            violate(.effects, "\(node?.spec.name ?? name) waits in '\(call.state)' for a BMC that was not called")
        }
    }

    // MARK: Machines

    func machine(of node: Node) -> Machine? {
        node.status.identity.serial.flatMap { Int($0.dropFirst(3)) }.flatMap {
            machines.indices.contains($0) ? machines[$0] : nil
        }
    }

    func checkAddresses(of machine: Machine) {
        guard let address = machine.address else { return }
        for other in machines where other !== machine && other.address == address {
            violate(.oneAddress, "\(address) is \(machine)'s and \(other)'s")
        }
    }

    /// Whether the conductor gave this boot of the machine an order that names the disk.
    func checkWrite(_ machine: Machine, disk: Int, order: UInt64) {
        guard let given = ledger.orders[machine.index]?[order], given.epoch == machine.epoch else {
            return violate(.orderedWrites, "\(machine) writes for order \(order), which it was not given")
        }
        let found = machine.inventoryDisks[disk]
        if !given.hints.contains(where: { $0.fits(found) }) {
            violate(.orderedWrites, "\(machine) writes to \(found.path), which order \(order) does not name")
        }
    }

    /// Remembers that the conductor has told the BMC that the machine's next start is of the ramdisk.
    func rememberOrder(_ machine: Machine) { machine.orderedFrom = machine.epoch + 1 }

    /// A start that is under way when the BMC only says that it has reset the machine: nobody can tell it from the one
    /// that was ordered. What has booted before the order is told by its session.
    func rememberLie(_ machine: Machine) {
        guard machine.orderedFrom != nil, case .firmware = machine.running else { return }
        machine.orderedFrom = machine.epoch
    }

    /// Whether a start is the ordered one; the first that is asked about is.
    private func isOrdered(_ machine: Machine, epoch: Int) -> Bool {
        if machine.orderedEpoch == epoch { return true }
        guard let from = machine.orderedFrom, from <= epoch else { return false }
        machine.orderedFrom = nil
        machine.orderedEpoch = epoch
        return true
    }

    /// Whether secrets may go to this boot: an operator or a rule has let it in, or the conductor ordered a boot before
    /// it began.
    func checkSecret(_ what: String, to index: Int, epoch: Int, session: String) {
        let hash = Registrar.hash(session)
        let node = ledger.nodes.values.first { $0.status.session?.tokenHash == hash }
        guard let node, node.spec.approval != nil, self.machine(of: node)?.index == index else {
            return violate(.secrets, "m\(index) gets \(what) and is not the node that it is for, or not let in")
        }
        if machines[index].shape.isStranger { violate(.secrets, "m\(index), a stranger, gets \(what)") }
        let boot = node.status.session?.bootID ?? ""
        let isByRule = shape.isApprovedByRule && ledger.firstBoots[node.metadata.name] == boot
        if !ledger.approvedBoots.contains(boot), !isByRule, !isOrdered(machines[index], epoch: epoch) {
            violate(.secrets, "m\(index) gets \(what) in a boot that was neither ordered nor approved")
        }
    }

    /// Whether a message to machines has the password of a BMC in it, or another node's token.
    func checkText(_ message: some Encodable, to index: Int) {
        guard let bytes = try? JSONEncoder().encode(message) else { return }
        for machine in machines where bytes.range(of: Data(site.password(of: machine.index).utf8)) != nil {
            violate(.secrets, "m\(index) is sent the password of \(machine)'s BMC")
        }
    }

    /// A defect that a test has asked for.
    func mutated(_ transaction: Transaction, by part: StoreHandle.Part) -> Transaction {
        guard mutation == .missingDeadline, part == .nodeWriter else { return transaction }
        var transaction = transaction
        transaction.operations = transaction.operations.map { operation in
            guard case .put(let key, let value, let lease) = operation, key.kind == Node.kind,
                var node = try? JSONDecoder().decode(Node.self, from: Data(value)),
                node.status.state == .deploying(.bootingRamdisk)
            else { return operation }
            node.status.wait = nil
            return (try? JSONEncoder().encode(node)).map { .put(key, Array($0), lease: lease) } ?? operation
        }
        return transaction
    }
}
