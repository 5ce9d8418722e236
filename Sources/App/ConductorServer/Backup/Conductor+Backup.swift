import BlobPeers
import BlobStore
import CatalogBareMetal
import FoundationEssentials
import Glibc
import Identity
import Logging
import Primitives
import ResourceModel
import StoreEtcd
import StoreSQLite

extension Conductor {
    /// Seals a site's documents, keys and blobs into one file, while conductors may be using them; returns what is in it, as
    /// lines for people.
    ///
    /// The documents are those of `etcd`, or of the store in the state directory; blobs that are not in that are then fetched
    /// from the site's other conductors. Throws `BackupError`, `SealedFileError`, `PrivateFileError`, `VaultError`,
    /// `StoreError` and `BlobError`.
    public static func backUp(
        _ stateDirectory: String, etcd: EtcdConfiguration? = nil, to path: String, key: BackupKey, blobs: BackupBlobs,
        clock: any WallClock = SystemWallClock(), logger: Logger
    ) async throws -> [String] {
        let sealing = try key.read()
        guard try PrivateFile.read("\(stateDirectory)/master.key") != nil else {
            throw BackupError.noState(stateDirectory)
        }
        if let etcd {
            let store = try await EtcdStore.open(etcd, clock: clock, logger: logger)
            return try await closing(store) {
                try await backUp(stateDirectory, shared: store, to: path, sealing, blobs, clock).lines
            }
        }
        let copy = "\(stateDirectory)/backup-copy.sqlite"
        defer { removeStore(copy) }
        removeStore(copy)
        try SQLiteStore.copy(path: StoreMarkFile(directory: stateDirectory).storePath, to: copy)
        let store = try await SQLiteStore.open(path: copy, clock: clock)
        return try await closing(store) {
            let backup = SiteBackup(store: store, stateDirectory: stateDirectory, clock: clock)
            return try await backup.write(to: path, key: sealing, blobs: blobs).lines
        }
    }

    /// Backs up a site of several conductors.
    static func backUp(
        _ stateDirectory: String, shared store: any ResourceStore, to path: String, _ key: SealedFileKey,
        _ blobs: BackupBlobs, _ clock: any WallClock
    ) async throws -> BackupCounts {
        let vault = try await SecretVault.open(store: store, keyFile: "\(stateDirectory)/master.key", clock: clock)
        let keys = AuthorityVault(vault: vault, name: "Muster", clock: clock)
        let authorities = SiteAuthorities(try await AuthorityController.open(store: store, keys: keys))
        let name = "backup"
        let access = HTTPBlobPeers(name: name, key: try await PeerKey.open(in: vault)) { authorities.now.bundlePEM }
        let folder = "\(stateDirectory)/backup-blobs"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var backup = SiteBackup(store: store, stateDirectory: stateDirectory, clock: clock)
        backup.others = { snapshot in
            let peers = try snapshot.all(ConductorRecord.self).map {
                BlobPeer(name: $0.metadata.name, url: $0.spec.addresses.api)
            }
            let files = try FileBlobStore(directory: folder, clock: clock)
            let site = SiteBlobs(files, name: name, peers: { peers }, access: access)
            return BackupPeers(blobs: site, folder: BlobFolder(directory: folder))
        }
        do {
            let counts = try await backup.write(to: path, key: key, blobs: blobs)
            try await access.close()
            return counts
        } catch {
            try? await access.close()
            throw error
        }
    }

    /// Does `work` and closes `store`, however that ends.
    private static func closing<Result>(
        _ store: any ClosableStore, _ work: () async throws -> Result
    ) async throws -> Result {
        do {
            let result = try await work()
            try await store.close()
            return result
        } catch {
            try? await store.close()
            throw error
        }
    }

    /// Reads and checks a whole backup, and tells what is in it, as lines for people. Throws as `restore`.
    public static func listBackup(_ path: String, key: BackupKey) throws -> [String] {
        let (summary, counts) = try SiteRestore(path: path, key: try key.read(), clock: SystemWallClock()).check()
        return summary.lines + counts.lines
    }

    /// Makes a site of a backup in a state directory that is empty or not there, and in `etcd` where that is given, which must
    /// have no document; the whole backup is checked before anything is written. Returns what was in it, as lines for people.
    ///
    /// The revisions of the store go on far beyond those of the backup, so that no agent has seen later ones.
    /// Throws `BackupError`, `SealedFileError`, `PrivateFileError`, `StoreError` and `BlobError`.
    public static func restore(
        _ path: String, key: BackupKey, into stateDirectory: String, etcd: EtcdConfiguration? = nil,
        clock: any WallClock = SystemWallClock(), logger: Logger
    ) async throws -> [String] {
        let restore = SiteRestore(path: path, key: try key.read(), clock: clock)
        let (summary, counts) = try restore.check()
        let beyond = Revision(summary.revision.number + StoreMarkFile.historyGap)
        if let etcd {
            let store = try await EtcdStore.open(etcd, clock: clock, logger: logger)
            try await closing(store) {
                try await restore.run(into: stateDirectory, summary) {
                    store
                } seal: { _ in
                }
            }
            try await EtcdStore.beginNewHistory(etcd, beyond: beyond, logger: logger)
        } else {
            let storePath = StoreMarkFile(directory: stateDirectory).storePath
            try await restore.run(into: stateDirectory, summary) {
                try await SQLiteStore.open(path: storePath, clock: clock)
            } seal: { store in
                try await store.close()
                try SQLiteStore.beginNewHistory(path: storePath, beyond: beyond, clock: clock)
            }
        }
        return summary.lines + counts.lines
    }

    private static func removeStore(_ path: String) {
        for suffix in ["", "-wal", "-shm", ".lock"] { unlink(path + suffix) }
    }
}

/// A store that is closed when it is done with.
protocol ClosableStore: ResourceStore {
    func close() async throws(StoreError)
}

extension SQLiteStore: ClosableStore {}
extension EtcdStore: ClosableStore {}

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
