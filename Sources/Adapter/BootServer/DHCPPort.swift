import DHCP
import Logging
import NIOCore
import NIOPosix
import Primitives
import Synchronization

/// What a segment's server answers of the messages that come in on a port.
struct DHCPClaim: Hashable, Sendable {
    /// The segment's network.
    let network: IPv4Network
    /// The relays that speak for the segment.
    let relays: Set<IPv4Address>
    /// Whether the port's interface is on the segment.
    let isAttached: Bool

    /// Which of `claims` a message is for (RFC 2131 section 4.3.1, RFC 3011, RFC 3527); nil: none.
    ///
    /// A relayed message is for the segment that names the relay and has the selected link, or else the relay, in its
    /// network. A client that renews its lease over a router is known by its address. All else is from the link.
    static func choose(for packet: DHCPPacket, among claims: [DHCPClaim]) -> Int? {
        if packet.relayAddress != .any {
            let link = packet.options.selectedLink ?? packet.relayAddress
            return claims.firstIndex { $0.relays.contains(packet.relayAddress) && $0.network.contains(link) }
        }
        let renewed = claims.firstIndex { !$0.relays.isEmpty && $0.network.contains(packet.clientAddress) }
        return renewed ?? claims.firstIndex { $0.isAttached }
    }
}

/// A message and where it came in.
struct DHCPArrival: Sendable {
    let packet: DHCPPacket
    let sender: SocketAddress
    let port: DHCPPort

    /// Who sent it; nil: no IPv4 address and port.
    var source: DHCPPeer? {
        guard let number = sender.port, let address = sender.ipAddress.flatMap({ try? IPv4Address($0) }) else {
            return nil
        }
        return DHCPPeer(address: address, port: UInt16(clamping: number))
    }
}

/// The other end of a datagram.
struct DHCPPeer: Hashable, Sendable {
    let address: IPv4Address
    let port: UInt16
}

/// One UDP port of one interface, which several segments may be answered through.
final class DHCPPort: Sendable {
    let link: Link
    let number: UInt16
    private let channel: any Channel
    private let frames: FrameSender
    private let members: Mutex<[Member]>
    private let logger: Logger

    /// Who is given messages.
    struct Member: Sendable {
        let id: UInt64
        let claim: DHCPClaim
        let arrived: @Sendable (DHCPArrival) -> Void
        /// The socket is closed; nothing comes any more.
        let closed: @Sendable () -> Void
    }

    private init(_ link: Link, _ number: UInt16, _ channel: any Channel, _ frames: FrameSender, _ logger: Logger) {
        self.link = link
        self.number = number
        self.channel = channel
        self.frames = frames
        self.logger = logger
        members = Mutex([])
    }

    /// Opens the port; throws `LinkError`.
    static func open(_ link: Link, _ number: UInt16, group: any EventLoopGroup, logger: Logger) async throws -> DHCPPort
    {
        let frames = try FrameSender(link)
        let handler = DHCPPortHandler()
        // A buffer larger than any message that is decoded, so that none is silently cut to a valid one.
        let channel = try await DatagramBootstrap(group: group)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: DHCPPacket.sizeMax + 1))
            .channelOption(.autoRead, value: false)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(handler) }
            }
            .withBoundSocket(try link.openUDP(port: number)).get()
        let port = DHCPPort(link, number, channel, frames, logger)
        handler.port.withLock { $0 = port }
        try await channel.setOption(.autoRead, value: true).get()
        return port
    }

    func add(_ member: Member) { members.withLock { $0.append(member) } }

    func remove(_ id: UInt64) { members.withLock { members in members.removeAll { $0.id == id } } }

    var isOpen: Bool { channel.isActive }

    func close() async { try? await channel.close() }

    fileprivate func received(_ packet: DHCPPacket, from sender: SocketAddress) {
        let members = members.withLock { $0 }
        guard let index = DHCPClaim.choose(for: packet, among: members.map(\.claim)) else {
            logger.debug(
                "a DHCP message that is for no segment",
                metadata: ["interface": "\(link.name)", "relay": "\(packet.relayAddress)"])
            return
        }
        members[index].arrived(DHCPArrival(packet: packet, sender: sender, port: self))
    }

    fileprivate func closed() {
        for member in members.withLock({ $0 }) { member.closed() }
    }

    /// Puts a reply of the server at `server` on the wire, without waiting for it; throws when it cannot be encoded.
    func send(_ reply: DHCPReply, from server: IPv4Address) throws {
        let payload = try reply.packet.encoded(sizeMax: reply.sizeMax)
        var (address, remotePort) = (IPv4Address.broadcast, UInt16(68))
        switch reply.destination {
        case .broadcast: break
        case .unicast(let given, let givenPort): (address, remotePort) = (given, givenPort)
        case .hardware(let mac, let given):
            let frame = UDPFrame(
                source: .init(mac: link.mac, address: server, port: number),
                destination: .init(mac: mac, address: given, port: 68), payload: payload)
            if frames.send(frame.bytes) { return }
        }
        let remote = try SocketAddress(packedIPAddress: ByteBuffer(bytes: address.bytes), port: Int(remotePort))
        guard channel.isWritable else { return }
        let envelope = AddressedEnvelope(remoteAddress: remote, data: ByteBuffer(bytes: payload))
        channel.writeAndFlush(envelope).whenFailure { [logger] error in
            logger.warning("a DHCP reply could not be sent", metadata: ["error": "\(error)"])
        }
    }
}

