import ControlPlane
import Glibc
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite

extension Conductor {
    /// Where the catalog is moved to.
    public enum StoreMoveTarget: Sendable {
        /// Out of the state directory into an etcd cluster, as the site gets more conductors.
        case etcd
        /// Out of the cluster into the state directory, as it goes back to one.
        case sqlite
    }

    /// Moves the catalog of a site whose conductors are stopped; see `StoreMove`. The old store is left as it was; of
    /// SQLite's the file is renamed, so that no conductor takes it for the site by mistake. Returns what was done, as lines for
    /// people.
    ///
    /// Throws `MigrationError`, `StorePlaceError`, `StoreError`, `StoreMarkError` and `PrivateFileError`.
    public static func move(
        to target: StoreMoveTarget, stateDirectory: String, etcd: EtcdConfiguration,
        clock: any WallClock = SystemWallClock(), logger: Logger
    ) async throws -> [String] {
        let mark = StoreMarkFile(directory: stateDirectory)
        let path = mark.storePath
        switch target {
        case .etcd:
            if let note = try PivotNoteFile(directory: stateDirectory).load() { throw SiteMoves(to: note) }
            guard access(path, F_OK) == 0 else { throw StorePlaceError.noStore(path) }
            // It has to be the newest there was, as at any start.
            try await mark.openStore(acceptsOlder: false, clock: clock, logger: logger).0.close()
            let report = try await StoreMove.toEtcd(path, etcd, logger: logger)
            let kept = StorePlace.kept(path)
            guard rename(path, kept) == 0 else { throw StorePlaceError.notRenamed(path) }
            return report.lines + ["The old store is kept as \(kept). Start the conductor with --etcd from now on."]
        case .sqlite:
            guard access(path, F_OK) != 0 else { throw StorePlaceError.inTheWay(path) }
            let report: StoreMigration.Report
            do { report = try await StoreMove.toSQLite(path, etcd, logger: logger) } catch {
                for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) }
                throw error
            }
            // They were of the store that was here before.
            unlink(mark.path)
            try PivotNoteFile(directory: stateDirectory).save(nil)
            return report.lines + ["The cluster keeps its copy. Start one conductor, without --etcd, from now on."]
        }
    }
}

extension StoreMigration.Report {
    /// For people.
    fileprivate var lines: [String] {
        let size = ByteCount(bytes: UInt64(bytes))
        let done = "\(count) documents (\(size)) are copied and compared, as of revision \(revision)."
        let left = "\(leftOut) documents that end with a conductor's lease are left out; they come by themselves."
        return leftOut > 0 ? [done, left] : [done]
    }
}

/// The site of a state directory is on its way to controllers, or is there.
struct SiteMoves: UserFacingError, Hashable {
    let note: PivotNote

    init(to note: PivotNote) { self.note = note }

    var publicMessage: String {
        guard note.state == .turning else { return SiteMoved(api: note.api).publicMessage }
        return "The site moves to its controllers, and may be there: start the conductor, which finds out."
    }
}

/// Why the catalog is not moved.
enum StorePlaceError: UserFacingError, Hashable {
    case noStore(String)
    case inTheWay(String)
    case notRenamed(String)

    var publicMessage: String {
        switch self {
        case .noStore(let path): "There is no store at \(path); give the conductor's state directory with --state-dir."
        case .inTheWay(let path):
            "There is a store at \(path) already; move it away first, or take another --state-dir."
        case .notRenamed(let path):
            "All is copied, but \(path) cannot be renamed: move it away yourself, so that no conductor starts with it."
        }
    }
}
