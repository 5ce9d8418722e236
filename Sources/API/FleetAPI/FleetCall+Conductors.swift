import APISupport
import CatalogBareMetal
import FleetContract
import Hummingbird
import ReconcileRuntime

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
}
