import Glibc
import Identity
import Primitives
import ResourceModel
import StoreSQLite

extension Conductor {
    /// Seals a site's documents, keys and blobs into one file, while a conductor may be using the state directory; returns
    /// what is in it, as lines for people.
    ///
    /// Throws `BackupError`, `SealedFileError`, `PrivateFileError`, `StoreError` and `BlobError`.
    public static func backUp(
        _ stateDirectory: String, to path: String, key: BackupKey, blobs: BackupBlobs,
        clock: any WallClock = SystemWallClock()
    ) async throws -> [String] {
        let sealing = try key.read()
        let copy = "\(stateDirectory)/backup-copy.sqlite"
        defer { removeStore(copy) }
        removeStore(copy)
        guard try PrivateFile.read("\(stateDirectory)/master.key") != nil else {
            throw BackupError.noState(stateDirectory)
        }
        try SQLiteStore.copy(path: StoreMarkFile(directory: stateDirectory).storePath, to: copy)
        let store = try await SQLiteStore.open(path: copy, clock: clock)
        let backup = SiteBackup(store: store, stateDirectory: stateDirectory, clock: clock)
        let counts: BackupCounts
        do { counts = try await backup.write(to: path, key: sealing, blobs: blobs) } catch {
            try? await store.close()
            throw error
        }
        try await store.close()
        return counts.lines
    }

    /// Reads and checks a whole backup, and tells what is in it, as lines for people. Throws as `restore`.
    public static func listBackup(_ path: String, key: BackupKey) throws -> [String] {
        let (summary, counts) = try SiteRestore(path: path, key: try key.read(), clock: SystemWallClock()).check()
        return summary.lines + counts.lines
    }

    /// Makes a site of a backup in a state directory that is empty or not there; the whole backup is checked before
    /// anything is written. Returns what was in it, as lines for people.
    ///
    /// Throws `BackupError`, `SealedFileError`, `PrivateFileError`, `StoreError` and `BlobError`.
    public static func restore(
        _ path: String, key: BackupKey, into stateDirectory: String, clock: any WallClock = SystemWallClock()
    ) async throws -> [String] {
        let restore = SiteRestore(path: path, key: try key.read(), clock: clock)
        let (summary, counts) = try restore.check()
        let storePath = StoreMarkFile(directory: stateDirectory).storePath
        try await restore.run(into: stateDirectory, summary) { _ in
            try await SQLiteStore.open(path: storePath, clock: clock)
        } seal: { store, beyond in
            try await (store as? SQLiteStore)?.close()
            try SQLiteStore.beginNewHistory(path: storePath, beyond: beyond, clock: clock)
        }
        return summary.lines + counts.lines
    }

    private static func removeStore(_ path: String) {
        for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + suffix) }
    }
}

/// Where the key of a backup is.
public enum BackupKey: Sendable {
    /// A private file whose first line is a passphrase.
    case passphraseFile(String)
    /// A private file of random bytes.
    case keyFile(String)

    /// Reads it; throws `SealedFileError` and `PrivateFileError`.
    func read() throws -> SealedFileKey {
        switch self {
        case .passphraseFile(let path): try .passphrase(inFile: path)
        case .keyFile(let path): try .file(path)
        }
    }
}

extension BackupSummary {
    /// For people.
    var lines: [String] {
        [
            "Site '\(site ?? "without a name")' as it was at \(time), revision \(revision); made by conductor \(conductor)."
        ]
    }
}

extension BackupCounts {
    /// For people.
    var lines: [String] {
        let sum = documents.values.reduce(0, +)
        var lines = ["\(sum) documents, \(files) files with keys, \(blobs) blobs (\(ByteCount(bytes: blobBytes)))."]
        if missingBlobs > 0 { lines.append("\(missingBlobs) manifests of images are on another conductor only.") }
        lines += documents.sorted { $0.key < $1.key }.map { "  \($0.key): \($0.value)" }
        return lines
    }
}
