import AgentProtocol
import BlobStore
import CatalogBareMetal
import ClientSDK
import Identity
import ImageChunks
import Logging
import NIOCore
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import ConductorServer

@Suite struct StoredBlobsTests {
    private let directory: TemporaryDirectory
    private let clock = ManualWallClock()
    private let store: MemoryStore
    private let blobs: FileBlobStore

    init() throws {
        directory = try TemporaryDirectory("conductor-blobs")
        store = MemoryStore(clock: clock)
        blobs = try FileBlobStore(directory: directory.appending("blobs"), clock: clock)
    }

    private func metadata(_ name: String) -> Metadata { Metadata(name: name, schemaVersion: 1, created: clock.now) }

    /// Stores an image of one chunk and returns its resource and that chunk.
    private func addImage() throws -> (image: NodeImage, chunk: Digest) {
        let stored: [UInt8] = Array("a chunk".utf8)
        let digest = stored.withUnsafeBytes { ChunkDigest(of: $0) }
        let chunk = ImageChunk(offset: 0, length: 4096, raw: digest, stored: digest, storedLength: stored.count)
        let manifest = try ChunkManifest(imageSize: 4096, chunks: [chunk])
        _ = try blobs.putBatch([stored, manifest.encoded()])
        let spec = NodeImage.Spec(
            role: .network, manifest: manifest.digest, size: .kibibytes(4), storedSize: .kibibytes(1), chunkCount: 1)
        return (NodeImage(metadata: metadata("net"), spec: spec), chunk.blob)
    }

    @Test func `only what nothing names is swept, and nothing while a document cannot be read`() async throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let cache = ResourceCache(store: store, kinds: LiveCatalog.kinds, indexes: LiveCatalog.indexes, logger: logger)
        let housekeeper = Housekeeper(
            catalog: LiveCatalog(cache: cache), store: store, blobs: SiteBlobs(alone: blobs),
            audit: AuditLog(store: store, clock: clock),
            register: CertificateRegister(store: store, clock: clock), clock: clock, logger: logger)
        let (image, chunk) = try addImage()
        let kernel = try blobs.put(Array("kernel".utf8))
        let unnamed = try blobs.put(Array("unnamed".utf8))
        let ramdisk = Ramdisk(
            metadata: metadata(Ramdisk.discovery), spec: Ramdisk.Spec(kernel: kernel, initrd: kernel))
        let unread = NodeImage.key("from-a-newer-version")
        _ = try await store.commit(
            Transaction(operations: [
                try Stored(new: image).put(), try Stored(new: ramdisk).put(), .put(unread, Array("{}".utf8)),
            ]))
        clock.advance(by: Housekeeper.blobGrace + .seconds(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await cache.run() }
            defer { group.cancelAll() }
            try await withDeadline {
                try await housekeeper.sweepBlobs()
                #expect(try blobs.size(of: unnamed) != nil)
                _ = try await store.commit(Transaction(operations: [.delete(unread)]))
                try await housekeeper.sweepBlobs()
            }
        }
        #expect(try blobs.size(of: unnamed) == nil)
        for digest in [kernel, image.spec.manifest, chunk] { #expect(try blobs.size(of: digest) != nil) }
    }

    @Test func `a chunk that is damaged after it was served once is not served again`() async throws {
        let bytes = Array("a chunk".utf8)
        let chunk = try blobs.put(bytes)
        let reader = BlobReader(blobs: SiteBlobs(alone: blobs))
        #expect(try await reader.read(chunk, at: 2, count: 5) == ByteBuffer(string: "chunk"))
        #expect(try await reader.read(chunk, at: 0, count: bytes.count) == ByteBuffer(bytes: bytes))
        try directory.write("blobs/blobs/\(chunk.hex.prefix(2))/\(chunk.hex)", Array("a skunk".utf8))
        await #expect(throws: BlobError.corrupt(chunk)) {
            try await reader.read(chunk, at: 0, count: bytes.count)
        }
    }

    @Test func `the longest manifest can be read as a whole`() {
        #expect(ChunkManifest.encodedLengthMax <= Int(BlobLimits.wholeReadSizeMax.bytes))
    }

    @Test func `a request may have more blobs than are stored at once`() async throws {
        let sent = (0..<BlobLimits.batchCountMax + 10).map { number in
            let bytes = Array("blob \(number)".utf8)
            return (digest: bytes.withUnsafeBytes { ChunkDigest(of: $0) }.digest, bytes: bytes)
        }
        try await withFleet { fleet in
            try await fleet.with { (client: FleetClient) async throws in try await client.storeBlobs(sent) }
            #expect(fleet.blobs.missing(from: sent.map(\.digest)).isEmpty)
        }
    }
}
