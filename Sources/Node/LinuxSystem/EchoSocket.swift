import CLinux
import Glibc
import Primitives

/// Sends ICMP echo requests and receives their replies (RFC 792), in the network namespace of the thread that made it.
///
/// Packets are never fragmented on their way, and the size of the path that the kernel remembers is not asked (IP_PMTUDISC_PROBE).
/// May be used from several threads.
public final class EchoSocket: Sendable {
    /// The bytes of the IPv4 and the ICMP header.
    public static let headerSize = 28
    /// The smallest and the largest packet, headers included.
    public static let packetSizes = 44...65_535

    /// One reply.
    public struct Reply: Hashable, Sendable {
        /// Who answered.
        public var from: IPv4Address
        /// The request's number.
        public var sequence: UInt16
    }

    private let descriptor: Int32
    private let identifier: UInt16
    /// Comes back in each reply, so that those to other programs, and to requests that were never sent, are not taken.
    private let cookie: UInt64

    /// Opens a socket, which needs CAP_NET_RAW; throws `SystemError`.
    public init() throws(SystemError) {
        descriptor = clinux_probe_socket()
        guard descriptor >= 0 else { throw SystemError("open a socket for echoes", errno: -descriptor) }
        identifier = UInt16.random(in: 0...UInt16.max)
        cookie = UInt64.random(in: 0...UInt64.max)
    }

    deinit { close(descriptor) }

    /// Sends a request whose whole packet has `size` bytes, cut to `packetSizes`; returns 0 or an errno, for example
    /// EMSGSIZE when an interface of this machine cannot carry it.
    public func send(to address: IPv4Address, sequence: UInt16, size: Int) -> Int32 {
        let size = min(max(size, Self.packetSizes.lowerBound), Self.packetSizes.upperBound)
        var message = [UInt8](repeating: 0, count: size - 20)
        message[0] = 8
        message[4] = UInt8(identifier >> 8)
        message[5] = UInt8(identifier & 0xFF)
        message[6] = UInt8(sequence >> 8)
        message[7] = UInt8(sequence & 0xFF)
        for index in 0..<8 { message[8 + index] = UInt8(truncatingIfNeeded: cookie >> (56 - 8 * UInt64(index))) }
        let checksum = Self.checksum(message)
        message[2] = UInt8(checksum >> 8)
        message[3] = UInt8(checksum & 0xFF)
        return clinux_probe_send(descriptor, address.value, message, message.count)
    }

    /// The replies that have come, at most 256; does not wait.
    public func receive() -> [Reply] {
        var replies: [Reply] = []
        var buffer = [UInt8](repeating: 0, count: 2048)
        for _ in 0..<256 {
            var source: UInt32 = 0
            let count = clinux_probe_receive(descriptor, &source, &buffer, buffer.count)
            guard count > 0 else { break }
            if let sequence = Self.sequence(buffer[..<min(count, buffer.count)], identifier, cookie) {
                replies.append(Reply(from: IPv4Address(source), sequence: sequence))
            }
        }
        return replies
    }

    /// Waits until something has come, at most for `limit`.
    public func wait(for limit: Duration) {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&entry, 1, Int32(clamping: limit.milliseconds))
    }

    /// The number in a reply, whose packet begins with its IPv4 header; nil when it is none of this socket's.
    static func sequence(_ packet: ArraySlice<UInt8>, _ identifier: UInt16, _ cookie: UInt64) -> UInt16? {
        let packet = Array(packet)
        guard let first = packet.first, first >> 4 == 4 else { return nil }
        let start = Int(first & 0x0F) * 4
        guard start >= 20, packet.count >= start + 16, packet[start] == 0, packet[start + 1] == 0 else { return nil }
        func word(_ index: Int) -> UInt16 { UInt16(packet[start + index]) << 8 | UInt16(packet[start + index + 1]) }
        let found = packet[(start + 8)..<(start + 16)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return word(4) == identifier && found == cookie ? word(6) : nil
    }

    /// The Internet checksum (RFC 1071).
    static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[index]) << 8 | (index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0)
        }
        while sum >> 16 != 0 { sum = (sum & 0xFFFF) + sum >> 16 }
        return ~UInt16(sum)
    }
}
