import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite

/// Moves a site's documents between the embedded store and etcd, while no conductor runs.
///
/// The store that they are moved to has to be empty, and goes on after the revisions of the other, so that agents and
/// watches take nothing of it for what they have seen. The store that they come from stays as it is.
public enum StoreMove {
    /// Copies the SQLite store in the file `path` to etcd.
    ///
    /// Throws `StoreError.inUse` while a conductor uses the file, `MigrationError` when etcd has a store already or the
    /// copy is not the same, and what either store throws.
    public static func toEtcd(
        _ path: String, _ configuration: EtcdConfiguration, logger: Logger
    ) async throws -> StoreMigration.Report {
        let source = try await SQLiteStore.open(path: path)
        do {
            let revision = try await source.currentRevision()
            // What is in use keeps its revisions: look before they are changed.
            let before = try await EtcdStore.open(configuration, logger: logger)
            try await StoreMigration(from: source, to: before).check()
            try await before.close()
            try await EtcdStore.beginNewHistory(configuration, beyond: revision, logger: logger)
            let target = try await EtcdStore.open(configuration, logger: logger)
            let report = try await StoreMigration(from: source, to: target).run()
            try await target.close()
            try await source.close()
            return report
        } catch {
            try? await source.close()
            throw error
        }
    }

    /// Copies etcd's store to the SQLite store in the file `path`, which is made if there is none.
    ///
    /// Throws `MigrationError.inUse` while a conductor is registered in etcd, and as `toEtcd`.
    public static func toSQLite(
        _ path: String, _ configuration: EtcdConfiguration, logger: Logger
    ) async throws -> StoreMigration.Report {
        let source = try await EtcdStore.open(configuration, logger: logger)
        let target = try await SQLiteStore.open(path: path)
        let report: StoreMigration.Report
        do {
            report = try await StoreMigration(from: source, to: target, refusesLeases: true).run()
        } catch {
            try? await target.close()
            throw error
        }
        try await target.close()
        try await source.close()
        try SQLiteStore.beginNewHistory(path: path, beyond: report.revision)
        return report
    }
}
