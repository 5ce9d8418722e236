import APISupport
import CatalogBareMetal
import FleetContract
import Hummingbird
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// Passwords of BMCs, which leave by no answer.
extension FleetCall {
    /// Orders another password for a BMC's user; an order that is under way stays as it is.
    func rotateBMCPassword(_ note: inout AuditNote) async throws -> Response {
        _ = try await body(RotateBMCPasswordRequest.self)
        let name = try parameter("bmc")
        let by = context.principal.description
        let now = services.clock.now
        let others = services.cache.all(BMC.self)
        let missing = "There is no BMC '\(name.printable(limit: 80))'; 'muster bmc list' shows those there are."
        let revision = try await services.store.update(BMC.self, name) { stored in
            guard var stored else { throw APIError.notFound(missing) }
            guard stored.value.openPasswordOrder == nil else { return nil }
            if let other = others.first(where: { $0.sharesAccount(with: stored.value) }) {
                throw APIError.conflict(
                    "'\(name)' and '\(other.metadata.name)' are reached as the same user of the same BMC, whose password "
                        + "stands in one of them only. Give each a user of its own at the BMC and in the site file.")
            }
            let last = max(stored.value.spec.passwordOrder?.number ?? 0, stored.value.status.password?.orderSeen ?? 0)
            stored.value.spec.passwordOrder = BMC.PasswordOrder(
                number: last + 1, source: .conductor, by: by, at: now)
            stored.value.metadata.generation = stored.value.metadata.generation.next
            return stored
        }
        if let revision { try await services.cache.wait(for: revision) }
        guard let bmc = try await services.store.fetch(BMC.self, name)?.value else { throw APIError.notFound(missing) }
        note.summary = "password order \(bmc.spec.passwordOrder?.number ?? 0)" + (revision == nil ? ", as before" : "")
        return .json(BMCRecord(bmc, nodes: []))
    }
}
