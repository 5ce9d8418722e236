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
            NodeViewProjection.view(of: node, site: site, peers: nodes, revision: Revision(1))
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
}
