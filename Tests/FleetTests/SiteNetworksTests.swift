import AgentProtocol
import CatalogBareMetal
import Fleet
import FleetContract
import Primitives
import Testing

@Suite struct SiteNetworksTests {
    static let site =
        goodSite.replacing(
            "  overlay:", with: "  networkConfirmSeconds: 30\n  ntp: [time.lab.example]\n  overlay:"
        )
        .replacing("gives: { role: compute }", with: "gives: { role: compute, network: bonded }") + """
            networks:
              - { name: boot, plane: provisioning, network: 10.77.0.0/24, pool: 10.77.0.100-10.77.0.120 }
              - name: fabric
                plane: underlay
                network: 10.88.0.0/24
                pool: { start: 10.88.0.10, end: 10.88.0.99 }
                gateway: 10.88.0.1
                hosts: { n1: 10.88.0.5, n2: 10.88.0.6 }
            nodeNetworks:
              - name: bonded
                interfaces:
                  - { name: left, mac: "52:54:00:77:00:01" }
                  - { name: right, path: "pci-0000:01:00.0" }
                  - { name: rest, match: "enp9*", mtu: 9000 }
                bonds:
                  - { name: bond0, members: [left, right], mode: 802.3ad, lacpRate: slow, mtu: 9000 }
                vlans:
                  - { name: fabric, id: 120, over: bond0, mtu: 8900 }
                addresses:
                  - { on: bond0, network: boot, from: dhcp }
                  - { on: fabric, network: fabric, from: pool }
                routes:
                  - { to: 10.99.0.0/16, via: 10.88.0.2 }
                dns: [10.88.0.3]
                search: [lab.example]

            """

