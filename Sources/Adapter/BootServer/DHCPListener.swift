import CLinux
import DHCP
import Glibc
import Primitives
import WireCoding

/// Hears every DHCP reply on one interface, whoever it is for, without taking the client's port.
struct DHCPListener: Sendable {
    private let descriptor: OwnedDescriptor
    private let link: Link

    /// The most replies that one call of `replies` reads; what is left waits for the next.
    static let batchCountMax = 64

    init(_ link: Link) throws(LinkError) {
        let number = clinux_dhcp_listener(link.index)
        guard number >= 0 else { throw LinkError("hear DHCP on \(link.name)", interface: link.name, errno: -number) }
        descriptor = OwnedDescriptor(number)
        self.link = link
    }

    /// A reply and the address that it came from.
    struct Heard: Hashable, Sendable {
        let source: IPv4Address
        let packet: DHCPPacket
    }

    /// The replies that have come in since the last call, without waiting.
    func replies() throws(LinkError) -> [Heard] {
        var heard: [Heard] = []
        var buffer = [UInt8](repeating: 0, count: 2048)
        for _ in 0..<Self.batchCountMax {
            let count = clinux_receive(descriptor.number, &buffer, buffer.count)
            if count < 0 {
                let error = CInt(-count)
                if error == EAGAIN || error == EINTR { break }
                // The interface went down; this is told once, and then it is heard on.
                if error == ENETDOWN { throw .noInterface(link.name) }
                throw LinkError("hear DHCP on \(link.name)", interface: link.name, errno: error)
            }
            guard count <= buffer.count, let reply = Self.reply(in: buffer[0..<count]) else { continue }
            heard.append(reply)
        }
        return heard
    }

    /// The DHCP reply in an IPv4 datagram; nil when there is none. Total over any bytes.
    static func reply(in datagram: some Sequence<UInt8>) -> Heard? {
        let bytes = Array(datagram)
        var reader = ByteReader(bytes)
        guard let first = try? reader.readUInt8(), first >> 4 == 4 else { return nil }
        let headerSize = Int(first & 0xF) * 4
        guard headerSize >= 20, bytes.count >= headerSize + 8, bytes[9] == 17 else { return nil }
        let size = Int(bytes[2]) << 8 | Int(bytes[3])
        guard size >= headerSize + 8, size <= bytes.count else { return nil }
        guard let packet = try? DHCPPacket(decoding: Array(bytes[headerSize + 8..<size])), packet.operation == .reply
        else { return nil }
        return Heard(source: IPv4Address(bytes: bytes[12..<16]), packet: packet)
    }
}
