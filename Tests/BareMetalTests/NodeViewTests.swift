import AgentProtocol
import CatalogBareMetal
import Primitives
import ResourceModel
import Testing

@testable import BareMetal

@Suite struct NodeViewTests {
    private func node(_ number: Int, _ role: Role?, address: String? = nil, isActive: Bool = true) throws -> Node {
        let now = Timestamp(millisecondsSinceEpoch: 0)
        let id = "00000000-0000-4000-8000-00000000000\(number)"
        var node = Node(
            metadata: Metadata(name: id, schemaVersion: Node.schemaVersion, created: now),
            spec: Node.Spec(name: "n\(number)"),
            status: Node.Status(state: isActive ? .active : .available, since: now, identity: MachineIdentity()))
        node.spec.role = role
        if let address {
            node.status.agent = Node.Agent(
                version: "1", bootID: "b", isConnected: true, since: now, addresses: [try IPv4Address(address)])
        }
        return node
    }

    @Test func networkAndComputeNodesAreEachOthersTunnelEnds() throws {
        let nodes = [
            try node(1, .network, address: "10.0.0.1"), try node(2, .compute, address: "10.0.0.2"),
            try node(3, .storage, address: "10.0.0.3"), try node(4, .compute, address: "10.0.0.4", isActive: false),
        ]
        let site = Site.Spec(name: "lab", sshKeys: [], overlay: Site.Spec.Overlay(vni: 7, mtu: 1400))
        func view(_ node: Node) -> NodeView {
            NodeViewProjection.view(
                of: node, site: site, ends: TunnelEnds(of: nodes, in: NetworkCatalog()), revision: Revision(1))
        }
        func peers(_ node: Node) throws -> [String]? {
            try view(node).items["overlay-7"]?.decode(OverlayItem.self).peers.map(\.description)
        }
        #expect(try peers(nodes[0]) == ["10.0.0.2"])
        #expect(try peers(nodes[1]) == ["10.0.0.1"])
        #expect(try peers(nodes[2]) == nil)
        #expect(try peers(nodes[3]) == ["10.0.0.1", "10.0.0.2"], "a node that is not active yet sees those that are")
        func roles(_ node: Node) throws -> [Role]? {
            try view(node).items[AgentSettings.kind]?.decode(AgentSettings.self).roles
        }
        #expect(try nodes.map(roles) == [[.network], [.compute, .network], [.storage], [.compute, .network]])
        #expect(try roles(node(5, nil)) == nil)
    }

    @Test func aStorageNodeSeesItsOwnPoolAndAControllerNodeTheConductors() throws {
        var storage = try node(1, .storage)
        storage.spec.dataDisks = DataDisks(pool: "fast", all: true)
        var compute = try node(2, .compute)
        compute.spec.dataDisks = storage.spec.dataDisks
        let controller = try node(3, .controller)
        var site = Site.Spec(name: "lab", sshKeys: [])
        site.proxyPort = 443
        func items(_ node: Node, conductors: [String] = ["10.0.0.2:9443", "10.0.0.1:9443"]) -> [String: NodeView.Item] {
            NodeViewProjection.view(
                of: node, site: site, conductors: conductors, revision: Revision(1)
            ).items
        }
        #expect(
            try items(storage)["pool-fast"]?.decode(StoragePoolItem.self)
                == StoragePoolItem(owner: try storage.id, disks: DataDisks(pool: "fast", all: true)))
        #expect(items(compute)["pool-fast"] == nil, "a pool is a storage node's")
        #expect(
            try items(controller)["proxy"]?.decode(ProxyItem.self)
                == ProxyItem(port: 443, conductors: ["10.0.0.1:9443", "10.0.0.2:9443"]))
        #expect(items(controller, conductors: [])["proxy"] != nil, "no segment yet: the proxy that runs stays")
        #expect(items(storage)["proxy"] == nil)
    }
}