/// Decodes what comes in on a port.
private final class DHCPPortHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    let port = Mutex<DHCPPort?>(nil)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard let port = port.withLock({ $0 }),
            let packet = try? DHCPPacket(decoding: Array(envelope.data.readableBytesView))
        else { return }
        port.received(packet, from: envelope.remoteAddress)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // One datagram that could not be sent or received; the socket goes on.
        guard !(error is IOError) else { return }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let last = port.withLock { port in
            defer { port = nil }
            return port
        }
        last?.closed()
    }
}

/// The ports of this process: each is open as long as a segment is answered through it.
public actor DHCPPorts {
    private let group: any EventLoopGroup
    private let logger: Logger
    private var entries: [Key: Entry] = [:]
    private var lastMember: UInt64 = 0

    private struct Key: Hashable {
        let index: UInt32
        let number: UInt16
    }

    /// A port that is open or about to be, or that is being closed.
    fileprivate final class Entry {
        let opening: Task<DHCPPort, any Error>
        var users = 0
        var closing: Task<Void, Never>?

        init(_ opening: Task<DHCPPort, any Error>) { self.opening = opening }
    }

    /// No open ports yet.
    public init(logger: Logger, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton) {
        self.logger = logger
        self.group = group
    }

    /// A place on a port.
    struct Membership: Sendable {
        let port: DHCPPort
        fileprivate let id: UInt64
    }

    /// Opens the port or joins those who have it open. Throws `LinkError`.
    func join(
        _ link: Link, port number: UInt16, claim: DHCPClaim, arrived: @escaping @Sendable (DHCPArrival) -> Void,
        closed: @escaping @Sendable () -> Void
    ) async throws -> Membership {
        let key = Key(index: link.index, number: number)
        while let closing = entries[key]?.closing { await closing.value }
        // Owned by the entry and waited for by all its users: one that gives up must not end it for the others.
        let entry =
            entries[key]
            ?? Entry(Task { [group, logger] in try await DHCPPort.open(link, number, group: group, logger: logger) })
        entries[key] = entry
        entry.users += 1
        lastMember += 1
        let member = DHCPPort.Member(id: lastMember, claim: claim, arrived: arrived, closed: closed)
        do {
            let port = try await entry.opening.value
            guard port.isOpen else { throw LinkError.noInterface(link.name) }
            port.add(member)
            return Membership(port: port, id: member.id)
        } catch {
            await release(key, entry)
            throw error
        }
    }

    /// Leaves a port; the last one closes it.
    func leave(_ membership: Membership) async {
        let key = Key(index: membership.port.link.index, number: membership.port.number)
        membership.port.remove(membership.id)
        guard let entry = entries[key] else { return }
        await release(key, entry)
    }

    private func release(_ key: Key, _ entry: Entry) async {
        entry.users -= 1
        guard entry.users == 0, entry.closing == nil else { return }
        let opening = entry.opening
        // Owned by the entry; the next who wants the port waits for it.
        let closing = Task { if let port = try? await opening.value { await port.close() } }
        entry.closing = closing
        await closing.value
        if entries[key] === entry { entries[key] = nil }
    }
}
