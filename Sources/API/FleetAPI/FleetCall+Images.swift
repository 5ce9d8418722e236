import APISupport
import AgentProtocol
import BlobStore
import CatalogBareMetal
import FleetContract
import Hummingbird
import ImageChunks
import NIOCore
import NetworkBoot
import Primitives
import ReconcileRuntime
import ResourceModel

extension BlobError: APIErrorConvertible {
    public var apiError: APIError {
        switch self {
        case .missing: APIError(.notFound, "not_found", publicMessage)
        case .mismatch: APIError(.unprocessableContent, "digest_mismatch", publicMessage)
        case .limitExceeded: APIError(.contentTooLarge, "too_large", publicMessage)
        case .invalid: APIError(.badRequest, "bad_request", publicMessage)
        case .diskFull: .diskFull(publicMessage)
        case .unreachable:
            APIError(.serviceUnavailable, "peers_unreachable", publicMessage, headers: [.retryAfter: "10"])
        case .corrupt, .unavailable: APIError(.internalServerError, "blob_store", publicMessage)
        }
    }
}

extension FleetCall {
    func listImages() async throws -> Response {
        let nodes = services.cache.all(Node.self)
        let images = services.cache.all(NodeImage.self).map { image in
            let holders = nodes.filter { $0.status.image == image.spec.manifest && $0.status.deployed > Generation(0) }
            return ImageRecord(
                name: image.metadata.name, spec: image.spec, created: image.metadata.created,
                nodes: holders.map(\.spec.name).sorted())
        }
        let ramdisks = services.cache.all(Ramdisk.self).map {
            RamdiskRecord(name: $0.metadata.name, spec: $0.spec, created: $0.metadata.created)
        }
        return .json(ImageList(images: images, ramdisks: ramdisks))
    }

    // MARK: Blobs

    func missingBlobs() async throws -> Response {
        let asked = try await body(MissingBlobsRequest.self, limit: FleetLimit.digestListSize).digests
        guard asked.count <= FleetLimit.digestCount else {
            throw APIError.badRequest("\(asked.count) digests; ask for at most \(FleetLimit.digestCount) at once.")
        }
        return .json(MissingBlobsReply(missing: await services.blobs.missing(from: asked)))
    }

    func putBlobs(_ note: inout AuditNote) async throws -> Response {
        var splitter = BlobBatchSplitter(limit: Int(FleetLimit.batchSize.bytes))
        var stored: [Digest] = []
        var batch: [[UInt8]] = []
        var batchSize = 0
        var size = 0
        for try await buffer in request.body {
            for blob in try splitter.take(buffer) {
                batch.append(blob)
                batchSize += blob.count
                guard batchSize >= Self.writeSize || batch.count == BlobLimits.batchCountMax else { continue }
                stored += try await write(batch)
                size += batchSize
                (batch, batchSize) = ([], 0)
            }
        }
        if !batch.isEmpty { stored += try await write(batch) }
        size += batchSize
        try splitter.finish()
        note.summary = "\(stored.count) blobs, \(size) bytes"
        return .json(StoredBlobsReply(stored: stored))
    }

    /// Bytes that are gathered for one sync of the file system; a blob more may come.
    private static let writeSize = 8 << 20

    private func write(_ batch: [[UInt8]]) async throws -> [Digest] {
        return try await services.blobs.local.offPool { (blobs) throws(BlobError) in try blobs.putBatch(batch) }
    }

    func putBlob(_ note: inout AuditNote) async throws -> Response {
        let digest = try Digest(hex: try parameter("digest"))
        note.resource = ResourceKey(kind: NodeImage.kind, name: digest.hex)
        note.summary = "one blob"
        let upload = try BlobUpload(to: services.blobs.local, sizeMax: FleetLimit.blobSize)
        for try await buffer in request.body { try await upload.append(Array(buffer.readableBytesView)) }
        try await upload.finish(expecting: digest)
        return .json(StoredBlobsReply(stored: [digest]))
    }

    // MARK: Images and ramdisks

    func putImage(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(ImageRequest.self)
        let name = try DNSLabel(try parameter("image"), as: "image name").text
        guard try await services.blobs.size(of: request.manifest) != nil else {
            throw APIError.conflict(
                "The manifest \(request.manifest) is not stored; push the image with 'muster image push'.")
        }
        let manifest = try await readManifest(request.manifest)
        let chunks = manifest.chunks.map(\.blob)
        let missing = await services.blobs.missing(from: chunks)
        guard missing.isEmpty else {
            throw APIError.conflict(
                "\(missing.count) of \(manifest.chunks.count) chunks of the image are missing; push it again with 'muster "
                    + "image push', which sends only those.")
        }
        let copies = try await services.blobs.secure(chunks + [request.manifest], for: "image \(name)")
        let spec = NodeImage.Spec(
            role: request.role, manifest: request.manifest, size: ByteCount(bytes: manifest.imageSize),
            storedSize: ByteCount(bytes: manifest.chunks.reduce(0) { $0 + UInt64($1.storedLength) }),
            chunkCount: manifest.chunks.count)
        let now = services.clock.now
        let written = try await put(NodeImage.self, name, &note) { old in
            var image =
                old ?? NodeImage(metadata: Metadata(name: name, schemaVersion: 1, created: now), spec: spec)
            image.spec = spec
            return image
        }
        return .json(
            ImageRecord(
                name: name, spec: written.spec, created: written.metadata.created, nodes: [], copies: copies))
    }

