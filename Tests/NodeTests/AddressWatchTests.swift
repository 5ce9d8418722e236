import AgentProtocol
import Glibc
import NIOCore
import NIOPosix
import Primitives
import TestSupport
import Testing

@testable import LinuxSystem
@testable import RoleController

@Suite struct AddressWatchTests {
    private let card = Link(index: 2, name: "eth0", kind: nil, hardware: mac(1), isUp: true, mtu: 1500)
    private let wanted = IPv4Address(0x0A09_0701)
    private var there: [LinkAddress] { [LinkAddress(index: 2, address: wanted, prefixLength: 24)] }
    private var place: KeptAddress {
        KeptAddress(address: wanted, prefixLength: 24, interface: "eth0", hardware: Self.mac(1))
    }

    private static func mac(_ last: UInt8) -> MACAddress { MACAddress(bytes: [0x52, 0x54, 0, 0, 0, last]) }

    @Test("What is there is noted once, and forgotten when the others know this node no more")
    func noted() {
        var watch = AddressWatch(kept: nil)
        #expect(watch.step(wanted: wanted, links: [card], addresses: there, now: .zero) == .note(place))
        #expect(watch.step(wanted: wanted, links: [card], addresses: there, now: .seconds(1)) == .nothing)
        #expect(watch.step(wanted: nil, links: [card], addresses: there, now: .seconds(2)) == .forget)
        #expect(watch.step(wanted: nil, links: [card], addresses: there, now: .seconds(3)) == .nothing)
    }

    @Test("What is missing is set up after a time in which DHCP could have given it, each time anew")
    func missing() {
        var watch = AddressWatch(kept: place)
        #expect(watch.step(wanted: wanted, links: [card], addresses: [], now: .seconds(100)) == .wait)
        let later = Duration.seconds(100) + AddressWatch.patience
        #expect(watch.step(wanted: wanted, links: [card], addresses: [], now: later) == .setUp(place, index: 2))
        #expect(watch.step(wanted: wanted, links: [card], addresses: there, now: later) == .nothing)
        #expect(watch.step(wanted: wanted, links: [card], addresses: [], now: later + .seconds(50)) == .wait)
    }

    @Test("It is set up where it was: on the same card by another name too, and never on one that is down or another")
    func places() {
        func step(_ links: [Link], kept: KeptAddress? = nil) -> AddressWatch.Step {
            var watch = AddressWatch(kept: kept ?? place)
            _ = watch.step(wanted: wanted, links: links, addresses: [], now: .zero)
            return watch.step(wanted: wanted, links: links, addresses: [], now: .seconds(60))
        }
        var renamed = card
        renamed.name = "eth7"
        var moved = place
        moved.interface = "eth7"
        #expect(step([renamed]) == .setUp(moved, index: 2))
        // The VLAN has its card's hardware address.
        var vlan = card
        (vlan.index, vlan.name, vlan.kind) = (9, "eth0.7", "vlan")
        #expect(step([vlan, card]) == .setUp(place, index: 2))
        var onVLAN = place
        onVLAN.interface = "eth0.7"
        #expect(step([card, vlan], kept: onVLAN) == .setUp(onVLAN, index: 9))
        var down = card
        down.isUp = false
        var other = card
        (other.name, other.hardware) = ("eth1", Self.mac(2))
        var foreign = place
        foreign.address = IPv4Address(0x0A09_0709)
        #expect(step([down]) == .wait && step([other]) == .wait && step([card], kept: foreign) == .wait)
    }
}

/// A controller on a wire with a neighbour.
@Suite(.enabled(if: geteuid() == 0, "namespaces need root")) struct AddressKeeperTests {
    @Test("A controller to which nobody gives its address sets it up as it had it, but not where somebody else has it")
    func keeps() async throws {
        let (directory, nodes) = (TemporaryDirectory(), TwoNodes("kept"))
        defer { nodes.close() }
        let item = EtcdMemberItem(
            name: "c1", address: try IPv4Address("10.9.0.1"), incarnation: "one",
            cluster: [.init(name: "c1", address: try SocketAddress("10.9.0.1:2380"))], founding: .new, token: "t",
            certificate: nil)
        let items = [
            EtcdMemberItem.key: try NodeView.Item(
                kind: EtcdMemberItem.kind, generation: Generation(1), encoding: item)
        ]
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let executor = try await nodes.executors([group.next()], [0])[0]
        let note = directory("address.json")
        /// Runs the keeper of an agent that has just started, for as long as `body` takes.
        func start(_ body: (AddressKeeper) async throws -> Void) async throws {
            let keeper = AddressKeeper(path: note, patience: .zero)
            keeper.apply(items)
            let running = Task(executorPreference: executor) { await keeper.run {} }
            defer { running.cancel() }
            try await body(keeper)
        }
        @Sendable func word(_ keeper: AddressKeeper) -> Condition? {
            keeper.conditions(now: SystemWallClock().now).first
        }
        func addresses() -> String { nodes.run(0, "ip -4 -o address show dev cable") }

        try await start { _ in try await waitUntil { SystemFile.text(note) != nil } }
        nodes.run(0, "ip address flush dev cable")
        try await start { keeper in try await waitUntil { word(keeper)?.isTrue == true } }
        #expect(addresses().contains("10.9.0.1/24"))
        nodes.run(0, "ip address flush dev cable")
        nodes.run(1, "ip address add 10.9.0.1/24 dev cable")
        try await start { keeper in
            try await waitUntil { word(keeper)?.message.contains("used by somebody else on cable") == true }
            #expect(!addresses().contains("10.9.0.1"))
            nodes.run(1, "ip address delete 10.9.0.1/24 dev cable")
            nodes.run(0, "ip address replace 10.9.0.1/24 dev cable")
            try await waitUntil { word(keeper)?.isTrue != false }
        }
        try await group.shutdownGracefully()
    }
}
