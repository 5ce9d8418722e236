import AgentProtocol
import CLinux
import Glibc
import LinuxSystem
import Primitives
import Testing

@testable import RoleNetwork

/// Runs `body` on a thread of its own in a new network namespace, which goes with the thread.
func inNewNetwork(_ body: @escaping () -> Void) {
    final class Box {
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Box(body)).toOpaque()
    let code = pthread_create(
        &thread, nil,
        { context in
            // SAFETY: retained by the creator for this thread alone.
            let box = Unmanaged<Box>.fromOpaque(context!).takeRetainedValue()
            if clinux_new_network_namespace() == 0 { box.body() }
            return nil
        }, context)
    precondition(code == 0, "no thread")
    pthread_join(thread, nil)
}

@Suite struct OverlayTests {
    static let local = try! IPv4Address("10.10.0.1")
    static let peers = [try! IPv4Address("10.10.0.2"), try! IPv4Address("10.10.0.3")]
    static let item = OverlayItem(vni: 1001, bridge: "br1001", device: "vx1001", local: local, peers: peers)

    @Test("In a new network: all is made, the second time nothing is changed, and what is not named goes")
    func kernel() throws {
        var results: [(overlays: NetworkDataplane.Outcome, rules: NetworkDataplane.Outcome)] = []
        var links: [[Link]] = []
        var ends: [IPv4Address] = []
        var failure: (any Error)?
        inNewNetwork {
            do {
                let plane = try NetworkDataplane()
                let netlink = try Netlink()
                func look() throws { links.append(try netlink.links().filter { $0.name.contains("100") }) }
                results.append(plane.check([Self.item]))
                results.append(plane.apply([Self.item]))
                results.append(plane.apply([Self.item]))
                results.append(plane.check([Self.item]))
                try look()
                ends = try netlink.floodPeers(index: links[0].first { $0.kind == "vxlan" }!.index)
                var other = Self.item
                other.peers = [Self.peers[1]]
                other.mtu = 1400
                results.append(plane.apply([other]))
                results.append(plane.check([other]))
                try look()
                results.append(plane.apply([]))
                try look()
                results.append(plane.check([]))
            } catch { failure = error }
        }
        #expect(failure == nil)
        try #require(results.count == 8)
        #expect(results.allSatisfy { $0.overlays.problems.isEmpty && $0.rules.problems.isEmpty }, "\(results)")
        #expect(results.map(\.overlays.changes) == [7, 7, 0, 0, 3, 0, 2, 0])
        #expect(results.map(\.rules.changes) == [1, 1, 0, 0, 1, 0, 0, 0])
        let device = try #require(links[0].first { $0.kind == "vxlan" })
        let bridge = try #require(links[0].first { $0.kind == "bridge" })
        #expect(device.vxlan == Link.VXLAN(id: 1001, local: Self.local))
        #expect(device.isUp && bridge.isUp && device.master == bridge.index && device.mtu == 1450)
        #expect(ends == Self.peers)
        #expect(links[1].map(\.index) == links[0].map(\.index), "interfaces are changed, not made anew")
        #expect(links[1].allSatisfy { $0.mtu == 1400 })
        #expect(links[2].isEmpty)
    }

    @Test("What somebody else made or undid is found and put right; foreign rules of others stay")
    func adoption() throws {
        var drift = NetworkDataplane.Outcome()
        var repaired = (overlays: NetworkDataplane.Outcome(), rules: NetworkDataplane.Outcome())
        var after = repaired
        var rules: NftablesTable.Observed?
        var foreign: NftablesTable.Observed?
        inNewNetwork {
            guard let plane = try? NetworkDataplane(), let netlink = try? Netlink(), let nftables = try? Nftables()
            else {
                return
            }
            try? netlink.createBridge("br1001", mtu: 1500)
            _ = try? nftables.ensure(
                NftablesTable(
                    family: "inet", name: "other",
                    chains: [NftablesTable.Chain(name: "mine", hook: nil, rules: ["accept"])]))
            _ = plane.apply([Self.item])
            if let device = try? netlink.links().first(where: { $0.name == "vx1001" }) {
                try? netlink.setUp(false, index: device.index)
                try? netlink.removeFloodPeer(Self.peers[0], index: device.index)
            }
            _ = try? nftables.ensure(
                NftablesTable(
                    family: "inet", name: "muster_network",
                    chains: [NftablesTable.Chain(name: "tunnel_ends", hook: nil, rules: ["drop"])]))
            drift = plane.check([Self.item]).overlays
            repaired = plane.apply([Self.item])
            after = plane.check([Self.item])
            rules = try? nftables.observe(family: "inet", name: "muster_network")
            foreign = try? nftables.observe(family: "inet", name: "other")
        }
        #expect(drift.changes == 2)
        #expect(repaired.overlays.changes == 2 && repaired.rules.changes == 1)
        #expect(after.overlays.changes == 0 && after.rules.changes == 0)
        #expect(rules?.chains.keys.sorted() == ["tunnel_ends", "untracked_in", "untracked_out"])
        #expect(foreign?.chains["mine"]?.count == 1)
    }

