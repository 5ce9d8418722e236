import Primitives

/// An Ethernet frame with one UDP datagram in IPv4 (RFC 894, 791, 768), for clients that cannot answer ARP yet.
public struct UDPFrame: Hashable, Sendable {
    /// Where from.
    public var source: Endpoint
    /// Where to.
    public var destination: Endpoint
    /// At most 1472 bytes are one Ethernet frame of 1500.
    public var payload: [UInt8]

    /// One end of a datagram.
    public struct Endpoint: Hashable, Sendable {
        /// On the link.
        public var mac: MACAddress
        /// On the network.
        public var address: IPv4Address
        /// The UDP port.
        public var port: UInt16

        /// An end.
        public init(mac: MACAddress, address: IPv4Address, port: UInt16) {
            self.mac = mac
            self.address = address
            self.port = port
        }
    }

    /// A frame from `source` to `destination`.
    public init(source: Endpoint, destination: Endpoint, payload: [UInt8]) {
        self.source = source
        self.destination = destination
        self.payload = payload
    }

    /// The frame's bytes without the frame check sequence, both checksums computed.
    public var bytes: [UInt8] {
        precondition(payload.count <= 1472, "a datagram of one Ethernet frame has at most 1472 bytes")
        let udpLength = UInt16(8 + payload.count)
        var udp = Self.bytes(source.port) + Self.bytes(destination.port) + Self.bytes(udpLength) + [0, 0] + payload
        let pseudoHeader = source.address.bytes + destination.address.bytes + [0, 17] + Self.bytes(udpLength)
        let sum = InternetChecksum.of(pseudoHeader + udp)
        udp.replaceSubrange(6..<8, with: Self.bytes(sum == 0 ? 0xFFFF : sum))

        // Version 4, 5 words of header, no fragments (DF), time to live 64, protocol UDP.
        var ip: [UInt8] = [0x45, 0x10] + Self.bytes(20 + udpLength) + [0, 0, 0x40, 0, 64, 17, 0, 0]
        ip += source.address.bytes + destination.address.bytes
        ip.replaceSubrange(10..<12, with: Self.bytes(InternetChecksum.of(ip)))
        return destination.mac.bytes + source.mac.bytes + [0x08, 0x00] + ip + udp
    }

    private static func bytes(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF)] }
}

/// The Internet checksum (RFC 1071).
enum InternetChecksum {
    /// The complement of the one's complement sum of the 16-bit words; an odd last byte is padded with zero.
    static func of(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            let low = index + 1 < bytes.count ? bytes[index + 1] : 0
            sum += UInt32(bytes[index]) << 8 | UInt32(low)
        }
        while sum > 0xFFFF { sum = sum & 0xFFFF + sum >> 16 }
        return ~UInt16(sum)
    }
}
