import APISupport
import AgentProtocol
import CatalogBareMetal
import CatalogIdentity
import FleetContract
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// The way out for machines and conflicts that are not wanted any more.
extension FleetCall {
    /// Takes a node out of the inventory: it is not known any more, its certificate and tokens are void.
    ///
    /// What runs on the machine goes on; when it boots over the network again, it is seen as a new one.
    func deleteNode(_ note: inout AuditNote) async throws -> Response {
        let found = try node()
        let id = try found.id
        note.resource = found.key
        if found.spec.approval != nil, try !flag("force") {
            throw APIError.conflict(
                "'\(found.spec.name)' was let in; what runs on it would be cut off from the conductor. If that is meant: "
                    + "muster node delete \(found.spec.name) --force")
        }
        switch found.status.state {
        case .deploying(.writing), .cleaning(.wiping), .rescue, .rescuing(.opening), .unrescuing(.closing):
            let way =
                found.isInRescue
                ? "end that with 'muster node unrescue \(found.spec.name)'" : "wait for the end of it"
            throw APIError.conflict(
                "'\(found.spec.name)' is \(found.status.state), and its disks are worked on; \(way), then delete it.")
        default: break
        }
        let marks = try await services.store.fetchAll(MachineMark.self).filter { $0.value.spec.node == id }
        guard let stored = try await services.store.fetch(Node.self, id.raw) else {
            throw APIError.notFound("The node '\(found.spec.name)' is gone.")
        }
        note.before = try stored.encoded()
        var transaction = Transaction(
            conditions: [stored.unchanged],
            operations: [
                .delete(stored.value.key), .delete(EnrolmentToken.key(id.raw)), .delete(NodeFacts.key(id.raw)),
                .delete(Secret.key(Node.RescueRequest.secretName(id))),
            ])
        transaction.operations += marks.prefix(StoreLimits.operationCountMax - 4).map { .delete($0.value.key) }
        let revision = try await services.store.commit(transaction)
        // Only what is in the inventory is taken, and what comes back has another identifier; this is for one that is
        // put back from a copy of the store.
        try await services.register.revokeAll(
            of: id, by: context.principal.description, reason: "the node was taken out of the inventory")
        let events = try await services.store.fetchAll(NodeEvent.self).filter { $0.value.spec.node == id }
        for start in stride(from: 0, to: events.count, by: StoreLimits.operationCountMax) {
            let batch = events[start..<min(start + StoreLimits.operationCountMax, events.count)]
            _ = try await services.store.commit(Transaction(operations: batch.map { .delete($0.value.key) }))
        }
        services.live.forget(id)
        try await services.cache.wait(for: revision)
        return .json(RemovalReply(name: found.spec.name, message: "taken out of the inventory"))
    }

    /// Forgets a conflict; it comes back when the machine posts the same claim again.
    func deleteConflict(_ note: inout AuditNote) async throws -> Response {
        let name = try parameter("conflict")
        note.resource = IdentityConflict.key(name)
        guard let stored = try await services.store.fetch(IdentityConflict.self, name) else {
            throw APIError.notFound(
                "There is no conflict '\(name.printable(limit: 80))'; 'muster conflict list' shows those there are.")
        }
        note.before = try stored.encoded()
        let revision = try await services.store.commit(
            Transaction(conditions: [stored.unchanged], operations: [.delete(stored.value.key)]))
        try await services.cache.wait(for: revision)
        return .json(RemovalReply(name: name, message: "forgotten; it comes back if the machine claims the same again"))
    }
}

extension Node {
    /// Whether it is in rescue, or on its way there or out of it.
    fileprivate var isInRescue: Bool {
        switch status.state {
        case .rescue, .rescuing, .unrescuing: true
        default: false
        }
    }
}
