import AgentProtocol
import NetworkUnits
import Primitives
import TestSupport
import Testing

/// Networks that tests share.
enum Networks {
    static let left = try! MACAddress("52:54:00:77:00:01")
    static let right = try! MACAddress("52:54:00:77:00:02")

    static func item(_ links: [NodeNetworkItem.Link]) -> NodeNetworkItem {
        NodeNetworkItem(name: "n", confirmSeconds: 30, links: links)
    }

    static let dhcp = item([.init(name: "card0", form: .card(.mac(left)), usesDHCP: true, ntpServers: ["10.77.0.1"])])

    static func bond(_ mode: NodeNetworkItem.Bond, mtu: UInt32? = nil) -> NodeNetworkItem {
        item([
            .init(name: "left", form: .card(.mac(left))), .init(name: "right", form: .card(.path("pci-0000:01:00.0"))),
            .init(name: "bond0", form: .bond(mode), mtu: mtu, usesDHCP: true),
            .init(
                name: "fabric", form: .vlan(id: 120, over: "bond0"), mtu: mtu.map { $0 - 100 },
                addresses: [.init(try! IPv4Address("10.88.0.10"), prefixLength: 24)],
                gateway: try! IPv4Address("10.88.0.1"),
                routes: [.init(to: try! IPv4Network("10.99.0.0/16"), via: try! IPv4Address("10.88.0.2"))],
                dnsServers: [try! IPv4Address("10.88.0.3")], searchDomains: ["lab.example", "example"],
                ntpServers: ["time.lab.example"]),
        ])
    }

    static let lacp = bond(.init(mode: .lacp, members: ["left", "right"], mac: left), mtu: 9000)
    static let backup = bond(.init(mode: .activeBackup, members: ["left", "right"], primary: "right"))

    static let plain = item([
        .init(
            name: "rest", form: .card(.name("enp9*")), mtu: 1400,
            addresses: [.init(try! IPv4Address("10.88.0.10"), prefixLength: 24)]),
        .init(name: "unused", form: .card(.mac(right))),
        .init(name: "storage", form: .vlan(id: 7, over: "unused"), usesDHCP: true),
    ])
}

@Suite struct UnitSetTests {
    @Test(arguments: [
        ("dhcp", Networks.dhcp), ("lacp", Networks.lacp), ("active-backup", Networks.backup), ("plain", Networks.plain),
    ]) func `each shape has its files`(_ name: String, _ item: NodeNetworkItem) throws {
        let units = UnitSet(item)
        let text = units.files.sorted { $0.key < $1.key }.map { "==> \($0.key) <==\n\($0.value)\n" }.joined()
        try GoldenFile.compare(text, with: "network/\(name).txt")
        #expect(UnitSet(item) == units)
        #expect(units.files.keys.allSatisfy(UnitSet.isOurs))
    }

    @Test func `files of others are left out`() {
        let units = UnitSet(files: ["50-muster-a.network": "x", "10-mine.network": "y", "fallback.network": "z"])
        #expect(units.files.keys.sorted() == ["50-muster-a.network"])
    }

    @Test func `devices are those that are made`() {
        #expect(UnitSet(Networks.lacp).devices.keys.sorted() == ["bond0", "fabric"])
        #expect(UnitSet(Networks.dhcp).devices.isEmpty)
    }
}
