import BlobPeers
import BlobStore
import CatalogBareMetal
import FleetAPI
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
            }, sources: { formerConductors(cache.snapshot()) }, access: access)
        return ConductorBlobs(site: site, access: access, key: key)
    }

    /// Conductors that are noted and do not run as such: above all the site's first one, which tells after it has handed
    /// over to controllers where its blobs are. What a controller that has left or is down had is copied from others, and it is not asked.
    static func formerConductors(_ now: CacheSnapshot) -> [BlobPeer] {
        let known = Set(now.all(ConductorRecord.self).map(\.metadata.name))
        return now.all(ConductorEndpoint.self).compactMap { endpoint in
            let name = endpoint.metadata.name
            if let url = endpoint.spec.blobs { return BlobPeer(name: name, url: url) }
            guard !known.contains(name), let api = endpoint.spec.api.first,
                !now.contains(FleetReads.nodesByName, name)
            else { return nil }
            return BlobPeer(name: name, url: "https://\(api)")
        }
    }
}
