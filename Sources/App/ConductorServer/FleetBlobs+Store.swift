import BlobStore
import FleetAPI
import NIOCore
import Primitives

extension FleetBlobs {
    /// The operators' API over the conductor's own blobs.
    init(_ blobs: BlobStore) {
        self.init(
            contains: { blobs.contains($0) }, read: { try blobs.get($0) }, write: { try blobs.put($0) },
            stream: { digest, limit, body in
                var writer = try blobs.writer(sizeMax: limit)
                for try await part in body { try writer.append(Array(part.readableBytesView)) }
                try writer.finish(expecting: digest)
            })
    }
}
