import AgentProtocol
import BareMetal
import BareMetalAPI
import BootServer
import CatalogBareMetal
import CatalogIdentity
import FleetAPI
import Identity
import Primitives
import ReconcileRuntime
import ResourceModel
import TPMVerification

/// The catalog as the cache has it now.
struct LiveCatalog: Sendable {
    let cache: ResourceCache
    /// This host's interfaces and addresses, where several conductors serve the site; nil: the site names those of the
    /// only one.
    var local: (@Sendable () -> [LocalLink])?

    /// The kinds that are kept in memory. Events are not: there are many of a node, and they are seldom read.
    static let kinds: [any Resource.Type] =
        [
            Node.self, Site.self, Segment.self, BMC.self, Rule.self, NodeImage.self, Ramdisk.self,
            IdentityConflict.self,
            Lease.self, Secret.self, PlaneNetwork.self, NodeNetwork.self, AddressAssignment.self, SKU.self,
            NodeCertificates.self, SiteAuthority.self, TPMAuthority.self, ConductorEndpoint.self, ConductorRecord.self,
            LeaderRecord.self, OperatorToken.self, ControlPlaneRecord.self,
        ] + IronicAPI.cachedKinds + IdentityDirectory.kinds

    /// Nodes by the marks of their identity; see `IdentityFusion.marks`.
    static let nodesByMark = CacheIndex<Node>("mark") { IdentityFusion.marks(of: $0.status.identity) }
    /// Nodes by the BMC that is theirs.
    static let nodesByBMC = CacheIndex<Node>("bmc") { node in [node.bmcName].compactMap { $0 } }
    /// Nodes by the image that they were told to write, in hexadecimal digits.
    static let nodesByImage = CacheIndex<Node>("image") { node in [node.status.image?.hex].compactMap { $0 } }
    /// The nodes that nobody has let in, all under one key.
    static let strangers = CacheIndex<Node>("stranger") { $0.spec.approval == nil ? [""] : [] }
    /// Nodes by `Node.nextDeadline`, as digits.
    static let nodesByDeadline = CacheIndex<Node>("deadline") { node in
        node.nextDeadline.map { [digits($0)] } ?? []
    }
    /// The most nodes that are told at once that they are late.
    static let lateNodeCountMax = 1000
    /// BMCs by what their machine's firmware may tell as its UUID.
    static let bmcsByUUID = CacheIndex<BMC>("uuid") { bmc in
        bmc.status.systemUUID.map { SystemUUID.spellings($0).sorted() } ?? []
    }
    /// Leases by the machine's address.
    static let leasesByMAC = CacheIndex<Lease>("mac") { ["\($0.spec.mac)"] }

    /// Addresses by the node that has them.
    static let assignmentsByNode = CacheIndex<AddressAssignment>("node") { [$0.spec.node.raw] }

    /// All indexes, those of the API included.
    static let indexes =
        [
            AnyCacheIndex(nodesByMark), AnyCacheIndex(nodesByBMC), AnyCacheIndex(nodesByImage),
            AnyCacheIndex(strangers), AnyCacheIndex(nodesByDeadline),
            AnyCacheIndex(bmcsByUUID), AnyCacheIndex(leasesByMAC), AnyCacheIndex(assignmentsByNode),
        ] + OperatorAPI.cacheIndexes + IronicAPI.cacheIndexes + IdentityDirectory.indexes

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

    /// Where agents find conductors: those that have told, else the servers of the segments.
    func agentPorts(_ port: Int) -> [String] {
        let told = Self.told(\.agents, \.agents, in: cache.snapshot())
        return told.isEmpty ? segments().map { "\($0.spec.server):\(port)" } : told
    }

    /// One port of all conductors that have told, and of the controllers that are published, sorted: those that the site is
    /// being moved to are known before they serve.
    static func told(
        _ own: KeyPath<ConductorEndpoint.Spec, [String]>, _ port: KeyPath<ConductorItem.Ports, UInt16>,
        in now: CacheSnapshot
    ) -> [String] {
        let published = now.get(ControlPlaneRecord.self, ControlPlaneRecord.name)?.told(port) ?? []
        return Set(now.all(ConductorEndpoint.self).flatMap { $0.spec[keyPath: own] } + published).sorted()
    }

