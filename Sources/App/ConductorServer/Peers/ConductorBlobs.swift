import BlobPeers
import BlobStore
import CatalogBareMetal
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel

/// A conductor's blobs, and what it shares them with other conductors by.
struct ConductorBlobs: Sendable {
    let site: SiteBlobs
    /// Closes the connections to peers with the conductor.
    let access: HTTPBlobPeers
    /// What peers show to be let in.
    let key: SecretText

    /// Opens the blobs of the state directory; peers are those conductors that `cache` has.
    ///
    /// Throws `BlobError` and `VaultError`.
    static func open(
        _ configuration: ConductorConfiguration, vault: SecretVault, cache: ResourceCache, authorities: SiteAuthorities,
        clock: any WallClock
    ) async throws -> ConductorBlobs {
        let name = configuration.conductorName
        let key = try await PeerKey.open(in: vault)
        let access = HTTPBlobPeers(name: name, key: key) { authorities.now.bundlePEM }
        let files = try FileBlobStore(directory: "\(configuration.stateDirectory)/blobs", clock: clock)
        let site = SiteBlobs(
            files, name: name,
            peers: {
                cache.all(ConductorRecord.self).map { BlobPeer(name: $0.metadata.name, url: $0.spec.addresses.api) }
            }, access: access)
        return ConductorBlobs(site: site, access: access, key: key)
    }
}
