import BlobStore
import ImageChunks
import Primitives

/// Images in the blob store.
enum ImageBlobs {
    /// The manifest with this digest, read outside of Swift's pool of threads.
    static func manifest(_ digest: Digest, in blobs: FileBlobStore) async throws -> ChunkManifest {
        let bytes = try await blobs.offPool { (blobs) throws(BlobError) in try blobs.get(digest) }
        return try ChunkManifest(decoding: bytes, named: digest)
    }

    /// The blobs of all chunks of a manifest.
    static func named(by manifest: Digest, in blobs: FileBlobStore) async throws -> Set<Digest> {
        Set(try await self.manifest(manifest, in: blobs).chunks.map(\.blob))
    }
}
