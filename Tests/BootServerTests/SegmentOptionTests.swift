import CatalogBareMetal
import DHCP
import Primitives
import ResourceModel
import Testing

@testable import BootServer

@Suite("What a segment hands out")
struct SegmentOptionTests {
    private let now = Lab.start

    private func segment(_ change: (inout Segment.Spec) -> Void) throws -> DHCPSegment {
        var spec = Segment.Spec(
            interface: "eth0", network: try IPv4Network("10.77.0.0/24"), server: Lab.server,
            pools: [
                .init(start: Lab.address(50), end: Lab.address(51)),
                .init(start: Lab.address(90), end: Lab.address(91)),
            ])
        change(&spec)
        let metadata = Metadata(name: "lab", schemaVersion: Segment.schemaVersion, created: now)
        return try DHCPSegment(Segment(metadata: metadata, spec: spec), httpPort: 8080)
    }

    @Test("NTP is the conductor's own unless another is named; MTU, routes and host name are as in the site")
    func options() throws {
        var engine = LeaseEngine(segment: try segment { _ in }, leases: [])
        let plain = engine.step(.received(Lab.discover(1)), now: now).replies[0].packet.options
        #expect(plain.addresses(.ntpServers) == [Lab.server])
        #expect(plain.interfaceMTU == nil && plain[.classlessRoutes] == nil && plain[.hostName] == nil)

        let route = Segment.Route(to: try IPv4Network("10.90.0.0/15"), via: Lab.address(3))
        var rich = LeaseEngine(
            segment: try segment {
                $0.ntpServers = [Lab.address(9)]
                $0.mtu = 1450
                $0.routes = [route]
                $0.router = Lab.address(2)
                $0.reservations = [.init(mac: Lab.mac(1), address: Lab.address(20), hostname: "gate")]
            }, leases: [])
        let reply = rich.step(.received(Lab.discover(1)), now: now).replies[0]
        let options = reply.packet.options
        #expect(reply.packet.yourAddress == Lab.address(20))
        #expect(options.addresses(.ntpServers) == [Lab.address(9)])
        #expect(options.interfaceMTU == 1450)
        #expect(options[.classlessRoutes] == [15, 10, 90, 10, 77, 0, 3, 0, 10, 77, 0, 2])
        #expect(options.text(.hostName) == "gate")
        #expect(rich.step(.received(Lab.discover(2)), now: now).replies[0].packet.options[.hostName] == nil)
        #expect(try DHCPPacket(decoding: reply.packet.encoded(sizeMax: reply.sizeMax)) == reply.packet)
    }

    @Test("all pools are used, and nothing between them")
    func pools() throws {
        var engine = LeaseEngine(segment: try segment { _ in }, leases: [])
        let bound = try (1...4 as ClosedRange<UInt8>).map { try Lab.bind(&engine, $0, now) }
        #expect(Set(bound) == Set([50, 51, 90, 91].map { Lab.address($0) }))
        #expect(engine.step(.received(Lab.discover(5)), now: now).reports == [.poolExhausted(Lab.mac(5))])
    }

    @Test("the link that a relay or a client selects is read, from option 82 before option 118")
    func selectedLink() {
        var packet = Lab.discover(1)
        #expect(packet.options.selectedLink == nil)
        packet.options[.subnetSelection] = Lab.address(0).bytes
        #expect(packet.options.selectedLink == Lab.address(0))
        packet.options[.relayAgentInformation] = [1, 2, 9, 9, 5, 4, 10, 80, 0, 0]
        #expect(packet.options.selectedLink == IPv4Address(bytes: [10, 80, 0, 0]))
        packet.options[.relayAgentInformation] = [5, 4, 10, 80]
        #expect(packet.options.selectedLink == Lab.address(0), "a damaged option 82 selects nothing")
    }
}