    private func readManifest(_ digest: Digest) async throws -> ChunkManifest {
        let bytes = try await services.blobs.get(digest)
        do { return try ChunkManifest(decoding: bytes, named: digest) } catch {
            throw APIError(.unprocessableContent, "invalid_manifest", error.publicMessage)
        }
    }

    func putRamdisk(_ note: inout AuditNote) async throws -> Response {
        let request = try await body(RamdiskRequest.self)
        let name = try DNSLabel(try parameter("ramdisk"), as: "ramdisk name").text
        for (what, digest) in [("kernel", request.kernel), ("initial ramdisk", request.initrd)]
        where try await services.blobs.size(of: digest) == nil {
            throw APIError.conflict(
                "The \(what) \(digest) is not stored; push both with 'muster image push-ramdisk'.")
        }
        if let media = request.media { try await requirePlace(in: media) }
        let digests = [request.kernel, request.initrd] + [request.media?.image].compactMap(\.self)
        let copies = try await services.blobs.secure(digests, for: "ramdisk \(name)")
        let spec = Ramdisk.Spec(kernel: request.kernel, initrd: request.initrd, media: request.media)
        let now = services.clock.now
        let written = try await put(Ramdisk.self, name, &note) { old in
            var ramdisk = old ?? Ramdisk(metadata: Metadata(name: name, schemaVersion: 1, created: now), spec: spec)
            ramdisk.spec = spec
            return ramdisk
        }
        return .json(
            RamdiskRecord(name: name, spec: written.spec, created: written.metadata.created, copies: copies))
    }

    /// Throws unless the medium is stored and has the place that is filled in where it is said to be.
    private func requirePlace(in media: Ramdisk.Spec.Media) async throws {
        guard try await services.blobs.size(of: media.image) != nil else {
            throw APIError.conflict(
                "The medium \(media.image) is not stored; push it with 'muster image push-ramdisk --media FILE'.")
        }
        let marker = Array(BootMedium.marker.utf8)
        let found = try await services.blobs.fetching(media.image) { (blobs) throws(BlobError) -> [UInt8]? in
            guard let size = try blobs.size(of: media.image), media.place <= size,
                size - media.place >= UInt64(BootMedium.size)
            else { return nil }
            return try blobs.read(media.image, at: media.place, count: marker.count)
        }
        guard found == marker else {
            throw APIError(
                .unprocessableContent, "invalid_medium",
                "The medium has no place for the conductor's address at byte \(media.place); make it with "
                    + "'Images/discovery/media.sh'.")
        }
    }

    /// Writes the resource that `change` makes of the one that is there, and returns it.
    private func put<R: Resource>(
        _ type: R.Type, _ name: String, _ note: inout AuditNote, _ change: (R?) -> R
    ) async throws -> R {
        var documents: (before: [UInt8]?, after: [UInt8]?) = (nil, nil)
        var written: R?
        let revision = try await services.store.update(type, name) { (stored) throws(StoreError) -> Stored<R>? in
            var next = change(stored?.value)
            guard var result = stored else {
                let new = Stored(new: next)
                documents = (nil, try new.encoded())
                written = next
                return new
            }
            written = next
            guard next != result.value else { return nil }
            next.metadata.generation = result.value.metadata.generation.next
            documents.before = try result.encoded()
            result.value = next
            documents.after = try result.encoded()
            written = next
            return result
        }
        (note.before, note.after) = documents
        if let revision { try await services.cache.wait(for: revision) }
        guard let written else { throw APIError.conflict("'\(name)' was not written; try again.") }
        return written
    }
}

/// Takes a batch of blobs apart as it arrives; holds at most one blob.
struct BlobBatchSplitter {
    private let limit: Int
    private var total = 0
    private var rest = ByteBuffer()

    /// Accepts `limit` bytes in all.
    init(limit: Int) { self.limit = limit }

    /// The blobs that are whole after `buffer`; throws `APIError` for more than is allowed.
    mutating func take(_ buffer: ByteBuffer) throws(APIError) -> [[UInt8]] {
        total += buffer.readableBytes
        guard total <= limit else {
            throw APIError(
                .contentTooLarge, "too_large",
                "A batch has at most \(ByteCount(bytes: UInt64(limit))); send it in parts.")
        }
        rest.writeImmutableBuffer(buffer)
        var blobs: [[UInt8]] = []
        while let length = rest.getInteger(at: rest.readerIndex, as: UInt32.self) {
            guard length > 0, Int(length) <= limit else {
                throw .badRequest("A blob of the batch claims to have \(length) bytes.")
            }
            guard rest.readableBytes >= 4 + Int(length) else { break }
            rest.moveReaderIndex(forwardBy: 4)
            blobs.append(rest.readBytes(length: Int(length)) ?? [])
        }
        rest.discardReadBytes()
        return blobs
    }

    /// Throws `APIError` when the batch ended within a blob.
    func finish() throws(APIError) {
        guard rest.readableBytes == 0 else {
            throw .badRequest("The batch ends within a blob; all blobs before that were stored.")
        }
    }
}
