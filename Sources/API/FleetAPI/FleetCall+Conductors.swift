import APISupport
import CatalogBareMetal
import FleetContract
import Hummingbird
import Primitives
import ReconcileRuntime
import ResourceModel

/// The conductors that run.
extension FleetCall {
    func listConductors() async throws -> Response {
        let conductor = services.conductor
        let leader = conductor.leader()
        return .json(
            RecordList(
                items: services.cache.all(ConductorRecord.self).map {
                    ConductorSummary($0, leader: leader, own: conductor.run)
                }))
    }

    /// Forgets a conductor that is gone for good: agents, machines and proxies are not told of it any more, and nobody waits
    /// for the blobs that it had. One that only was off notes itself again at its next start.
    func forgetConductor(_ note: inout AuditNote) async throws -> Response {
        let name = try parameter("conductor")
        note.resource = ConductorEndpoint.key(name)
        guard let stored = try await services.store.fetch(ConductorEndpoint.self, name) else {
            throw APIError.notFound(try await noSuchConductor(name))
        }
        guard try await services.store.fetch(ConductorRecord.self, name) == nil else {
            throw APIError.conflict(
                "The conductor '\(name)' runs; stop it first. A controller is taken out with: muster controller shrink \(name)"
            )
        }
        note.before = try stored.encoded()
        let revision = try await services.store.commit(
            Transaction(
                conditions: [stored.unchanged, .absent(ConductorRecord.key(name))],
                operations: [.delete(stored.value.key)]))
        try await services.cache.wait(for: revision)
        return .json(RemovalReply(name: name, message: "forgotten; it is noted again if it starts"))
    }

    private func noSuchConductor(_ name: String) async throws -> String {
        let running = Set(try await services.store.fetchAll(ConductorRecord.self).map(\.value.metadata.name))
        let gone = try await services.store.fetchAll(ConductorEndpoint.self).map(\.value.metadata.name)
            .filter { !running.contains($0) }
        let known =
            gone.isEmpty ? "none is" : gone.sorted().joined(separator: ", ") + (gone.count == 1 ? " is" : " are")
        return "No conductor '\(name.printable(limit: 80))' is noted; of those that do not run \(known)."
    }
}
