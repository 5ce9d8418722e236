import BlobStore
import CatalogBareMetal
import ImageChunks
import Primitives
import ReconcileRuntime
import Synchronization

/// Images in the blob store.
enum ImageBlobs {
    /// The manifest with this digest.
    static func manifest(_ digest: Digest, in blobs: SiteBlobs) async throws -> ChunkManifest {
        try ChunkManifest(decoding: try await blobs.get(digest), named: digest)
    }

    /// The blobs of all chunks of a manifest.
    static func named(by manifest: Digest, in blobs: SiteBlobs) async throws -> Set<Digest> {
        Set(try await self.manifest(manifest, in: blobs).chunks.map(\.blob))
    }
}

/// The blobs that the catalog names.
struct NamedBlobs {
    /// Kernels, ramdisks, media and inventories.
    var direct: Set<Digest> = []
    /// Manifests of images, of which each names its chunks.
    var manifests: Set<Digest> = []
    /// The chunks.
    var chunks: Set<Digest> = []
    /// Manifests of current images that no conductor has: what they name is not known.
    var lost: Set<Digest> = []

    /// All of them.
    var all: Set<Digest> { direct.union(manifests).union(chunks) }

    /// What images, ramdisks and nodes name in `snapshot`. Manifests are fetched from other conductors where they must be.
    ///
    /// Throws `BlobError.unreachable` while a conductor that may have a manifest does not answer.
    static func of(_ snapshot: CacheSnapshot, in blobs: SiteBlobs, read: ManifestMemory) async throws -> NamedBlobs {
        var named = NamedBlobs()
        let current = Set(snapshot.all(NodeImage.self).map(\.spec.manifest))
        named.manifests = current
        for ramdisk in snapshot.all(Ramdisk.self) {
            named.direct.formUnion([ramdisk.spec.kernel, ramdisk.spec.initrd])
            if let media = ramdisk.spec.media { named.direct.insert(media.image) }
        }
        for node in snapshot.all(Node.self) {
            if let inventory = node.status.inventory { named.direct.insert(inventory) }
            if let claimed = node.status.session?.claim?.inventory { named.direct.insert(claimed) }
            if let manifest = node.status.image { named.manifests.insert(manifest) }
        }
        for manifest in named.manifests {
            do {
                named.chunks.formUnion(try await read.chunks(of: manifest, in: blobs))
            } catch BlobError.missing {
                if current.contains(manifest) { named.lost.insert(manifest) }
            }
        }
        read.forget(except: named.manifests)
        return named
    }
}

/// What manifests name, which never changes, so that each is read once.
final class ManifestMemory: Sendable {
    private let known = Mutex<[Digest: Set<Digest>]>([:])

    /// The blobs of a manifest's chunks; throws what reading it throws.
    func chunks(of manifest: Digest, in blobs: SiteBlobs) async throws -> Set<Digest> {
        if let known = known.withLock({ $0[manifest] }) { return known }
        let chunks = try await ImageBlobs.named(by: manifest, in: blobs)
        known.withLock { $0[manifest] = chunks }
        return chunks
    }

    /// Forgets all but these manifests.
    func forget(except manifests: Set<Digest>) {
        known.withLock { known in known = known.filter { manifests.contains($0.key) } }
    }
}
