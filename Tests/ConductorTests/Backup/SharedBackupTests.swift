import BlobStore
import CatalogBareMetal
import Foundation
import Identity
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

/// A backup of a site of several conductors, made on one of them.
@Suite(.timeLimit(.minutes(2)))
struct SharedBackupTests {
    private let directory: TemporaryDirectory
    private let key = SealedFileKey.file([UInt8](repeating: 9, count: 32))
    private var path: String { directory.appending("site.backup") }

    init() throws { directory = try TemporaryDirectory("shared-backup") }

    /// Registers the conductors of a bed, as they do themselves.
    private static func register(_ bed: PeerBed) async throws {
        let lease = try await bed.store.grantLease(timeToLive: .seconds(600))
        for member in bed.members {
            let record = ConductorRecord(
                name: member.peer.name,
                spec: .init(
                    run: "run", version: "1", started: bed.clock.now,
                    addresses: .init(api: member.peer.url, agents: "", provisioning: "", boot: "")))
            _ = try await bed.store.commit(
                Transaction(operations: [try Stored(new: record).put(lease: lease)]))
        }
    }

    @Test func `blobs that only others hold are in it, and all of it is restored`() async throws {
        let (path, key, target) = (path, key, directory.appending("target"))
        try await PeerBed.with(3) { bed in
            try await Self.register(bed)
            let image = try await bed.pushImage(from: 0, chunks: 30, seed: 21)
            let lacking = image.filter { !bed.holders(of: $0).contains("c2") }
            #expect(!lacking.isEmpty)
            let counts = try await Conductor.backUp(
                bed.state(of: 2), shared: bed.store, to: path, key, .all, SystemWallClock())
            #expect(counts.blobs == image.count && counts.missingBlobs == 0 && counts.files == 1)
            #expect(counts.documents["fleet.conductor"] == nil && counts.documents["baremetal.image"] == 1)
            #expect(!FileManager.default.fileExists(atPath: bed.state(of: 2) + "/backup-blobs"))

            let restore = SiteRestore(path: path, key: key, clock: bed.clock)
            let (summary, found) = try restore.check()
            #expect(found == counts && summary.blobs == .all)
            let store = MemoryStore(clock: bed.clock)
            try await restore.run(into: target, summary) {
                store
            } seal: { _ in
            }
            let before = try await StoreSnapshot.read(bed.store).documents
            let after = try await StoreSnapshot.read(store).documents
            #expect(before.allSatisfy { after[$0.key] == $0.value })
            #expect(after.count == before.count + 1, "and the audit event of the restore")
            let blobs = try FileBlobStore(directory: "\(target)/blobs")
            for digest in image { try blobs.verify(digest) }
            // The vault of the new place opens with the key that came along.
            let vault = try await SecretVault.open(store: store, keyFile: "\(target)/master.key")
            #expect(try await PeerKey.open(in: vault) == bed.key)
            #expect(!FileManager.default.fileExists(atPath: "\(target)/\(SiteRestore.unfinished)"))
            await #expect(throws: BackupError.self) {
                try await restore.run(into: target, summary) {
                    MemoryStore()
                } seal: { _ in
                }
            }
        }
    }

    @Test func `what is nowhere keeps a whole backup from being made, not one of manifests`() async throws {
        let (path, key) = (path, key)
        try await PeerBed.with(2) { bed in
            try await Self.register(bed)
            let image = try await bed.pushImage(from: 0, chunks: 5, seed: 22)
            let lost = try #require(image.first { !bed.manifests.contains($0) })
            for number in 0..<2 { try FileManager.default.removeItem(atPath: bed.path(of: lost, on: number)) }
            await #expect(throws: BackupError.missingBlobs(1)) {
                try await Conductor.backUp(bed.state(of: 0), shared: bed.store, to: path, key, .all, SystemWallClock())
            }
            #expect(!FileManager.default.fileExists(atPath: path))
            let counts = try await Conductor.backUp(
                bed.state(of: 0), shared: bed.store, to: path, key, .manifests, SystemWallClock())
            #expect(counts.blobs == 1)
            let none = try await Conductor.backUp(
                bed.state(of: 0), shared: bed.store, to: path, key, .none, SystemWallClock())
            #expect(none.blobs == 0)
        }
    }
}
