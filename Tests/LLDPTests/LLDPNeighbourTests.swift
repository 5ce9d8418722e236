import LLDP
import Primitives
import Testing
import WireCoding

/// LLDPDUs as switches send them, and bytes that are none.
@Suite struct LLDPNeighbourTests {
    static func part(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
        [type << 1 | UInt8(value.count >> 8), UInt8(value.count & 0xFF)] + value
    }

    private static func bytes(_ hex: String) -> [UInt8] {
        Hex.decode(hex.filter { !$0.isWhitespace }) ?? []
    }

    /// The three mandatory TLVs and the end, as IEEE 802.1AB lays them out: a chassis and a port by MAC address, 120 s.
    @Test func theLeastThereCanBe() throws {
        let frame = Self.bytes("0207 04 000130f9ada0 0407 03 000130f9ada1 0602 0078 0000")
        #expect(
            try LLDPNeighbour(frame)
                == LLDPNeighbour(chassis: "00:01:30:f9:ad:a0", port: "00:01:30:f9:ad:a1", timeToLive: 120))
    }

    /// The frame of an Extreme Summit in the sample captures of Wireshark's wiki (lldp.detailed.pcap), without what
    /// organisations have added.
    @Test func aSwitchWithNames() throws {
        let frame = Self.bytes(
            """
            0207 04 000130f9ada0 0404 05 312f31 0602 0078
            0817 53756d6d69743330302d34382d506f7274203130303100
            0a0d 53756d6d69743330302d343800
            0c4c 53756d6d69743330302d3438202d2056657273696f6e20372e34652e3120284275696c642035
            292062792052656c656173655f4d61737465722030352f32372f30352030343a35333a313100
            0e04 00140014
            100e 07 06 000130f9ada0 02 000003e9 00 0000
            """)
        let found = try LLDPNeighbour(frame)
        #expect(found.chassis == "00:01:30:f9:ad:a0" && found.port == "1/1" && found.timeToLive == 120)
        #expect(found.portDescription == "Summit300-48-Port 1001")
        #expect(found.systemName == "Summit300-48" && found.switchName == "Summit300-48")
    }

    @Test func identifiersAreTextsAddressesOrBytes() throws {
        func read(_ chassis: [UInt8], _ port: [UInt8]) throws -> (String, String) {
            let found = try LLDPNeighbour(Self.part(1, chassis) + Self.part(2, port) + Self.part(3, [0, 20]))
            return (found.chassis, found.port)
        }
        #expect(try read([7] + Array("leaf-3".utf8), [5] + Array("swp7".utf8)) == ("leaf-3", "swp7"))
        #expect(try read([5, 1, 10, 77, 0, 9], [4, 1, 10, 77, 0, 9]) == ("10.77.0.9", "10.77.0.9"))
        #expect(try read([4, 1, 2, 3], [6, 0xAB, 0xCD]) == ("010203", "abcd"), "no MAC address, no known subtype")
        #expect(try read([7, 0, 0], [1, 0x20]) == ("0000", "20"), "nothing of the text is left")
        // What a hostile neighbour calls itself is printed as it is, without what moves a terminal.
        let (name, _) = try read([7] + Array("a\u{1B}[2Jb\n".utf8), [5] + Array("p".utf8))
        #expect(!name.unicodeScalars.contains { $0.value < 0x20 })
    }

    @Test func whatIsNotOneIsRefused() {
        let good = Self.part(1, [7, 0x61]) + Self.part(2, [5, 0x62]) + Self.part(3, [0, 1])
        for length in 0..<good.count {
            #expect(throws: WireError.self, "\(length)") { try LLDPNeighbour(Array(good.prefix(length))) }
        }
        for bytes in [
            Self.part(2, [5, 0x62]) + Self.part(1, [7, 0x61]) + Self.part(3, [0, 1]),
            Self.part(1, [7]) + Self.part(2, [5, 0x62]) + Self.part(3, [0, 1]),
            Self.part(1, [7] + [UInt8](repeating: 0x61, count: 256)) + Self.part(2, [5, 0x62]) + Self.part(3, [0, 1]),
        ] { #expect(throws: WireError.self) { try LLDPNeighbour(bytes) } }
    }

    @Test func whatFollowsIsOptionalAndBounded() throws {
        let good = Self.part(1, [7, 0x61]) + Self.part(2, [5, 0x62]) + Self.part(3, [0, 1])
        let name = Self.part(5, Array("leaf".utf8))
        #expect(try LLDPNeighbour(good + name).systemName == "leaf", "the end mark may be cut off")
        #expect(try LLDPNeighbour(good + [0, 0] + name).systemName == nil, "after the end nothing counts")
        #expect(try LLDPNeighbour(good + name + Self.part(5, Array("other".utf8))).systemName == "leaf")
        #expect(try LLDPNeighbour(good + [0x0A, 9, 0x61]).systemName == nil, "cut off")
        let vendor = Self.part(127, [0, 0x80, 0xC2, 1, 0, 1])
        #expect(try LLDPNeighbour(good + vendor + name).systemName == "leaf")
        let many = [[UInt8]](repeating: vendor, count: LLDPNeighbour.partCountMax).flatMap(\.self)
        #expect(try LLDPNeighbour(good + many + name).systemName == nil)
    }

    /// Any bytes are either an LLDPDU or a `WireError`; nothing traps.
    @Test func anyBytesAreRead() {
        var random = SeededRandom(seed: 0x88CC)
        let good =
            Self.part(1, [4, 1, 2, 3, 4, 5, 6]) + Self.part(2, [5, 0x62]) + Self.part(3, [0, 1]) + Self.part(5, [0x63])
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            if let found = try? LLDPNeighbour(bytes) {
                #expect(found.switchName.utf8.count <= 1024 && !found.chassis.isEmpty && !found.port.isEmpty)
            }
        }
    }
}
