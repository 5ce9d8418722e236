import DHCP
import NIOCore
import NIOPosix
import Primitives
import Synchronization

/// A DHCP relay for all machines of this process: sends their messages to the server and hands its answers to them.
final class RelaySocket: Sendable {
    private struct Question {
        let types: Set<DHCPMessageType>
        let answer: CheckedContinuation<DHCPPacket?, Never>
        let number: UInt64
    }

    private let channel: any Channel
    private let server: SocketAddress
    private let relay: IPv4Address
    private let questions: Mutex<(waiting: [UInt32: Question], last: UInt64)>

    /// How long an answer is waited for before the machine asks again.
    private static let patience: Duration = .seconds(2)
    /// How often a machine asks.
    private static let tryCountMax = 6

    private init(channel: any Channel, server: SocketAddress, relay: IPv4Address) {
        self.channel = channel
        self.server = server
        self.relay = relay
        questions = Mutex(([:], 0))
    }

    /// A relay at port 67 of `relay`.
    static func open(relay: IPv4Address, server: IPv4Address) async throws -> RelaySocket {
        let reader = ReplyReader()
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.socketOption(.so_rcvbuf), value: 4 << 20)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(reader) }
            }.bind(host: relay.description, port: 67).get()
        let socket = RelaySocket(
            channel: channel, server: try SocketAddress(ipAddress: server.description, port: 67), relay: relay)
        reader.owner.withLock { $0 = socket }
        return socket
    }

    /// Sends `packet` until the server answers by one of `types`; `repeated` is told of each time after the first.
    func ask(_ packet: DHCPPacket, for types: Set<DHCPMessageType>, repeated: () -> Void) async throws -> DHCPPacket {
        var packet = packet
        packet.relayAddress = relay
        packet.hops = 1
        let bytes = try packet.encoded()
        for attempt in 0..<Self.tryCountMax {
            if attempt > 0 { repeated() }
            if let answer = try await ask(packet.transaction, bytes, types) { return answer }
        }
        throw LoadError("no answer by DHCP")
    }

    private func ask(
        _ transaction: UInt32, _ bytes: [UInt8], _ types: Set<DHCPMessageType>
    ) async throws -> DHCPPacket? {
        try await withThrowingTaskGroup(of: DHCPPacket?.self) { group in
            let number = questions.withLock { questions in
                questions.last += 1
                return questions.last
            }
            group.addTask { [self] in
                await withCheckedContinuation { continuation in
                    questions.withLock {
                        $0.waiting[transaction] = Question(types: types, answer: continuation, number: number)
                    }
                    let envelope = AddressedEnvelope(remoteAddress: server, data: ByteBuffer(bytes: bytes))
                    channel.writeAndFlush(envelope, promise: nil)
                }
            }
            group.addTask { [self] in
                try? await Task.sleep(for: Self.patience)
                giveUp(transaction, number)
                return nil
            }
            while let answer = try await group.next() {
                if answer != nil || questions.withLock({ $0.waiting[transaction]?.number != number }) {
                    group.cancelAll()
                    return answer
                }
            }
            return nil
        }
    }

    private func giveUp(_ transaction: UInt32, _ number: UInt64) {
        let question = questions.withLock { questions -> Question? in
            guard questions.waiting[transaction]?.number == number else { return nil }
            return questions.waiting.removeValue(forKey: transaction)
        }
        question?.answer.resume(returning: nil)
    }

    fileprivate func received(_ packet: DHCPPacket) {
        let question = questions.withLock { questions -> Question? in
            guard let type = packet.options.messageType,
                questions.waiting[packet.transaction]?.types.contains(type) == true
            else { return nil }
            return questions.waiting.removeValue(forKey: packet.transaction)
        }
        question?.answer.resume(returning: packet)
    }
}

private final class ReplyReader: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    let owner = Mutex<RelaySocket?>(nil)

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Array(unwrapInboundIn(data).data.readableBytesView)
        guard let packet = try? DHCPPacket(decoding: bytes), packet.operation == .reply else { return }
        owner.withLock { $0 }?.received(packet)
    }
}