    @Test func `networks are read`() throws {
        let document = try SiteFile(yaml: Self.site).document
        #expect(document.site.networkConfirmSeconds == 30)
        #expect(document.site.ntpServers == ["time.lab.example"])
        #expect(document.rules[1].spec.network == "bonded")
        let fabric = try #require(document.networks?.last?.spec)
        #expect(fabric.plane == .underlay && fabric.poolEnd?.description == "10.88.0.99")
        #expect(fabric.hosts.mapValues(\.description) == ["n1": "10.88.0.5", "n2": "10.88.0.6"])
        let bonded = try #require(document.nodeNetworks?.first?.spec)
        #expect(
            bonded.interfaces.map(\.match) == [
                .mac(try MACAddress("52:54:00:77:00:01")), .path("pci-0000:01:00.0"), .name("enp9*"),
            ])
        #expect(
            bonded.bonds.first?.settings
                == NodeNetworkItem.Bond(mode: .lacp, members: ["left", "right"], isFast: false))
        #expect(bonded.vlans == [.init(name: "fabric", id: 120, over: "bond0", mtu: 8900)])
        #expect(bonded.addresses.map(\.source) == [.dhcp, .pool])
        #expect(bonded.routes.count == 1 && bonded.dnsServers.count == 1 && bonded.searchDomains == ["lab.example"])
    }

    @Test func `a site without networks has none`() throws {
        let document = try SiteFile(yaml: goodSite).document
        #expect(document.networks == [] && document.nodeNetworks == [])
        #expect(document.site.networkConfirmSeconds == nil && document.site.ntpServers == nil)
    }

    @Test(arguments: [
        ("plane: underlay", "plane: backbone", "one of provisioning, underlay, storage, external, bmc"),
        ("network: bonded", "network: other", "'other' is not one of 'nodeNetworks'; there are bonded"),
        ("networkConfirmSeconds: 30", "networkConfirmSeconds: 5", "5 is not between 10 and 600"),
        ("ntp: [time.lab.example]", "ntp: [\"a b\"]", "'a b' is not a time server"),
        ("network: 10.88.0.0/24", "network: 10.77.0.0/16", "overlaps with 10.77.0.0/24"),
        ("pool: 10.77.0.100-10.77.0.120", "pool: 10.77.0.60-10.77.0.120", "overlaps with the pool of the segment"),
        ("network: 10.77.0.0/24, pool", "network: 10.77.0.0/25, pool", "make them the same or apart"),
        ("n2: 10.88.0.6", "n2: 10.88.0.5", "10.88.0.5 is the address of 'n1' already"),
        ("n2: 10.88.0.6", "n2: 10.89.0.6", "10.89.0.6 is not in 10.88.0.0/24"),
        ("start: 10.88.0.10", "start: 10.88.0.1", "holds the gateway's address 10.88.0.1"),
        ("{ name: left, mac: \"52:54:00:77:00:01\" }", "{ name: left }", "give one of 'mac', 'path'"),
        ("{ name: left, mac", "{ name: left, match: en1, mac", "give one of 'mac', 'path'"),
        ("name: left, mac: \"52", "name: left, mac: \"53", "is a group address"),
        ("path: \"pci-0000:01:00.0\"", "mac: \"52:54:00:77:00:01\"", "is the same card as interfaces[0]"),
        ("name: bond0, members", "name: sixteen-letters-, members", "expected 1 to 15"),
        ("name: bond0, members", "name: eth0, members", "begins like names that are given by others"),
        ("name: rest, match", "name: left, match", "'left' is interfaces[0].name already"),
        ("members: [left, right]", "members: [left, wrong]", "'wrong' is not one of 'interfaces'"),
        ("members: [left, right]", "members: [left, left]", "'left' is a member of 'bond0' already"),
        ("members: [left, right]", "members: [left, right], minLinks: 3", "3 is not between 1 and"),
        ("members: [left, right]", "members: [left, right], primary: left", "is of active-backup only"),
        ("mode: 802.3ad, lacpRate: slow", "mode: active-backup, lacpRate: slow", "is of 802.3ad only"),
        ("mode: 802.3ad", "mode: balance-rr", "one of 802.3ad, active-backup"),
        (
            "{ name: left, mac: \"52:54:00:77:00:01\" }", "{ name: left, mac: \"52:54:00:77:00:01\", mtu: 1500 }",
            "has the MTU 1500 and its bond 9000"
        ),
        ("over: bond0, mtu: 8900", "over: bond0, mtu: 9001", "9001 is more than the MTU of 'bond0', 9000"),
        ("over: bond0, mtu: 8900", "over: bond0, mtu: 1400", "needs 50 bytes more than itself"),
        ("over: bond0", "over: fabric", "would stand on itself"),
        ("over: bond0", "over: left", "is a member of 'bond0'"),
        ("over: bond0", "over: nothing", "is neither one of 'interfaces' nor of 'bonds'"),
        (
            "- { name: fabric, id: 120, over: bond0, mtu: 8900 }",
            "- { name: fabric, id: 120, over: bond0, mtu: 8900 }\n      - { name: inner, id: 5, over: fabric }",
            "'fabric' is a VLAN itself"
        ),
        (
            "- { name: fabric, id: 120, over: bond0, mtu: 8900 }",
            "- { name: fabric, id: 120, over: bond0, mtu: 8900 }\n      - { name: again, id: 120, over: bond0 }",
            "is the same VLAN as vlans[0]"
        ),
        ("id: 120", "id: 4095", "1 to 4094"),
        ("on: bond0, network: boot", "on: left, network: boot", "is a member of 'bond0' and has no address"),
        ("on: bond0, network: boot", "on: bond0, network: fabric", "is that of addresses[0] already"),
        ("network: boot, from: dhcp", "network: office, from: dhcp", "'office' is not one of 'networks'"),
        ("on: fabric, network: fabric", "on: rest, network: fabric", "may fit several cards"),
        ("via: 10.88.0.2", "via: 10.66.0.2", "is in none of the networks"),
        ("to: 10.99.0.0/16", "to: 0.0.0.0/0", "there is a gateway already"),
    ]) func `what is wrong is told`(_ old: String, _ new: String, _ message: String) throws {
        try #require(Self.site.contains(old), "\(old)")
        let error = try #require(throws: SiteError.self) {
            try SiteFile(yaml: Self.site.replacing(old, with: new, maxReplacements: 1))
        }
        #expect(error.problems.contains { $0.message.contains(message) }, "\(error)")
        #expect(error.problems.allSatisfy { $0.line != nil }, "\(error)")
    }
}
