import AgentProtocol
import BareMetal
import CatalogBareMetal
import Primitives
import ResourceModel
import Testing

@Suite struct NodeNetworkTests {
    private static let time = Timestamp(millisecondsSinceEpoch: 0)

    private static func metadata(_ name: String) -> Metadata { Metadata(name: name, schemaVersion: 1, created: time) }

    private static func node(_ number: Int, network: String? = "bonded") -> Node {
        let id = "00000000-0000-4000-8000-00000000000\(number)"
        var spec = Node.Spec(name: "n\(number)")
        spec.network = network
        spec.role = .network
        spec.approval = Node.Approval(by: "admin", at: time, number: 1)
        return Node(
            metadata: metadata(id), spec: spec,
            status: Node.Status(
                state: .active, since: time,
                identity: MachineIdentity(macs: [MACAddress(bytes: [2, 0, 0, 0, 0, UInt8(number)])])))
    }

    private static func networks(
        pool: (String, String)? = ("10.88.0.10", "10.88.0.11"), hosts: [String: IPv4Address] = [:]
    ) throws -> [PlaneNetwork] {
        [
            PlaneNetwork(
                metadata: metadata("boot"),
                spec: .init(plane: .provisioning, network: try IPv4Network("10.77.0.0/24"))),
            PlaneNetwork(
                metadata: metadata("fabric"),
                spec: .init(
                    plane: .underlay, network: try IPv4Network("10.88.0.0/24"),
                    poolStart: try pool.map { try IPv4Address($0.0) }, poolEnd: try pool.map { try IPv4Address($0.1) },
                    hosts: hosts, gateway: try IPv4Address("10.88.0.1"))),
        ]
    }

    private static let template = NodeNetwork(
        metadata: metadata("bonded"),
        spec: .init(
            interfaces: [
                .init(name: "left", match: .mac(MACAddress(bytes: [2, 0, 0, 0, 0, 1]))),
                .init(name: "right", match: .path("pci-1")),
            ],
            bonds: [.init(name: "bond0", settings: .init(mode: .lacp, members: ["left", "right"]))],
            vlans: [.init(name: "fabric", id: 120, over: "bond0")],
            addresses: [
                .init(on: "bond0", network: "boot", source: .dhcp),
                .init(on: "fabric", network: "fabric", source: .pool),
            ],
            routes: [.init(to: try! IPv4Network("10.99.0.0/16"), via: try! IPv4Address("10.88.0.2"))],
            dnsServers: [try! IPv4Address("10.88.0.3")]))

    private static func catalog(
        _ networks: [PlaneNetwork], _ assignments: [AddressAssignment.Spec] = [], site: Site.Spec? = nil
    ) -> NetworkCatalog {
        NetworkCatalog(
            networks: networks, templates: [template],
            assignments: assignments.map {
                AddressAssignment(
                    metadata: metadata(AddressAssignment.name(network: $0.network, address: $0.address)), spec: $0)
            }, site: site)
    }

    /// Carries plans out until nothing is to be done.
    private static func settled(
        _ nodes: [Node], _ networks: [PlaneNetwork], _ start: [AddressAssignment.Spec] = []
    ) -> [AddressAssignment.Spec] {
        var held = start
        for _ in 0..<10 {
            let steps = AddressPlan.make(nodes: nodes, catalog: catalog(networks, held), assignments: held)
            if steps.isEmpty { break }
            for step in steps {
                switch step {
                case .assign(let spec): held.append(spec)
                case .release(let spec): held.removeAll { $0 == spec }
                }
            }
        }
        return held
    }

    private static func text(_ held: [AddressAssignment.Spec]) -> [String] {
        held.map { "\($0.node.raw.suffix(1)) \($0.network) \($0.address)" }.sorted()
    }

    // MARK: Addresses

    @Test func `each node keeps its address, whoever comes and goes`() throws {
        let networks = try Self.networks()
        let first = Self.settled([Self.node(2)], networks)
        #expect(Self.text(first) == ["2 fabric 10.88.0.10"])
        let second = Self.settled([Self.node(1), Self.node(2)], networks, first)
        #expect(Self.text(second) == ["1 fabric 10.88.0.11", "2 fabric 10.88.0.10"])
        let full = Self.settled([Self.node(1), Self.node(2), Self.node(3)], networks, second)
        #expect(full == second, "nobody is pushed out")
        let later = Self.settled([Self.node(1), Self.node(3)], networks, full)
        #expect(Self.text(later) == ["1 fabric 10.88.0.11", "3 fabric 10.88.0.10"])
    }