    /// This conductor's own address on a segment: the one that the site names where it is the host's, else the host's there.
    func server(of segment: Segment) -> IPv4Address {
        let local = local.map { $0().map(\.address).sorted() } ?? []
        if local.isEmpty || local.contains(segment.spec.server) { return segment.spec.server }
        let told = conductorAddresses()
        let near = local.filter { segment.spec.network.contains($0) }
        let own = segment.spec.interface == nil ? local.filter(told.contains) : near.filter(told.contains) + near
        return own.first ?? segment.spec.server
    }

    /// The addresses of all conductors that have told.
    func conductorAddresses() -> Set<IPv4Address> {
        let ports = cache.all(ConductorEndpoint.self).flatMap { $0.spec.agents + $0.spec.provisioning + $0.spec.api }
        return Set(ports.compactMap { try? IPv4Address(String($0.prefix { $0 != ":" })) })
    }

    /// The addresses that clients dial and this conductor answers for: this host's, and those of the controllers that are
    /// published, as the proxy of each passes connections to all.
    func servedAddresses() -> [IPv4Address] {
        let plane = cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name)
        let proxied = plane.map { plane in
            plane.status.assignments.filter { plane.status.published.contains($0.controller) }.map(\.address)
        }
        // The site is elsewhere until this conductor is one of them.
        let others = local == nil ? [] : proxied ?? []
        return Set(LocalAddresses.all() + others).sorted()
    }

    /// What is stored of a segment's addresses, from change to change.
    func leaseChanges(of segment: String) -> AsyncStream<[IPv4Address: LeaseRecord?]> {
        let prefix = Lease.name(segment: segment, address: .any).dropLast("\(IPv4Address.any)".count)
        return cache.changes(of: [Lease.self]) { change in
            var leases: [IPv4Address: LeaseRecord?] = [:]
            for key in change.keys where key.name.hasPrefix(prefix) {
                guard let address = try? IPv4Address(String(key.name.dropFirst(prefix.count))) else { continue }
                leases[address] = .some(cache.get(Lease.self, key.name).map(LeaseRecord.init))
            }
            return leases
        }
    }

    /// Agent ports of all conductors that have told, after `first`.
    func agentPorts(first: String) -> [String] { ports(\.agents, \.agents, first) }
    /// Provisioning ports of all conductors that have told, after `first`.
    func provisioningPorts(first: String) -> [String] { ports(\.provisioning, \.provisioning, first) }

    private func ports(
        _ own: KeyPath<ConductorEndpoint.Spec, [String]>, _ port: KeyPath<ConductorItem.Ports, UInt16>, _ first: String
    ) -> [String] {
        let told = Self.told(own, port, in: cache.snapshot())
        return [first] + told.filter { $0 != first }.prefix(ConductorEndpoint.countMax - 1)
    }

    /// The address of a controller among the controllers: the lowest that its agent tells of those in a segment of the
    /// site, the shared one left out; nil while it tells none. One that it was given in the control plane stays its own.
    func controllerAddress(of node: Node) -> IPv4Address? {
        Self.controllerAddress(
            of: node, in: cache.get(ControlPlaneRecord.self, ControlPlaneRecord.name), segments: segments())
    }

    /// The same as it is seen at one moment.
    static func controllerAddress(
        of node: Node, in plane: ControlPlaneRecord?, segments: [Segment]
    ) -> IPv4Address? {
        if let own = plane?.status.assignments.first(where: { $0.controller == node.spec.name }) { return own.address }
        let networks = segments.map(\.spec.network)
        return node.status.agent?.addresses
            .filter { address in address != plane?.spec.vip?.address && networks.contains { $0.contains(address) } }
            .min()
    }

    func segments() -> [Segment] { cache.all(Segment.self) }

    /// The segments that this host is on, each with the interface as this host calls it.
    func localSegments() -> [Segment] {
        guard let local else { return segments() }
        let links = local()
        return segments().compactMap { segment in
            guard let spec = LocalSegments.localized(segment.spec, links: links) else { return nil }
            return Segment(metadata: segment.metadata, spec: spec, status: segment.status)
        }
    }

    /// A segment as this host would serve it, or as it is said where the host is not on it.
    func asServedHere(_ segment: Segment) -> Segment.Spec {
        guard let local else { return segment.spec }
        var spec = LocalSegments.localized(segment.spec, links: local()) ?? segment.spec
        spec.server = server(of: segment)
        return spec
    }

    func site() -> Site.Spec? { cache.get(Site.self, Site.name)?.spec }
    /// The conductors that run, by name.
    func conductors() -> [ConductorRecord] { cache.all(ConductorRecord.self) }
    func ramdisk() -> Ramdisk? { cache.get(Ramdisk.self, Ramdisk.discovery) }

    /// What the site says of nodes' networks, and who has which address.
    func networks() -> NetworkCatalog { Self.networks(in: cache.snapshot()) }

    static func networks(in now: CacheSnapshot) -> NetworkCatalog {
        NetworkCatalog(
            networks: now.all(PlaneNetwork.self), templates: now.all(NodeNetwork.self),
            assignments: now.all(AddressAssignment.self), site: now.get(Site.self, Site.name)?.spec)
    }

    /// The same with the addresses of one node only.
    func networks(of node: NodeID) -> NetworkCatalog {
        let now = cache.snapshot()
        return NetworkCatalog(
            networks: now.all(PlaneNetwork.self), templates: now.all(NodeNetwork.self),
            assignments: now.all(Self.assignmentsByNode, node.raw), site: now.get(Site.self, Site.name)?.spec)
    }

    /// What the controller of addresses reads.
    var addresses: AddressController.Catalog {
        AddressController.Catalog(
            nodes: { nodes() }, node: { node($0) }, networks: { networks() }, networksOfNode: { networks(of: $0) },
            isAssigned: { network, address in
                let name = AddressAssignment.name(network: network, address: address)
                return cache.get(AddressAssignment.self, name) != nil
            },
            freedCount: { cache.snapshot().freedCount(Self.assignmentsByNode) },
            reached: { try await cache.wait(for: $0) })
    }

    /// Whose networks and addresses may have changed, from change to change; see `AddressController`.
    func addressChanges() -> AsyncStream<NodeChanges> {
        cache.changes(of: [Node.self, PlaneNetwork.self, NodeNetwork.self, AddressAssignment.self]) { change in
            guard !change.isEverything else { return .all }
            let now = cache.snapshot()
            var nodes: Set<NodeID> = []
            for key in change.keys {
                switch key.kind {
                case Node.kind: if let id = try? NodeID(key.name) { nodes.insert(id) }
                case AddressAssignment.kind where now.get(AddressAssignment.self, key.name) != nil: break
                // A network is another, or an address is free that somebody may wait for.
                default: return .all
                }
            }
            return .some(nodes)
        }
    }

    /// Whether no stream is opened for a node with this certificate: it is gone, or the certificate was revoked.
    ///
    /// False before the catalog is read; `AgentHub` looks again then.
    func isRefused(_ node: NodeID, serial: String) -> Bool {
        let now = cache.snapshot()
        guard now.isLoaded else { return false }
        if now.get(NodeCertificates.self, node.raw)?.accepts(serial) == false { return true }
        // A node that this version cannot read has not been deleted.
        return now.get(Node.self, node.raw) == nil && now.undecodable[Node.key(node.raw)] == nil
    }

    /// How long a ramdisk may be silent before it is taken to be switched off.
    private static let ramdiskSilence: Duration = .seconds(600)

    /// The nodes that hang on the authority that is being replaced; `heard` tells when a ramdisk was heard last.
    func dependents(
        of authority: SiteAuthority, heard: (NodeID) -> Timestamp, now: Timestamp
    ) -> AuthorityDependents {
        let state = authority.status.state
        guard state.older != nil else { return AuthorityDependents() }
        let snapshot = cache.snapshot()
        var begun = authority.status.since
        if case .replacing = state { begun = authority.spec.rotation?.at ?? begun }
        let facts = snapshot.all(Node.self).compactMap { node -> AuthorityDependents.Facts? in
            guard let id = try? node.id else { return nil }
            let isSilent = now.since(heard(id)) > Self.ramdiskSilence
            return AuthorityDependents.Facts(
                node: id, isEnrolled: node.status.agent != nil,
                certificates: snapshot.get(NodeCertificates.self, id.raw),
                ramdiskSince: isSilent ? nil : node.status.session?.opened)
        }
        return AuthorityDependents(of: state, since: begun, facts, now: now)
    }

    func images() -> [NodeImage] { cache.all(NodeImage.self) }

    /// Tells one password of a BMC from the next.
    func passwordVersion(of bmc: BMC) -> Metadata? { cache.get(Secret.self, bmc.spec.passwordSecret)?.metadata }

    /// Whether a manifest is a role image's, or one that a node was told to write.
    func isImage(_ manifest: Digest) -> Bool {
        images().contains { $0.spec.manifest == manifest }
            || cache.snapshot().contains(Self.nodesByImage, manifest.hex)
    }

    func node(_ id: NodeID) -> Node? { cache.get(Node.self, id.raw) }

    /// The node that has a NIC with this address.
    func node(withMAC mac: MACAddress) -> Node? {
        cache.snapshot().first(Self.nodesByMark, IdentityFusion.mark(mac))
    }

    /// The nodes whose BMC this is.
    func nodes(ofBMC name: String) -> [Node] { cache.snapshot().all(Self.nodesByBMC, name) }

    /// The nodes that have waited past their deadline, `lateNodeCountMax` at most.
    func lateNodes(at now: Timestamp) -> [Node] {
        let first = cache.snapshot().page(Self.nodesByDeadline, after: nil, limit: Self.lateNodeCountMax)
        return Array(first.map(\.value).prefix { node in node.nextDeadline.map { $0 <= now } ?? false })
    }

    /// In the order of time; times before 1970 come first.
    private static func digits(_ time: Timestamp) -> String {
        let digits = String(max(0, time.millisecondsSinceEpoch))
        return String(repeating: "0", count: max(0, 14 - digits.count)) + digits
    }

    /// What the registrar reads.
    var registrations: Registrar.Catalog {
        var known = Registrar.Catalog(
            sharing: { claim in
                let now = cache.snapshot()
                let nodes = IdentityFusion.marks(of: claim).flatMap { now.all(Self.nodesByMark, $0) }
                let byName = Dictionary(nodes.map { ($0.metadata.name, $0) }, uniquingKeysWith: { first, _ in first })
                return byName.sorted { $0.key < $1.key }.map(\.value)
            },
            names: {
                let now = cache.snapshot()
                return NodeNames(freed: now.freedCount(FleetReads.nodesByName)) {
                    now.contains(FleetReads.nodesByName, $0)
                }
            },
            strangerCount: { cache.snapshot().count(Self.strangers) }, node: { node($0) }, rules: { rules() },
            bmc: { cache.snapshot().first(Self.bmcsByUUID, SystemUUID.spelling($0)) }, skus: { skus() })
        known.requiredPCRs = { requiredPCRs() }
        return known
    }

    /// Which nodes have changed, from change to change; see `NodeController`.
    func nodeChanges() -> AsyncStream<NodeChanges> {
        cache.changes(of: [Node.self]) { change in
            change.isEverything ? .all : .some(Set(change.keys.compactMap { try? NodeID($0.name) }))
        }
    }

    /// The image that was asked for by name, else the newest of the node's role.
    func image(for node: Node) -> NodeImage? {
        let images = images()
        if let name = node.spec.image { return images.first { $0.metadata.name == name } }
        return images.filter { $0.spec.role == node.spec.role }.max { $0.metadata.created < $1.metadata.created }
    }

    /// The conductor's address on the segment where the node was seen last, else on the first segment.
    func serverAddress(for node: Node) -> IPv4Address {
        Self.segment(of: node, in: cache.snapshot()).map(server) ?? .any
    }

    /// The segment where the node was seen last, else the first; nil: there is none.
    static func segment(of node: Node, in now: CacheSnapshot) -> Segment? {
        let segments = now.all(Segment.self).sorted { $0.metadata.name < $1.metadata.name }
        let leases = node.status.identity.macs.flatMap { now.all(leasesByMAC, "\($0)") }
            .filter { $0.status.phase == .bound }
            .sorted { $0.status.lastSeen > $1.status.lastSeen }
        for lease in leases {
            if let segment = segments.first(where: { $0.metadata.name == lease.spec.segment }) { return segment }
        }
        return segments.first
    }
}
