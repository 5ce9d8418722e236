import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel

/// Makes a node's view from the catalog: a pure function.
public enum NodeViewProjection {
    /// What `node` may see at `revision`, given the site, its networks, the ends of all tunnels, the API's addresses
    /// (`host:port`) of the conductors as this node reaches them, the bodies of the site's `TrustItem` and
    /// `ConductorsItem`, the control plane, if the site has one, and what the node has to have as one of its controllers.
    public static func view(
        of node: Node, site: Site.Spec?, networks: NetworkCatalog = NetworkCatalog(), ends: TunnelEnds = TunnelEnds(),
        conductors: [String] = [], trust: JSONValue? = nil, agentPorts: JSONValue? = nil,
        controlPlane: ControlPlaneRecord? = nil, secrets: ControllerSecretsItem? = nil, revision: Revision
    ) -> NodeView {
        var items: [String: NodeView.Item] = [:]
        let generation = node.metadata.generation
        let settings = AgentSettings(
            metricsIntervalSeconds: site?.metricsIntervalSeconds ?? 15, roles: node.spec.role?.modules)
        items[AgentSettings.kind] = try? NodeView.Item(
            kind: AgentSettings.kind, generation: generation, encoding: settings)
        if let trust {
            items[TrustItem.key] = NodeView.Item(kind: TrustItem.kind, generation: generation, body: trust)
        }
        if let agentPorts {
            items[ConductorsItem.key] = NodeView.Item(
                kind: ConductorsItem.kind, generation: generation, body: agentPorts)
        }
        // What cannot be put together now leaves the node as it is.
        if let network = try? networks.item(for: node) {
            items[NodeNetworkItem.key] = try? NodeView.Item(
                kind: NodeNetworkItem.kind, generation: generation, encoding: network)
        }
        if node.hasTunnels, let overlay = site?.overlay {
            let others = ends.sorted.filter { $0.node != node.metadata.name }
            let item = OverlayItem(
                vni: overlay.vni, bridge: "mbr\(overlay.vni)", device: "mvx\(overlay.vni)",
                local: networks.underlayAddress(of: node),
                peers: others.map(\.address),
                peerNames: others.map(\.name), mtu: overlay.mtu)
            items["overlay-\(overlay.vni)"] = try? NodeView.Item(
                kind: OverlayItem.kind, generation: generation, encoding: item)
        }
        if node.spec.role == .storage, let disks = node.spec.dataDisks, let owner = try? node.id {
            items["pool-\(disks.pool)"] = try? NodeView.Item(
                kind: StoragePoolItem.kind, generation: generation,
                encoding: StoragePoolItem(owner: owner, disks: disks))
        }
        if node.spec.role == .controller {
            for (key, item) in controllerItems(of: node, site, networks, conductors, controlPlane) {
                items[key] = try? NodeView.Item(kind: type(of: item).kind, generation: generation, encoding: item)
            }
            if let secrets {
                items[ControllerSecretsItem.key] = try? NodeView.Item(
                    kind: ControllerSecretsItem.kind, generation: generation, encoding: secrets)
            }
        }
        return NodeView(revision: revision, generation: generation, items: items)
    }

    /// What a controller runs: what the control plane says, and a proxy for the conductors that are known otherwise.
    private static func controllerItems(
        of node: Node, _ site: Site.Spec?, _ networks: NetworkCatalog, _ conductors: [String],
        _ plane: ControlPlaneRecord?
    ) -> [String: any ControllerItem] {
        let served = networks.networks.values.map(\.network).sorted { $0.description < $1.description }
        let items = plane.map { ControllerViews.items(of: node, in: $0, site: site, networks: served) } ?? [:]
        guard items.isEmpty else { return items }
        let port = site?.proxyPort.flatMap { UInt16(exactly: $0) } ?? ProxyItem.portDefault
        let known = Array(conductors.sorted().prefix(ProxyItem.conductorCountMax))
        return [ProxyItem.key: ProxyItem(port: port, conductors: known)]
    }
}
