import BlobStore
import ImageChunks
import Primitives

/// Images in the blob store.
enum ImageBlobs {
    /// The blobs of all chunks of a manifest.
    static func named(by manifest: Digest, in blobs: FileBlobStore) throws -> Set<Digest> {
        let bytes = try blobs.get(manifest)
        return Set(try ChunkManifest(decoding: bytes, named: manifest).chunks.map(\.blob))
    }
}
