import CLinux
import Glibc
import Primitives

/// What came of asking whether an address is in use.
public enum ProbeAnswer: Hashable, Sendable {
    /// Nobody answered.
    case silent
    /// Somebody uses it; who is known where it was asked by ARP.
    case answered(MACAddress?)
}

/// Asks whether addresses are in use: by ARP on the link (RFC 5227), by ICMP echo (RFC 792) behind a relay.
struct AddressProber: Sendable {
    private let link: Link?

    /// How long answers are waited for.
    static let wait: Duration = .seconds(1)
    /// After how long it is asked a second time.
    static let again: Duration = .milliseconds(400)
    /// Addresses asked for at one moment.
    private static let pieceCount = 64

    /// A prober on `link`; nil: addresses are behind routers.
    init(link: Link?) { self.link = link }

    /// Asks twice within a second for all of `addresses`. What cannot be asked counts as silent: a conductor that
    /// cannot probe serves all the same.
    func probe(_ addresses: [IPv4Address]) async -> [IPv4Address: ProbeAnswer] {
        var answers = Dictionary(addresses.map { ($0, ProbeAnswer.silent) }) { first, _ in first }
        do {
            let socket: any ProbeSocket = if let link { try ARPSocket(link) } else { try EchoSocket() }
            let clock = ContinuousClock()
            let start = clock.now
            var rounds = 0
            while clock.now - start < Self.wait {
                if rounds < 2, clock.now - start >= Self.again * rounds {
                    rounds += 1
                    try await Self.ask(addresses, socket)
                }
                try await Task.sleep(for: .milliseconds(50))
                for (address, mac) in socket.answers() where answers[address] != nil {
                    answers[address] = .answered(mac)
                }
            }
        } catch { /* The link went, or the server is being stopped. */  }
        return answers
    }

    /// Asks for many in pieces: the queue of an interface is short, and a question that it drops looks like silence.
    private static func ask(_ addresses: [IPv4Address], _ socket: any ProbeSocket) async throws {
        for start in stride(from: 0, to: addresses.count, by: pieceCount) {
            if start > 0 { try await Task.sleep(for: .milliseconds(10)) }
            for address in addresses[start..<min(start + pieceCount, addresses.count)] { socket.ask(address) }
        }
    }
}

private protocol ProbeSocket {
    func ask(_ address: IPv4Address)
    /// Who was heard since the last call, at most `countMax`.
    func answers() -> [(IPv4Address, MACAddress?)]
}

extension ProbeSocket {
    /// What has come in on `descriptor`, without waiting.
    fileprivate func read(_ descriptor: OwnedDescriptor) -> [[UInt8]] {
        var messages: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 256)
        for _ in 0..<256 {
            let count = clinux_receive(descriptor.number, &buffer, buffer.count)
            guard count >= 0 else { break }
            messages.append(Array(buffer.prefix(count)))
        }
        return messages
    }
}

private struct ARPSocket: ProbeSocket {
    private let link: Link
    private let frames: FrameSender
    private let descriptor: OwnedDescriptor

    init(_ link: Link) throws(LinkError) {
        let number = clinux_arp_listener(link.index)
        guard number >= 0 else { throw LinkError("hear ARP on \(link.name)", interface: link.name, errno: -number) }
        descriptor = OwnedDescriptor(number)
        frames = try FrameSender(link)
        self.link = link
    }

    func ask(_ address: IPv4Address) { _ = frames.send(ARPMessage.probe(address, from: link.mac).broadcastFrame) }

    func answers() -> [(IPv4Address, MACAddress?)] {
        read(descriptor).compactMap { bytes in
            guard let message = ARPMessage(decoding: bytes), message.sender != link.mac, let address = message.claimed
            else { return nil }
            return (address, message.sender)
        }
    }
}

private struct EchoSocket: ProbeSocket {
    private let descriptor: OwnedDescriptor
    private let identifier = UInt16.random(in: 0...UInt16.max)

    init() throws(LinkError) {
        let number = clinux_echo_socket()
        guard number >= 0 else { throw LinkError("send ICMP echo requests", interface: "", errno: -number) }
        descriptor = OwnedDescriptor(number)
    }

    func ask(_ address: IPv4Address) {
        let message = EchoMessage.request(identifier: identifier)
        _ = clinux_echo_send(descriptor.number, address.value, message, message.count)
    }

    func answers() -> [(IPv4Address, MACAddress?)] {
        read(descriptor).compactMap { bytes in
            EchoMessage.source(ofReply: identifier, in: bytes).map { ($0, nil) }
        }
    }
}

/// ICMP echo (RFC 792).
enum EchoMessage {
    /// A request with its checksum.
    static func request(identifier: UInt16) -> [UInt8] {
        var message: [UInt8] = [8, 0, 0, 0, UInt8(identifier >> 8), UInt8(identifier & 0xFF), 0, 1]
        message += Array("muster address probe".utf8)
        let sum = InternetChecksum.of(message)
        message.replaceSubrange(2..<4, with: [UInt8(sum >> 8), UInt8(sum & 0xFF)])
        return message
    }

    /// Who replied to the request with `identifier`, in a datagram from its IP header on; nil: nobody.
    static func source(ofReply identifier: UInt16, in bytes: [UInt8]) -> IPv4Address? {
        guard bytes.count >= 28, bytes[0] >> 4 == 4, bytes[9] == 1 else { return nil }
        let size = Int(bytes[0] & 0xF) * 4
        guard size >= 20, bytes.count >= size + 8, bytes[size] == 0,
            UInt16(bytes[size + 4]) << 8 | UInt16(bytes[size + 5]) == identifier
        else { return nil }
        return IPv4Address(bytes: bytes[12..<16])
    }
}