    @Test("A name that is taken, a tunnel with another number: refused or made anew")
    func plans() throws {
        let bridge = Link(index: 5, name: "br1001", kind: "bridge", isUp: true, mtu: 1450, group: OverlayPlan.group)
        var device = Link(
            index: 6, name: "vx1001", kind: "vxlan", isUp: true, mtu: 1450, master: 5, group: OverlayPlan.group,
            vxlan: Link.VXLAN(id: 1001, local: Self.local))
        var observed = ObservedNetwork(links: [bridge, device], floodPeers: ["vx1001": Self.peers])
        #expect(try OverlayPlan.steps(for: Self.item, local: Self.local, from: observed).isEmpty)

        device.vxlan?.id = 7
        observed.links = [bridge, device]
        let steps = try OverlayPlan.steps(for: Self.item, local: Self.local, from: observed)
        #expect(steps.first == .delete("vx1001") && steps.count == 6)
        #expect(steps.contains(.createVXLAN("vx1001", Link.VXLAN(id: 1001, local: Self.local), mtu: 1450)))

        observed.links = [Link(index: 5, name: "br1001", kind: nil, isUp: true, mtu: 1500)]
        let error = #expect(throws: OverlayConflict.self) {
            try OverlayPlan.steps(for: Self.item, local: Self.local, from: observed)
        }
        #expect(
            error?.publicMessage
                == "'br1001' is a hardware interface, not a bridge. Rename it, or give the overlay another name.")
        for name in ["", "a/b", "sixteen-letters-x", "two words", ".."] {
            var wrong = Self.item
            wrong.device = name
            #expect(throws: OverlayConflict.self) {
                try OverlayPlan.steps(for: wrong, local: Self.local, from: ObservedNetwork())
            }
        }
    }

    @Test("The role's conditions: what cannot be read is said, and keeps the role from being ready")
    func conditions() throws {
        let good = try NodeView.Item(kind: OverlayItem.kind, generation: Generation(1), encoding: Self.item)
        let bad = try NodeView.Item(kind: OverlayItem.kind, generation: Generation(1), encoding: ["vni": "x"])
        let (items, problems) = NetworkRole.read(["a": good, "b": bad])
        #expect(items == [Self.item])
        #expect(problems == ["'b' is not an overlay that this agent understands; upgrade it."])
    }

    @Test("While some item cannot be read, nothing is taken down, and its tunnel ends stay in the rules")
    func incomplete() throws {
        let other = OverlayItem(
            vni: 1002, bridge: "br1002", device: "vx1002", local: Self.local, peers: [try IPv4Address("10.10.0.4")])
        var results: [(overlays: NetworkDataplane.Outcome, rules: NetworkDataplane.Outcome)] = []
        var names: [[String]] = []
        var failure: (any Error)?
        inNewNetwork {
            do {
                let plane = try NetworkDataplane()
                let netlink = try Netlink()
                func look() throws { names.append(try netlink.links().map(\.name).filter { $0.contains("100") }) }
                results.append(plane.apply([], isComplete: false))
                results.append(plane.apply([Self.item]))
                try look()
                // The first can no longer be read, and the second has come.
                results.append(plane.apply([other], isComplete: false))
                results.append(plane.check([other], isComplete: false))
                results.append(plane.apply([], isComplete: false))
                results.append(plane.check([], isComplete: false))
                results.append(plane.check([Self.item, other]))
                try look()
                results.append(plane.apply([other]))
                try look()
            } catch { failure = error }
        }
        #expect(failure == nil)
        #expect(results.map(\.overlays.changes) == [0, 7, 6, 0, 0, 0, 0, 2])
        #expect(results.map(\.rules.changes) == [0, 1, 1, 0, 0, 0, 0, 1])
        #expect(results.allSatisfy { $0.overlays.problems.isEmpty && $0.rules.problems.isEmpty }, "\(results)")
        #expect(names.map(\.count) == [2, 4, 2])
    }

    @Test("A tunnel begins where the node says it is reached, and a lost default route moves neither")
    func defaultRouteComesAndGoes() throws {
        var item = Self.item
        item.local = nil
        var devices: [Link] = []
        var addresses: [IPv4Address] = []
        var problems: [String] = []
        var failure: (any Error)?
        inNewNetwork {
            do {
                let plane = try NetworkDataplane()
                let netlink = try Netlink()
                for (name, address) in [("lan0", "10.10.0.1"), ("lan1", "10.20.0.1")] {
                    try netlink.createBridge(name, mtu: 1500)
                    let index = try netlink.links().first { $0.name == name }!.index
                    try netlink.addAddress(IPv4Address(address), prefixLength: 24, index: index)
                    try netlink.setUp(true, index: index)
                }
                for command in ["add default via 10.20.0.254", "del default", "add default via 10.10.0.254"] {
                    Shell.run("ip route \(command)")
                    problems += plane.apply([item]).overlays.problems
                    devices += try netlink.links().filter { $0.name == "vx1001" }
                    addresses += try netlink.reachableAddresses().prefix(1).map(\.address)
                }
            } catch { failure = error }
        }
        #expect(failure == nil && problems.isEmpty, "\(problems)")
        try #require(devices.count == 3)
        #expect(devices[0].index == devices[1].index, "the tunnel is not made anew")
        #expect(devices.map(\.vxlan?.local) == addresses.map(Optional.some))
        #expect(addresses.map(\.description) == ["10.20.0.1", "10.20.0.1", "10.10.0.1"])
    }

    @Test("The interface with the default route")
    func defaultRoute() {
        let table = """
            Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
            eth1\t000A0A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
            eth0\t00000000\t01004D0A\t0003\t0\t0\t0\t00000000\t0\t0\t0
            """
        #expect(DefaultRoute.interface(table) == "eth0")
        #expect(DefaultRoute.interface("") == nil)
    }
}
