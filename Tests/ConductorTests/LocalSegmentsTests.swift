import CatalogBareMetal
import Primitives
import Testing

@testable import ConductorServer

/// Where a segment is on the host of a conductor that calls its interfaces by other names.
struct LocalSegmentsTests {
    private static func spec(_ interface: String?) throws -> Segment.Spec {
        Segment.Spec(
            interface: interface, network: try IPv4Network("10.1.0.0/24"), server: try IPv4Address("10.1.0.1"),
            pools: [])
    }

    private static func interface(
        _ named: String?, _ links: [(String, String)], existing: Set<String> = []
    ) throws -> String?? {
        let links = try links.map { LocalLink(interface: $0, address: try IPv4Address($1)) }
        let local = LocalSegments.localized(try spec(named), links: links) { existing.contains($0) }
        return local.map(\.interface)
    }

    @Test("The interface with an address in the segment's network is the one, whatever the site calls it")
    func otherName() throws {
        #expect(try Self.interface("br0", [("lo", "127.0.0.1"), ("ens3", "10.1.0.11")]) == .some("ens3"))
        // An interface of that name on another network is another one.
        #expect(
            try Self.interface("eth0", [("eth0", "192.168.0.2"), ("eth1", "10.1.0.11")], existing: ["eth0"])
                == .some("eth1"))
        #expect(try Self.interface("b", [("a", "10.1.0.11"), ("b", "10.1.0.12")]) == .some("b"))
        #expect(try Self.interface("x", [("b", "10.1.0.12"), ("a", "10.1.0.11")]) == .some("a"), "always the same one")
    }

    @Test("An interface without an address there is taken by its name; without either the host is not on the segment")
    func byName() throws {
        #expect(try Self.interface("br0", [], existing: ["br0"]) == .some("br0"))
        #expect(try Self.interface("br0", [("lo", "127.0.0.1"), ("eth0", "10.2.0.1")]) == nil)
    }

    @Test("A segment behind relays is everywhere")
    func relayed() throws { #expect(try Self.interface(nil, []) == .some(nil)) }
}
