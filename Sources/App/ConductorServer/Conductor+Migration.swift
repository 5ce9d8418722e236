import CatalogBareMetal
import Glibc
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite

extension Conductor {
    /// From where to where the catalog is moved.
    public enum StoreMove: Sendable {
        /// Out of the state directory into an etcd cluster, as the site gets more conductors.
        case toEtcd
        /// Out of the cluster into the state directory, as it goes back to one.
        case toSQLite
    }

    /// Copies the catalog from one engine to the other, compares every document with its copy, and begins a history beyond the
    /// old one. No conductor may run meanwhile. The old store is left as it was; of SQLite's the file is renamed, so that no
    /// conductor takes it for the site by mistake. Returns what was done, as lines for people.
    ///
    /// Throws `MigrationError`, `StoreMoveError`, `StoreError`, `StoreMarkError` and `PrivateFileError`.
    public static func move(
        _ move: StoreMove, stateDirectory: String, etcd: EtcdConfiguration, clock: any WallClock = SystemWallClock(),
        logger: Logger
    ) async throws -> [String] {
        switch move {
        case .toEtcd: return try await moveToEtcd(StoreMarkFile(directory: stateDirectory), etcd, clock, logger)
        case .toSQLite: return try await moveToSQLite(StoreMarkFile(directory: stateDirectory), etcd, clock, logger)
        }
    }

    private static func moveToEtcd(
        _ mark: StoreMarkFile, _ etcd: EtcdConfiguration, _ clock: any WallClock, _ logger: Logger
    ) async throws -> [String] {
        guard access(mark.storePath, F_OK) == 0 else { throw StoreMoveError.noStore(mark.storePath) }
        let (source, _) = try await mark.openStore(acceptsOlder: false, clock: clock, logger: logger)
        let report: StoreMigration.Report
        do {
            report = try await copy(from: source, to: try await EtcdStore.open(etcd, clock: clock, logger: logger))
            try await EtcdStore.beginNewHistory(etcd, beyond: beyond(report.revision), logger: logger)
        } catch {
            try? await source.close()
            throw error
        }
        try await source.close()
        let kept = "\(mark.storePath).moved-to-etcd"
        guard rename(mark.storePath, kept) == 0 else { throw StoreMoveError.notRenamed(mark.storePath) }
        return lines(report) + ["The old store is kept as \(kept). Start the conductor with --etcd from now on."]
    }

    private static func moveToSQLite(
        _ mark: StoreMarkFile, _ etcd: EtcdConfiguration, _ clock: any WallClock, _ logger: Logger
    ) async throws -> [String] {
        guard access(mark.storePath, F_OK) != 0 else { throw StoreMoveError.inTheWay(mark.storePath) }
        let source = try await EtcdStore.open(etcd, clock: clock, logger: logger)
        let running = try await source.fetchAll(ConductorRecord.self).map(\.value.metadata.name)
        guard running.isEmpty else {
            try await source.close()
            throw StoreMoveError.conductorsRun(running)
        }
        unlink(mark.path)
        let target = try await SQLiteStore.open(path: mark.storePath, clock: clock)
        let report: StoreMigration.Report
        do { report = try await copy(from: source, to: target) } catch {
            for suffix in ["", "-wal", "-shm"] { unlink(mark.storePath + suffix) }
            throw error
        }
        try SQLiteStore.beginNewHistory(path: mark.storePath, beyond: beyond(report.revision), clock: clock)
        return lines(report) + ["The cluster keeps its copy. Start one conductor, without --etcd, from now on."]
    }

    private static func beyond(_ revision: Revision) -> Revision {
        Revision(revision.number + StoreMarkFile.historyGap)
    }

    /// Copies, and closes the target; SQLite's also when that fails.
    private static func copy(
        from source: any ResourceStore, to target: any ResourceStore & ClosableStore
    ) async throws -> StoreMigration.Report {
        let result: Result<StoreMigration.Report, any Error>
        do { result = .success(try await StoreMigration(from: source, to: target).run()) } catch {
            result = .failure(error)
        }
        try await target.close()
        return try result.get()
    }

    private static func lines(_ report: StoreMigration.Report) -> [String] {
        let size = ByteCount(bytes: UInt64(report.bytes))
        var lines = ["\(report.count) documents (\(size)) are copied and compared, as of revision \(report.revision)."]
        if report.leftOut > 0 {
            lines.append(
                "\(report.leftOut) documents that end with a conductor's lease are left out; they come by themselves.")
        }
        return lines
    }
}

/// A store that is closed when it is not needed any more.
protocol ClosableStore {
    func close() async throws(StoreError)
}

extension SQLiteStore: ClosableStore {}
extension EtcdStore: ClosableStore {}

/// Why the catalog is not moved.
enum StoreMoveError: UserFacingError, Hashable {
    case noStore(String)
    case inTheWay(String)
    case conductorsRun([String])
    case notRenamed(String)

    var publicMessage: String {
        switch self {
        case .noStore(let path): "There is no store at \(path); give the conductor's state directory with --state-dir."
        case .inTheWay(let path):
            "There is a store at \(path) already; move it away first, or take another --state-dir."
        case .conductorsRun(let names):
            "Conductors run on the cluster: \(names.sorted().joined(separator: ", ")). Stop them; they are forgotten after "
                + "10 seconds."
        case .notRenamed(let path):
            "All is copied, but \(path) cannot be renamed: move it away yourself, so that no conductor starts with it."
        }
    }
}