    @Test func `an unused address stays until the pool is empty`() throws {
        let networks = try Self.networks()
        let held = Self.settled([Self.node(1), Self.node(2)], networks)
        let idle = Self.settled([Self.node(1), Self.node(2, network: nil)], networks, held)
        #expect(idle == held)
        let needed = Self.settled([Self.node(1), Self.node(2, network: nil), Self.node(3)], networks, idle)
        #expect(Self.text(needed) == ["1 fabric 10.88.0.10", "3 fabric 10.88.0.11"])
    }

    @Test func `an address given by name wins`() throws {
        let held = Self.settled([Self.node(1), Self.node(2)], try Self.networks())
        let hosts = ["n2": try IPv4Address("10.88.0.10"), "n1": try IPv4Address("10.88.0.77")]
        let moved = Self.settled([Self.node(1), Self.node(2)], try Self.networks(hosts: hosts), held)
        #expect(Self.text(moved) == ["1 fabric 10.88.0.77", "2 fabric 10.88.0.10"])
    }

    @Test func `strangers get no address, and a network that is gone keeps none`() throws {
        var stranger = Self.node(1)
        stranger.spec.approval = nil
        let networks = try Self.networks()
        #expect(Self.settled([stranger], networks).isEmpty)
        let held = Self.settled([Self.node(1)], networks)
        #expect(Self.settled([Self.node(1)], [networks[0]], held).isEmpty)
    }

    // MARK: Views

    @Test func `a network is put together from the site and the node's own addresses`() throws {
        let networks = try Self.networks()
        let nodes = [Self.node(1)]
        #expect(throws: UnresolvedNetwork.self) {
            try Self.catalog(networks).item(for: nodes[0])
        }
        var site = Site.Spec(name: "lab", sshKeys: [])
        site.networkConfirmSeconds = 25
        site.ntpServers = ["10.77.0.1"]
        let item = try #require(
            try Self.catalog(networks, Self.settled(nodes, networks), site: site).item(for: nodes[0]))
        #expect(item.confirmSeconds == 25 && item.links.map(\.name) == ["left", "right", "bond0", "fabric"])
        guard case .bond(let bond) = item.links[2].form else { throw InvalidValue("link", "", expected: "a bond") }
        #expect(bond.mac == MACAddress(bytes: [2, 0, 0, 0, 0, 1]), "the first member's")
        #expect(item.links[2].usesDHCP)
        let fabric = item.links[3]
        #expect(fabric.addresses == [.init(try IPv4Address("10.88.0.10"), prefixLength: 24)])
        #expect(fabric.gateway?.description == "10.88.0.1" && fabric.routes.count == 1)
        #expect(fabric.dnsServers.count == 1 && fabric.ntpServers == ["10.77.0.1"])
    }

    @Test func `without a choice every known card asks by DHCP`() throws {
        let item = try #require(try NetworkCatalog().item(for: Self.node(1, network: nil)))
        #expect(item.name == nil && item.confirmSeconds == 60)
        #expect(item.links.map(\.usesDHCP) == [true])
        var nameless = Self.node(1, network: nil)
        nameless.status.identity.macs = []
        #expect(try NetworkCatalog().item(for: nameless) == nil)
        let view = NodeViewProjection.view(
            of: Self.node(1, network: "gone"), site: nil, revision: Revision(1))
        #expect(view.items[NodeNetworkItem.key] == nil, "what cannot be put together leaves the node as it is")
    }

    @Test func `tunnels end in the underlay where there is one`() throws {
        var site = Site.Spec(name: "lab", sshKeys: [])
        site.overlay = Site.Spec.Overlay(vni: 7)
        var nodes = [Self.node(1), Self.node(2), Self.node(3, network: nil)]
        for index in nodes.indices {
            nodes[index].status.agent = Node.Agent(
                version: "1", bootID: "b", isConnected: true, since: Self.time,
                addresses: [try IPv4Address("10.77.0.5\(index)")])
        }
        nodes[0].status.agent?.addresses.append(try IPv4Address("10.88.0.10"))
        func overlay(_ index: Int) throws -> OverlayItem {
            let networks = Self.catalog(try Self.networks())
            let view = NodeViewProjection.view(
                of: nodes[index], site: site, networks: networks, ends: TunnelEnds(of: nodes, in: networks),
                revision: Revision(1))
            return try #require(view.items["overlay-7"]).decode(OverlayItem.self)
        }
        #expect(try overlay(0).local?.description == "10.88.0.10")
        #expect(try overlay(0).peers.map(\.description) == ["10.77.0.51", "10.77.0.52"])
        // The second node has not reported an underlay address: what it has is where its tunnels end.
        #expect(try overlay(1).local == nil)
        #expect(try overlay(1).peers.map(\.description) == ["10.77.0.52", "10.88.0.10"])
    }
}
