import AgentProtocol
import BareMetal
import CatalogBareMetal
import CatalogIdentity
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel
import TPMVerification

/// The catalog as the cache has it now.
struct LiveCatalog: Sendable {
    let cache: ResourceCache

    /// The kinds that are kept in memory.
    static let kinds: [any Resource.Type] = [
        Node.self, Site.self, Segment.self, BMC.self, Rule.self, NodeImage.self, Ramdisk.self, IdentityConflict.self,
        Lease.self, NodeEvent.self, Secret.self, PlaneNetwork.self, NodeNetwork.self, AddressAssignment.self,
        SKU.self, TPMAuthority.self,
    ]

    func nodes() -> [Node] { cache.all(Node.self) }
    func bmcs() -> [BMC] { cache.all(BMC.self) }
    func rules() -> [Rule] { cache.all(Rule.self) }
    func skus() -> [SKU] { cache.all(SKU.self) }
    /// What TPMs are trusted by. A stored authority that cannot be read any more vouches for nobody.
    func tpmTrust() -> TPMTrust {
        TPMTrust(
            authorities: cache.all(TPMAuthority.self).compactMap { authority in
                try? EndorsementAuthority(certificatePEM: authority.spec.certificate)
            }, keys: Set(site()?.tpm?.keys ?? []))
    }

    /// The PCRs in which a boot must be as the one that was accepted last.
    func requiredPCRs() -> Set<Int> { site()?.tpm?.requiredPCRs.map(Set.init) ?? TPMPolicy.requiredPCRsDefault }

    func segments() -> [Segment] { cache.all(Segment.self) }
    func site() -> Site.Spec? { cache.get(Site.self, Site.name)?.spec }
    func ramdisk() -> Ramdisk? { cache.get(Ramdisk.self, Ramdisk.discovery) }

    /// What the site says of nodes' networks, and who has which address.
    func networks() -> NetworkCatalog { Self.networks(in: cache.snapshot()) }

    static func networks(in now: CacheSnapshot) -> NetworkCatalog {
        NetworkCatalog(
            networks: now.all(PlaneNetwork.self), templates: now.all(NodeNetwork.self),
            assignments: now.all(AddressAssignment.self), site: now.get(Site.self, Site.name)?.spec)
    }

    func images() -> [NodeImage] { cache.all(NodeImage.self) }

    /// Tells one password of a BMC from the next.
    func passwordVersion(of bmc: BMC) -> Metadata? { cache.get(Secret.self, bmc.spec.passwordSecret)?.metadata }

    /// Whether a manifest is a role image's, or one that a node was told to write.
    func isImage(_ manifest: Digest) -> Bool {
        images().contains { $0.spec.manifest == manifest } || nodes().contains { $0.status.image == manifest }
    }

    func node(_ id: NodeID) -> Node? { cache.get(Node.self, id.raw) }

    /// The node that has a NIC with this address.
    func node(withMAC mac: MACAddress) -> Node? { nodes().first { $0.status.identity.macs.contains(mac) } }

    /// The image that was asked for by name, else the newest of the node's role.
    func image(for node: Node) -> NodeImage? {
        let images = images()
        if let name = node.spec.image { return images.first { $0.metadata.name == name } }
        return images.filter { $0.spec.role == node.spec.role }.max { $0.metadata.created < $1.metadata.created }
    }

    /// The conductor's address on the segment where the node was seen last, else on the first segment.
    func serverAddress(for node: Node) -> IPv4Address {
        Self.serverAddress(for: node, in: cache.snapshot()) ?? .any
    }

    /// As one snapshot has it; nil: there is no segment.
    static func serverAddress(for node: Node, in now: CacheSnapshot) -> IPv4Address? {
        let segments = now.all(Segment.self).sorted { $0.metadata.name < $1.metadata.name }
        let leases = now.all(Lease.self)
            .filter { $0.status.phase == .bound && node.status.identity.macs.contains($0.spec.mac) }
            .sorted { $0.status.lastSeen > $1.status.lastSeen }
        for lease in leases {
            if let segment = segments.first(where: { $0.metadata.name == lease.spec.segment }) {
                return segment.spec.server
            }
        }
        return segments.first?.spec.server
    }
}
