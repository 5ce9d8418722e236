import ControlPlane
import Glibc
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreSQLite
import Synchronization

/// The conductor that a site began with, as it moves away from its store in the state directory.
final class SiteSeed: PivotSeed {
    /// What clients are told while it is shut.
    private static let why = "The site moves to its controllers, which takes seconds"

    /// The store as all of the conductor see it.
    let gate: GatedStore
    /// The same, which is read and never written, whatever is let through at the gate.
    let look: any ResourceStore
    /// Whether it answers DHCP.
    let dhcp = DHCPSwitch()
    private let file: SQLiteStore
    private let notes: PivotNoteFile
    private let storePath: String
    private let gone = Mutex(false)
    private let hasGone = StopSignal()

    /// A seed over the open store of a state directory.
    init(_ file: SQLiteStore, directory: String) {
        self.file = file
        gate = GatedStore(file, why: Self.why)
        look = GatedStore(file, why: Self.why, position: .readOnly)
        notes = PivotNoteFile(directory: directory)
        storePath = StoreMarkFile(directory: directory).storePath
    }

    var store: any ResourceStore { file }
    var isReadOnly: Bool { gate.position != .open }
    var servesDHCP: Bool { dhcp.position.isOn }
    var hasLetGo: Bool { gone.withLock { $0 } }

    func freeze() async { await gate.move(to: .readOnly) }
    func shut() async { await gate.move(to: .shut) }
    func thaw() async { await gate.move(to: .open) }
    func stopDHCP() async throws { try await dhcp.turnOff() }
    func startDHCP() { dhcp.turnOn() }

    /// Notes that agents and machines are let go.
    func letGo() {
        gone.withLock { $0 = true }
        hasGone.stop()
    }

    /// Returns once it has let go, or the task is cancelled; for one task.
    func untilGone() async { await hasGone.wait() }

    /// Closes the store and sets it aside. Throws `StoreError` and `StorePlaceError`.
    func retire() async throws {
        try await file.close()
        try Self.setAside(storePath)
    }

    /// Renames a store that nobody has open, with what a kill has left beside it, so that no conductor starts on it; done
    /// again it finds nothing to do. Throws `StorePlaceError`.
    static func setAside(_ path: String) throws(StorePlaceError) {
        for suffix in ["-wal", "-shm", ""] where access(path + suffix, F_OK) == 0 {
            guard rename(path + suffix, StorePlace.kept(path) + suffix) == 0 else { throw .notRenamed(path + suffix) }
        }
    }

    func note() throws -> PivotNote? { try notes.load() }
    func keep(_ note: PivotNote?) throws { try notes.save(note) }
}

/// Where a store is kept whose site has moved.
enum StorePlace {
    /// The name of the store `path` from then on.
    static func kept(_ path: String) -> String { "\(path).moved-to-etcd" }
}
