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

    /// A control plane of `n1` and `n2`, which run all, and of `n3`, whose member joins.
    private func plane() throws -> ControlPlaneRecord {
        let peers = try (1...3).map { number in
            EtcdMemberItem.Peer(name: "n\(number)", address: try SocketAddress("10.0.0.\(number):2380"))
        }
        func assignment(_ number: Int, _ founding: EtcdMemberItem.Founding, _ count: Int) throws
            -> ControlPlaneRecord.Assignment
        {
            ControlPlaneRecord.Assignment(
                controller: "n\(number)", address: try IPv4Address("10.0.0.\(number)"),
                member: .init(
                    incarnation: "m\(number)", founding: founding, cluster: Array(peers.prefix(count))),
                runsConductor: number < 3)
        }
        return ControlPlaneRecord(
            created: Timestamp(millisecondsSinceEpoch: 0),
            spec: .init(
                controllers: ["n1", "n2", "n3"],
                vip: .init(address: try IPv4Address("10.0.0.100"), prefixLength: 24)),
            status: .init(
                phase: .changing,
                assignments: [
                    try assignment(1, .new, 2), try assignment(2, .new, 2), try assignment(3, .existing, 3),
                ], published: ["n1", "n2"], token: "site-1"))
    }

    @Test func aControllerSeesItsOwnPartOfTheControlPlaneAndNobodyElseAny() throws {
        let plane = try plane()
        func items(_ node: Node) -> [String: NodeView.Item] {
            NodeViewProjection.view(
                of: node, site: Site.Spec(name: "lab", sshKeys: []), controlPlane: plane, revision: Revision(1)
            ).items
        }
        let first = items(try node(1, .controller))
        let member = try #require(first[EtcdMemberItem.key]).decode(EtcdMemberItem.self)
        let conductor = try #require(first[ConductorItem.key]).decode(ConductorItem.self)
        let proxy = try #require(first[ProxyItem.key]).decode(ProxyItem.self)
        let vip = try #require(first[VIPItem.key]).decode(VIPItem.self)
        let time = try #require(first[TimeItem.key]).decode(TimeItem.self)
        for item in [member, conductor, proxy, vip, time] as [any ControllerItem] { try item.validate() }
        #expect(member.founding == .new && member.cluster.count == 2 && member.token == "site-1")
        #expect(conductor.store.map(\.description) == ["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"])
        #expect(plane.storeMembers(nearest: "n2").map(\.host.description) == ["10.0.0.2", "10.0.0.1", "10.0.0.3"])
        #expect(conductor.endpoint == "https://10.0.0.100:9443" && conductor.ports.api == 19443)
        #expect(proxy.port == 9443 && proxy.conductors == ["10.0.0.1:19443", "10.0.0.2:19443"])
        #expect(proxy.passes?.map(\.name) == ["agents", "provisioning", "boot"])
        #expect(proxy.passes?.map(\.port) == [7443, 8443, 8080])
        #expect(vip.peers.map(\.description) == ["10.0.0.2"] && vip.priority == 200)
        #expect(time.peers == vip.peers)

        let joining = items(try node(3, .controller))
        #expect(joining[EtcdMemberItem.key] != nil && joining[ConductorItem.key] == nil)
        #expect(joining[VIPItem.key] == nil && joining[ProxyItem.key] == nil, "nobody is told of it yet")
        let other = items(try node(4, .controller))
        #expect(
            Set(other.values.map(\.kind)).isDisjoint(with: [EtcdMemberItem.kind, VIPItem.kind, ConductorItem.kind]))
        #expect(items(try node(1, .compute))[EtcdMemberItem.key] == nil, "a node that is no controller has no part")
    }
}
