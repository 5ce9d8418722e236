import BlobStore
import CatalogIdentity
import Crypto
import Glibc
import Identity
import Primitives
import ResourceModel

/// Makes a site of a backup, in an empty place.
struct SiteRestore {
    /// The file that is in the state directory until all is there; a conductor does not start while it is.
    static let unfinished = "restore.unfinished"

    let path: String
    let key: SealedFileKey
    let clock: any WallClock

    /// Reads and checks the whole backup, and tells what it has.
    ///
    /// Throws `BackupError` and `SealedFileError` for one that was changed, is not whole, or of a newer version.
    func check() throws -> (summary: BackupSummary, counts: BackupCounts) {
        var reader = try BackupReader(path, key: key)
        guard case .summary(let summary)? = try reader.next() else {
            throw BackupError.damaged("no summary at its beginning")
        }
        guard summary.version <= BackupSummary.version else { throw BackupError.tooNew(summary.version) }
        var found = BackupCounts()
        var end: BackupCounts?
        while let record = try reader.next() {
            guard end == nil else { throw BackupError.damaged("something after its end") }
            switch record {
            case .summary: throw BackupError.damaged("two summaries")
            case .document(let key): found.documents[key.kind, default: 0] += 1
            case .file(let name):
                guard SiteBackup.files.contains(name) else {
                    throw BackupError.damaged("a file '\(name.printable(limit: 80))'")
                }
                found.files += 1
            case .blob(let digest):
                var hash = SHA256()
                var part = try reader.readBody()
                while !part.isEmpty {
                    hash.update(data: part)
                    part = try reader.readBody()
                }
                guard Primitives.Digest(bytes: Array(hash.finalize())) == digest else {
                    throw BackupError.wrongBlob(digest)
                }
                found.blobs += 1
                found.blobBytes += reader.bodySize
            case .end(let counts): end = counts
            }
        }
        guard let end else { throw BackupError.damaged("no end") }
        found.missingBlobs = end.missingBlobs
        guard found == end else { throw BackupError.damaged("other records than its end says") }
        return (summary, end)
    }

    /// Writes all of a backup that `check` has found good into `stateDirectory` and, through `open`, a store; nothing of either
    /// may be there. `seal` begins the store's new history.
    ///
    /// A restore that is broken off is done again from the start, into an empty place.
    func run<Store: ResourceStore>(
        into stateDirectory: String, _ summary: BackupSummary, open: () async throws -> Store,
        seal: (Store) async throws -> Void
    ) async throws {
        try Self.prepare(stateDirectory)
        let store = try await open()
        guard try await store.list(kind: nil, after: nil, limit: 1).documents.isEmpty else {
            throw BackupError.occupied("A catalog")
        }
        let blobs = try FileBlobStore(directory: "\(stateDirectory)/blobs", clock: clock)
        var reader = try BackupReader(path, key: key)
        var batch = Batch()
        while let record = try reader.next() {
            switch record {
            case .summary, .end: break
            case .file(let name): try PrivateFile.create("\(stateDirectory)/\(name)", try Self.body(&reader))
            case .document(let key):
                let value = try Self.body(&reader)
                if !batch.takes(value) { try await batch.commit(to: store) }
                batch.add(key, value)
            case .blob(let digest):
                var writer = try blobs.writer()
                var part = try reader.readBody()
                while !part.isEmpty {
                    try writer.append(part)
                    part = try reader.readBody()
                }
                try writer.finish(expecting: digest)
            }
        }
        try await batch.commit(to: store)
        let words = "a backup of \(summary.time) at revision \(summary.revision), blobs: \(summary.blobs.rawValue)"
        try await AuditLog(store: store, clock: clock).record(
            AuditEventSpec(
                who: "conductor", verb: "restore", resource: ResourceKey(kind: "store", name: "backup"), outcome: .ok,
                summary: words))
        try await seal(store)
        unlink("\(stateDirectory)/\(Self.unfinished)")
    }

    private static func body(_ reader: inout BackupReader) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var part = try reader.readBody()
        while !part.isEmpty {
            bytes += part
            part = try reader.readBody()
        }
        return bytes
    }

    /// Makes the state directory; throws `BackupError.occupied` when it has anything in it.
    private static func prepare(_ directory: String) throws {
        if mkdir(directory, 0o700) != 0, errno != EEXIST {
            throw PrivateFileError.failed(directory, operation: "make", code: errno)
        }
        guard let entries = opendir(directory) else {
            throw PrivateFileError.failed(directory, operation: "read", code: errno)
        }
        defer { closedir(entries) }
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name == "." || name == ".." else { throw BackupError.occupied("\(directory)/\(name)") }
        }
        guard chmod(directory, 0o700) == 0 else {
            throw PrivateFileError.failed(directory, operation: "protect", code: errno)
        }
        try PrivateFile.create("\(directory)/\(unfinished)", Array("a restore began and has not ended\n".utf8))
    }

    /// Documents for one transaction.
    private struct Batch {
        private var operations: [Transaction.Operation] = []
        private var size = 0

        func takes(_ value: [UInt8]) -> Bool {
            operations.count < StoreLimits.operationCountMax
                && size + value.count <= Int(StoreLimits.transactionSizeMax.bytes)
        }

        mutating func add(_ key: ResourceKey, _ value: [UInt8]) {
            operations.append(.put(key, value))
            size += value.count
        }

        mutating func commit(to store: any ResourceStore) async throws {
            guard !operations.isEmpty else { return }
            _ = try await store.commit(Transaction(operations: operations))
            (operations, size) = ([], 0)
        }
    }
}
