import CatalogIdentity
import ControlPlane
import Identity
import Logging
import Primitives
import ResourceModel
import StoreSQLite

extension Conductor {
    /// Runs on a store in the state directory, until SIGTERM or SIGINT, or until its site has moved to controllers that need
    /// nothing of it any more.
    ///
    /// Throws `SiteMoved` when an earlier run has ended so.
    func runAlone() async throws {
        let mark = StoreMarkFile(directory: configuration.stateDirectory)
        let note = try PivotNoteFile(directory: configuration.stateDirectory).load()
        if let note, note.state == .retired {
            try SiteSeed.setAside(mark.storePath)
            throw SiteMoved(api: note.api)
        }
        let (store, accepted) = try await mark.openStore(
            acceptsOlder: configuration.acceptsOlderStore, clock: clock, logger: logger)
        let seed = SiteSeed(store, directory: configuration.stateDirectory)
        do {
            var desk: PivotDesk?
            if note != nil { desk = try await findOut(seed) }
            if !seed.hasLetGo { desk = try await serve(as: seed, over: store, mark, accepted) }
            if seed.hasLetGo, let desk { try await handOut(of: seed, desk) }
            await desk?.close()
        } catch {
            try? await store.close()
            throw error
        }
        guard let note = try seed.note(), note.state == .retired else { return try await store.close() }
        logger.notice("\(SiteMoved(api: note.api).publicMessage) It has ended for good.")
    }

    /// Finds out whether the site has moved, before anything is served; has let go if so. Returns who asked.
    private func findOut(_ seed: SiteSeed) async throws -> PivotDesk {
        await seed.shut()
        let remainder = try await SeedRemainder.open(configuration, seed, clock: clock, logger: logger)
        let desk = try remainder.desk(surroundings)
        try await remainder.settle(desk)
        if seed.isReadOnly {
            seed.letGo()
        } else {
            logger.notice("the site has not moved; this conductor goes on with its start")
            await desk.close()
        }
        return desk
    }

    /// Serves the site, until it has moved too.
    private func serve(
        as seed: SiteSeed, over store: SQLiteStore, _ mark: StoreMarkFile, _ accepted: AuditEventSpec?
    ) async throws -> PivotDesk? {
        let watch = StoreWatch(store: store, mark: mark, clock: clock, logger: logger)
        // An agent that has seen more than the store has now had another store.
        let startedAt = try await store.currentRevision()
        let desk = try await serve(on: .embedded(seed, watch), startedAt: startedAt) { audit in
            if let accepted { try await audit.record(accepted) }
            watch.saveMark()
        }
        watch.saveMark()
        return desk
    }

    /// Serves what the controllers still need of a seed whose site has moved.
    private func handOut(of seed: SiteSeed, _ desk: PivotDesk) async throws {
        let remainder = try await SeedRemainder.open(configuration, seed, clock: clock, logger: logger)
        logger.notice("this conductor only hands out blobs to the controllers, until they have all")
        try await remainder.serve(desk)
    }
}
