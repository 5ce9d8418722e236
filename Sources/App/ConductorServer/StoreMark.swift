import CatalogIdentity
import Glibc
import Identity
import Logging
import Primitives
import ResourceModel
import StoreSQLite

/// Which store a conductor had, and how far that had come, kept outside of the store's own file.
struct StoreMark: Hashable, Sendable {
    var identity: StoreIdentity
    var revision: Revision
    /// When it was written.
    var time: Timestamp
}

/// The file `store.mark` beside `master.key`, by which a store that was put back to an older copy is noticed.
///
/// It is written while the conductor runs, seconds after the commits that it knows of: a copy that is older by less
/// than that is not noticed by it.
struct StoreMarkFile: Sendable {
    /// How far the revisions of a new history are from those of the old: more than were committed after the last mark.
    static let historyGap: UInt64 = 1_000_000

    private static let header = "muster-store-mark 1"

    let path: String
    let storePath: String

    init(directory: String) {
        path = "\(directory)/store.mark"
        storePath = "\(directory)/store.sqlite"
    }

    /// What was noted last; nil: nothing yet. Throws `PrivateFileError`.
    func load() throws(PrivateFileError) -> StoreMark? {
        guard let bytes = try PrivateFile.read(path) else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        guard lines.count == 4, lines[0] == Self.header, let identity = StoreIdentity(lines[1]),
            let revision = UInt64(lines[2]), let time = Int64(lines[3])
        else {
            throw .malformed(
                path, expected: "a mark; delete it when you are sure that the store is the newest there is")
        }
        return StoreMark(
            identity: identity, revision: Revision(revision), time: Timestamp(millisecondsSinceEpoch: time))
    }

    /// Puts `mark` in the place of the one before; it is on the disk when this returns.
    func save(_ mark: StoreMark) throws(PrivateFileError) {
        let lines = [
            Self.header, "\(mark.identity)", "\(mark.revision.number)", "\(mark.time.millisecondsSinceEpoch)",
        ]
        try PrivateFile.replace(path, Array((lines.joined(separator: "\n") + "\n").utf8))
    }

    /// Opens the store and compares it with the mark.
    ///
    /// Throws `StoreMarkError` when it is not the one that was there, unless `acceptsOlder`: then it begins a new history,
    /// and what the audit log shall have of that is returned. Throws `StoreError` and `PrivateFileError` as well.
    func openStore(
        acceptsOlder: Bool, clock: any WallClock, logger: Logger
    ) async throws -> (SQLiteStore, AuditEventSpec?) {
        let mark = try load()
        if let mark, !acceptsOlder, access(storePath, F_OK) != 0, errno == ENOENT {
            throw StoreMarkError.missing(storePath, known: mark)
        }
        let store = try await SQLiteStore.open(path: storePath, clock: clock)
        let found = StoreMark(
            identity: store.identity, revision: try await store.currentRevision(), time: clock.now)
        let problem = mark.flatMap { StoreMarkError(known: $0, found: found, path: storePath) }
        guard acceptsOlder else {
            if let problem {
                try await store.close()
                throw problem
            }
            return (store, nil)
        }
        try await store.close()
        let newest = max(found.revision.number, mark?.revision.number ?? 0)
        try SQLiteStore.beginNewHistory(
            path: storePath, beyond: Revision(newest + Self.historyGap), clock: clock)
        let words = problem?.what ?? "the store is the one that was noted last"
        logger.warning("a new history begins after revision \(found.revision), as --accept-older-store wants: \(words)")
        let event = AuditEventSpec(
            who: "conductor", verb: "accept a store", resource: ResourceKey(kind: "store", name: "\(store.identity)"),
            outcome: .ok, summary: "at revision \(found.revision): \(words)")
        return (try await SQLiteStore.open(path: storePath, clock: clock), event)
    }
}

/// Why a conductor does not start with the store that it finds.
enum StoreMarkError: UserFacingError, Hashable {
    /// It lacks what the conductor has acknowledged.
    case older(String, found: Revision, known: StoreMark)
    /// It has another history.
    case another(String, found: Revision, known: StoreMark)
    /// There is none.
    case missing(String, known: StoreMark)

    /// nil when `found` goes on with what is `known`.
    init?(known: StoreMark, found: StoreMark, path: String) {
        if known.identity != found.identity {
            self = .another(path, found: found.revision, known: known)
        } else if found.revision < known.revision {
            self = .older(path, found: found.revision, known: known)
        } else {
            return nil
        }
    }

    /// What is wrong, without what to do.
    var what: String {
        switch self {
        case .older(let path, let found, let known):
            "\(path) is older than the store that was here: it ends at revision \(found), and this conductor had "
                + "revision \(known.revision) at \(known.time), so \(known.revision.number - found.number) changes are "
                + "not in it"
        case .another(let path, let found, let known):
            "\(path) (at revision \(found)) is not the store that was here: this conductor had one with another history, "
                + "revision \(known.revision) at \(known.time)"
        case .missing(let path, let known):
            "\(path) is gone: this conductor had revision \(known.revision) at \(known.time)"
        }
    }

    var publicMessage: String {
        what + ". Put the newest copy back, without files -wal and -shm of another one; or take it as it is with "
            + "--accept-older-store once: machines that were registered, approved or deployed meanwhile are then unknown "
            + "or as they were, and secrets and tokens that were changed are the old ones."
    }
}
