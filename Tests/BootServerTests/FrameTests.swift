import DHCP
import Primitives
import Testing

@testable import BootServer

@Suite("Frames")
struct FrameTests {
    @Test("the checksum of RFC 1071's example")
    func checksum() {
        #expect(InternetChecksum.of([0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]) == ~0xDDF2)
        #expect(
            InternetChecksum.of([
                0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xB8, 0x61,
                0xC0, 0xA8, 0x00, 0x01, 0xC0, 0xA8, 0x00, 0xC7,
            ]) == 0)
        #expect(InternetChecksum.of([0xFF]) == 0x00FF)
    }

    @Test("a frame has its headers in place and both checksums right", arguments: [0, 1, 2, 300, 1472])
    func frame(count: Int) {
        var random = SeededRandom(seed: UInt64(count))
        let payload = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        let bytes =
            UDPFrame(
                source: .init(mac: Lab.mac(1), address: Lab.server, port: 67),
                destination: .init(mac: Lab.mac(2), address: Lab.address(50), port: 68), payload: payload
            ).bytes
        #expect(bytes.count == 42 + count)
        #expect(Array(bytes[0..<14]) == Lab.mac(2).bytes + Lab.mac(1).bytes + [8, 0])
        let ip = Array(bytes[14..<34])
        #expect(ip[0] == 0x45 && ip[9] == 17)
        #expect(Int(ip[2]) << 8 | Int(ip[3]) == 28 + count)
        #expect(InternetChecksum.of(ip) == 0)
        #expect(Array(ip[12..<20]) == Lab.server.bytes + Lab.address(50).bytes)
        let udp = Array(bytes[34...])
        #expect(Array(udp[0..<4]) == [0, 67, 0, 68])
        let length = 8 + count
        let pseudo = Array(ip[12..<20]) + [0, 17, UInt8(length >> 8), UInt8(length & 0xFF)]
        #expect(InternetChecksum.of(pseudo + udp) == 0)
        #expect(Array(udp[8...]) == payload)
    }

    @Test("a router advertisement says that there is no router, with the sender's address and a prefix if asked")
    func advertisement() throws {
        let plain = RouterAdvertisement(sourceMAC: Lab.mac(1)).bytes
        #expect(plain == [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1] + Lab.mac(1).bytes)
        let prefix = try RouterAdvertisement.Prefix(bytes: [0xFD, 0x77] + Array(repeating: 0, count: 14), length: 64)
        let long = RouterAdvertisement(sourceMAC: nil, prefix: prefix).bytes
        #expect(long.count == 48)
        #expect(Array(long[16..<20]) == [3, 4, 64, 0])
        #expect(Array(long[32...]) == prefix.bytes)
        #expect(throws: InvalidValue.self) { try RouterAdvertisement.Prefix(bytes: [1], length: 64) }
    }

    @Test("solicitations are told from other and damaged messages")
    func solicitation() {
        let bare: [UInt8] = [133, 0, 0x12, 0x34, 0, 0, 0, 0]
        #expect(RouterAdvertisement.isSolicitation(bare))
        #expect(RouterAdvertisement.isSolicitation(bare + [1, 1] + Lab.mac(1).bytes))
        #expect(!RouterAdvertisement.isSolicitation(bare + [1, 0, 0, 0, 0, 0, 0, 0]))
        #expect(!RouterAdvertisement.isSolicitation(bare + [1, 2] + Lab.mac(1).bytes))
        #expect(!RouterAdvertisement.isSolicitation(bare + [1]))
        #expect(!RouterAdvertisement.isSolicitation([134] + bare.dropFirst()))
        #expect(!RouterAdvertisement.isSolicitation([133]))
    }

    @Test(
        "range headers",
        arguments: [
            (nil, .whole), ("bytes=0-", .part(0..<10)), ("bytes=2-3", .part(2..<4)), ("bytes=8-99", .part(8..<10)),
            ("bytes=-3", .part(7..<10)), ("bytes=-30", .part(0..<10)), ("bytes=10-", .unsatisfiable),
            ("bytes=-0", .unsatisfiable), ("bytes=3-2", .whole), ("bytes=0-1,3-4", .whole), ("lines=0-1", .whole),
            ("bytes=a-b", .whole), ("bytes=18446744073709551615-", .unsatisfiable),
            ("bytes=0-18446744073709551615", .part(0..<10)), ("bytes=", .whole), ("bytes=-", .whole),
        ] as [(String?, ByteRange)])
    func ranges(header: String?, expected: ByteRange) {
        #expect(ByteRange.parse(header, size: 10) == expected)
    }
}
