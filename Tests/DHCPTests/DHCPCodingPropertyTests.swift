import Primitives
import Testing

@testable import DHCP

@Suite("DHCP coding properties")
struct DHCPCodingPropertyTests {
    @Test("what was decoded is encoded to the same message", arguments: [Captured.ipxeBIOS, Captured.ovmfPXE])
    func captured(bytes: [UInt8]) throws {
        let packet = try DHCPPacket(decoding: bytes)
        #expect(try DHCPPacket(decoding: packet.encoded()) == packet)
    }

    @Test("random messages survive encoding, overloaded and split where needed", arguments: 0..<300 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 1...255, using: &random) } }
        var packet = DHCPPacket(
            operation: .reply, transaction: .random(in: 0...UInt32.max, using: &random), hardwareAddress: bytes(6),
            seconds: .random(in: 0...9, using: &random), flags: 0x8000)
        packet.yourAddress = IPv4Address(.random(in: 0...UInt32.max, using: &random))
        packet.nextServer = IPv4Address(.random(in: 0...UInt32.max, using: &random))
        if Bool.random(using: &random) { packet.bootFile = bytes(.random(in: 0...128, using: &random)) }
        if Bool.random(using: &random) { packet.serverName = bytes(.random(in: 0...64, using: &random)) }
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            let code = DHCPOptions.Code(rawValue: .random(in: 1...254, using: &random))
            guard code != .overload else { continue }
            packet.options[code] = bytes(.random(in: 0...(Bool.random(using: &random) ? 20 : 300), using: &random))
        }
        packet.options.messageType = .offer
        if let encoded = try? packet.encoded(sizeMax: 548) {
            #expect((300...548).contains(encoded.count))
            #expect(try DHCPPacket(decoding: encoded) == packet)
        } else {
            let values = packet.options.codes.reduce(0) { $0 + (packet.options[$1]?.count ?? 0) + 2 }
            #expect(values > 60, "a small message was refused")
            #expect(throws: DHCPEncodingError.tooLarge(limit: 548)) { try packet.encoded(sizeMax: 548) }
        }
        let large = try packet.encoded(sizeMax: 4096)
        #expect(try DHCPPacket(decoding: large) == packet)
    }

    @Test("fields that are too long are refused")
    func fields() {
        var packet = DHCPPacket(request: .discover, transaction: 1, client: Captured.mac)
        packet.bootFile = Array(repeating: 65, count: 129)
        #expect(throws: DHCPEncodingError.fieldTooLong(field: "file", count: 129, limit: 128)) { try packet.encoded() }
        packet.bootFile = []
        packet.options[.vendorSpecific] = Array(repeating: 1, count: 600)
        #expect(throws: DHCPEncodingError.tooLarge(limit: 548)) { try packet.encoded() }
    }

    @Test("random bytes are a message or an error, and a message decodes from its own encoding")
    func totality() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<4000 {
            var bytes = Captured.head(flags: 0)
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                bytes[.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            bytes += (0..<Int.random(in: 0...80, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            exercise(bytes)
        }
        for count in 0..<260 { exercise(Array(repeating: UInt8(count & 0xFF), count: count)) }
    }

    private func exercise(_ bytes: [UInt8]) {
        guard let packet = try? DHCPPacket(decoding: bytes) else { return }
        packet.options.readAll()
        guard let encoded = try? packet.encoded(sizeMax: 4096) else { return }
        #expect((try? DHCPPacket(decoding: encoded)) == packet)
    }
}

extension DHCPOptions {
    /// Calls every typed getter.
    func readAll() {
        _ = (messageType, requestedAddress, serverIdentifier, maximumMessageSize, userClasses, clientArchitectures)
        _ = (clientInterface, machineUUID)
        for code in codes { _ = (addresses(code), seconds(code), text(code), encapsulated(code)) }
    }
}
