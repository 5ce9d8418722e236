import BlobStore
import CatalogBareMetal
import FoundationEssentials
import Identity
import ImageChunks
import Primitives
import ResourceModel

/// Puts a whole site into one sealed file: documents as of one revision, the keys, and blobs by choice.
struct SiteBackup {
    /// Files of the state directory that are in each backup, where they are there. The authority's key is in the vault.
    static let files = ["master.key", "operator.token"]
    /// Kinds that tell who runs now: nothing of a site that is restored.
    static let leftOut: Set<String> = ["fleet.conductor", "fleet.leader"]

    let store: any ResourceStore
    let stateDirectory: String
    let clock: any WallClock
    /// Where blobs are read that are not in the state directory; nil: nowhere.
    var others: @Sendable (StoreSnapshot) async throws -> BackupPeers? = { _ in nil }

    /// Writes the backup to `path`, in the place of one that is there, and tells what is in it.
    ///
    /// Throws `BackupError`, `SealedFileError`, `PrivateFileError`, `StoreError` and `BlobError`.
    func write(to path: String, key: SealedFileKey, blobs choice: BackupBlobs) async throws -> BackupCounts {
        guard try PrivateFile.read("\(stateDirectory)/master.key") != nil else {
            throw BackupError.noState(stateDirectory)
        }
        let snapshot = try await StoreSnapshot.read(store)
        var file = try SealedFileWriter(path, key: key)
        var counts = BackupCounts()
        let summary = BackupSummary(
            conductor: Conductor.version, site: try snapshot.all(Site.self).first?.spec.name, time: clock.now,
            revision: snapshot.revision, blobs: choice)
        try file.append(BackupRecord.summary(summary).head(bodySize: 0))
        for name in Self.files {
            guard let bytes = try PrivateFile.read("\(stateDirectory)/\(name)") else { continue }
            try file.append(BackupRecord.file(name).head(bodySize: UInt64(bytes.count)))
            try file.append(bytes)
            counts.files += 1
        }
        for (key, value) in snapshot.documents.sorted(by: { $0.key < $1.key }) where !Self.leftOut.contains(key.kind) {
            try file.append(BackupRecord.document(key).head(bodySize: UInt64(value.count)))
            try file.append(value)
            counts.documents[key.kind, default: 0] += 1
        }
        let blobs = BackupBlobSource(
            own: BlobFolder(directory: "\(stateDirectory)/blobs"),
            peers: choice == .none ? nil : try await others(snapshot))
        let named = try await Self.named(by: snapshot, in: blobs, choice)
        for digest in named.all.sorted() {
            guard var blob = try await blobs.open(digest) else {
                if named.needed.contains(digest) { counts.missingBlobs += 1 }
                continue
            }
            try file.append(BackupRecord.blob(digest).head(bodySize: blob.size))
            var part = try blob.next()
            while !part.isEmpty {
                try file.append(part)
                part = try blob.next()
            }
            counts.blobs += 1
            counts.blobBytes += blob.size
        }
        guard choice != .all || counts.missingBlobs == 0 else { throw BackupError.missingBlobs(counts.missingBlobs) }
        try file.append(BackupRecord.end(counts).head(bodySize: 0))
        try file.finish()
        return counts
    }

    /// The blobs that go into the backup, and those of them without which an image or a ramdisk is not whole.
    private static func named(
        by snapshot: StoreSnapshot, in blobs: BackupBlobSource, _ choice: BackupBlobs
    ) async throws -> (all: Set<Digest>, needed: Set<Digest>) {
        guard choice != .none else { return ([], []) }
        var needed = Set(try snapshot.all(NodeImage.self).map(\.spec.manifest))
        var manifests = needed
        var inventories: Set<Digest> = []
        for node in try snapshot.all(Node.self) {
            inventories.formUnion(
                [node.status.inventory, node.status.session?.claim?.inventory].compactMap(\.self))
            if let manifest = node.status.image { manifests.insert(manifest) }
        }
        guard choice == .all else { return (manifests.union(inventories), needed) }
        var chunks: Set<Digest> = []
        for manifest in manifests {
            guard let bytes = try await blobs.bytes(manifest) else { continue }
            let own = try ChunkManifest(decoding: bytes, named: manifest).chunks.map(\.blob)
            chunks.formUnion(own)
            if needed.contains(manifest) { needed.formUnion(own) }
        }
        for ramdisk in try snapshot.all(Ramdisk.self) {
            needed.formUnion([ramdisk.spec.kernel, ramdisk.spec.initrd])
            if let media = ramdisk.spec.media { needed.insert(media.image) }
        }
        return (manifests.union(inventories).union(chunks).union(needed), needed)
    }
}

/// Blobs of the state directory, and of other conductors where it lacks them.
private struct BackupBlobSource {
    let own: BlobFolder
    let peers: BackupPeers?

    func open(_ digest: Digest) async throws -> BlobReading? {
        if let blob = try own.open(digest) { return blob }
        guard let peers, try await peers.fetch(digest) else { return nil }
        return try peers.folder.open(digest)
    }

    func bytes(_ digest: Digest) async throws -> [UInt8]? {
        if let bytes = try own.bytes(digest) { return bytes }
        guard let peers, try await peers.fetch(digest) else { return nil }
        return try peers.folder.bytes(digest)
    }
}

/// The conductors that a backup fetches blobs from, and the folder where it puts them meanwhile.
struct BackupPeers: Sendable {
    let blobs: SiteBlobs
    let folder: BlobFolder

    /// Fetches a blob into the folder; false: no conductor has it.
    func fetch(_ digest: Digest) async throws(BlobError) -> Bool {
        do { try await blobs.ensure(digest) } catch {
            guard case .missing = error else { throw error }
            return false
        }
        return true
    }
}

extension StoreSnapshot {
    /// The resources of a type, those of a lease too; throws `StoreError.undecodable`.
    func all<R: Resource>(_ type: R.Type) throws(StoreError) -> [R] {
        var found: [R] = []
        for (key, value) in documents.merging(leased, uniquingKeysWith: { first, _ in first }) where key.kind == R.kind
        {
            found.append(try Stored<R>(Document(key: key, revision: revision, value: value)).value)
        }
        return found
    }
}
