import Primitives
import Testing

@testable import TFTP

/// Transfers over a network that loses, doubles, delays and reorders, all from a seed.
@Suite struct TFTPSessionTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var blockSize: Int?
        var windowSize: Int?
        var timeout: Int?
        var asksSize: Bool
        var testDescription: String {
            "blksize \(blockSize ?? 0) windowsize \(windowSize ?? 0) timeout \(timeout ?? 0) tsize \(asksSize)"
        }

        var options: [TFTPOption] {
            var options: [TFTPOption] = []
            if let blockSize { options.append(TFTPOption("blksize", blockSize)) }
            if let windowSize { options.append(TFTPOption("windowsize", windowSize)) }
            if let timeout { options.append(TFTPOption("timeout", timeout)) }
            if asksSize { options.append(TFTPOption("tsize", 0)) }
            return options
        }

        static let all = [nil, 8, 1468, 9000].flatMap { blockSize in
            [nil, 1, 4, 64].flatMap { windowSize in
                [nil, 2].flatMap { timeout in
                    [false, true].map {
                        Case(blockSize: blockSize, windowSize: windowSize, timeout: timeout, asksSize: $0)
                    }
                }
            }
        }
    }

    @Test(arguments: Case.all)
    func `every combination of options arrives whole over a bad network`(_ options: Case) throws {
        for seed in 0..<3 as Range<UInt64> {
            for size in [0, 1, 512, 20_000] where options.blockSize != 8 || size < 1000 {
                var network = SimulatedNetwork(seed: seed, size: size, options: options.options)
                (network.loss, network.doubling) = (8, 8)
                network.run()
                let block = network.session.options.blockSize
                // The last acknowledgement may be lost, and its sender gone: the server has to give up by itself.
                let isEnded = network.outcome == .complete || network.received?.count == size
                #expect(isEnded, "seed \(seed) size \(size): \(String(describing: network.outcome))")
                #expect(network.received == network.content, "seed \(seed) size \(size)")
                #expect(network.dataCount <= 30 * (size / block + 4), "seed \(seed) size \(size): \(network.dataCount)")
            }
        }
    }

    @Test(arguments: Case.all)
    func `nothing is sent twice over a good network`(_ options: Case) {
        for size in [0, 8, 511, 1468, 1469, 5000] {
            var network = SimulatedNetwork(seed: 1, size: size, options: options.options)
            network.run()
            #expect(network.outcome == .complete && network.received == network.content)
            #expect(network.dataCount == size / network.session.options.blockSize + 1)
        }
    }

    @Test func `doubled messages do not double all that follow`() {
        var network = SimulatedNetwork(seed: 3, size: 100_000, options: [])
        network.doubling = 100
        network.run()
        #expect(network.outcome == .complete && network.received == network.content)
        #expect(network.dataCount == 100_000 / 512 + 1)
    }

    @Test func `block numbers go on after 65535`() {
        let size = 66_000 * 8
        let options = [TFTPOption("blksize", 8), TFTPOption("windowsize", 16)]
        var network = SimulatedNetwork(seed: 4, size: size, options: options)
        network.run()
        #expect(network.outcome == .complete && network.received == network.content)
    }

    @Test func `a client that never answers is given up soon, one that falls silent later`() {
        var silent = SimulatedNetwork(seed: 5, size: 5000, options: [TFTPOption("windowsize", 4)])
        silent.loss = 100
        silent.run()
        #expect(silent.outcome == .unanswered && silent.now < .seconds(20))
        var falling = SimulatedNetwork(seed: 6, size: 500_000, options: [])
        falling.diesAtBlock = 20
        falling.run()
        #expect(falling.outcome == .stalled(blocks: 20) && falling.now < .seconds(60), "\(falling.now)")
    }

    @Test func `a client's error ends a transfer, other messages change nothing`() {
        var session = TFTPReadSession([1, 2, 3], for: [], now: .zero)
        #expect(session.step(.begin, now: .zero) == [.send(.data(block: 1, [1, 2, 3]))])
        for packet in [
            TFTPPacket.acknowledge(block: 7), .acknowledge(block: 0), .data(block: 1, []), .optionAcknowledge([]),
        ] { #expect(session.step(.received(packet), now: .zero).isEmpty) }
        #expect(session.step(.tick, now: .milliseconds(999)).isEmpty)
        #expect(
            session.step(.received(.error(.undefined, "enough")), now: .zero) == [.finish(.ended(.undefined, "enough"))]
        )
        #expect(session.step(.received(.acknowledge(block: 1)), now: .zero).isEmpty)
        #expect(session.step(.tick, now: .seconds(99)).isEmpty)
    }
}

/// One session, one client as RFC 1350 and RFC 7440 describe it, and what is between them.
private struct SimulatedNetwork {
    /// In per cent.
    var loss = 0
    var doubling = 0
    /// After this many blocks the client answers no more.
    var diesAtBlock = Int.max

    private(set) var session: TFTPReadSession
    let content: [UInt8]
    private(set) var now: Duration = .zero
    private(set) var outcome: TFTPReadSession.Outcome?
    private(set) var dataCount = 0
    private var random: SeededRandom
    private var client: Client
    private var queue: [(time: Duration, toClient: Bool, packet: TFTPPacket)] = []

    private struct Client {
        var blockSize = 512
        var windowSize = 1
        var bytes: [UInt8] = []
        var blocks = 0
        var sinceAcknowledged = 0
        var isDone = false
        var timer: Duration = .seconds(3)
    }

    init(seed: UInt64, size: Int, options: [TFTPOption]) {
        random = SeededRandom(seed: seed)
        var bytes = SeededRandom(seed: seed &+ 99)
        content = (0..<size).map { _ in UInt8(truncatingIfNeeded: bytes.next()) }
        session = TFTPReadSession(content, for: options, now: .zero)
        client = Client()
    }

    /// What the client has, when it has all.
    var received: [UInt8]? { client.isDone ? client.bytes : nil }

    mutating func run() {
        perform(session.step(.begin, now: now))
        while outcome == nil {
            let arrival = queue.indices.min { queue[$0].time < queue[$1].time }
            let next = min(arrival.map { queue[$0].time } ?? .seconds(1 << 30), session.deadline, client.timer)
            now = max(now, next)
            if let arrival, queue[arrival].time <= next {
                let message = queue.remove(at: arrival)
                if message.toClient {
                    hear(message.packet)
                } else {
                    perform(session.step(.received(message.packet), now: now))
                }
            } else if session.deadline <= next {
                perform(session.step(.tick, now: now))
            } else {
                client.timer = now + .seconds(3)
                if client.blocks > 0, !client.isDone { acknowledge() }
            }
        }
    }

    private mutating func perform(_ effects: [TFTPReadSession.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let packet):
                if case .data = packet { dataCount += 1 }
                send(packet, toClient: true)
            case .finish(let outcome): self.outcome = outcome
            }
        }
    }

    private mutating func send(_ packet: TFTPPacket, toClient: Bool) {
        for _ in 0..<(Int.random(in: 1...100, using: &random) <= doubling ? 2 : 1) {
            guard Int.random(in: 1...100, using: &random) > loss else { continue }
            // What is delayed is overtaken, but only where things go wrong at all.
            let delay = loss == 0 ? 1000 : Int.random(in: 500...1500, using: &random)
            queue.append((now + .microseconds(delay), toClient, packet))
        }
    }

    private mutating func acknowledge() {
        client.sinceAcknowledged = 0
        guard client.blocks < diesAtBlock || client.blocks == diesAtBlock && client.timer > now else { return }
        send(.acknowledge(block: UInt16(truncatingIfNeeded: client.blocks)), toClient: false)
    }

    private mutating func hear(_ packet: TFTPPacket) {
        switch packet {
        case .optionAcknowledge(let options) where client.blocks == 0 && !client.isDone:
            for option in options {
                if option.name == "blksize" { client.blockSize = Int(option.value) ?? 0 }
                if option.name == "windowsize" { client.windowSize = Int(option.value) ?? 0 }
                if option.name == "tsize" { #expect(Int(option.value) == content.count) }
            }
            acknowledge()
        case .data(let block, let bytes):
            client.timer = now + .seconds(3)
            guard client.blocks <= diesAtBlock else { return }
            guard block == UInt16(truncatingIfNeeded: client.blocks + 1), !client.isDone else {
                acknowledge()
                return
            }
            guard client.blocks < diesAtBlock else { return }
            client.blocks += 1
            client.sinceAcknowledged += 1
            client.bytes += bytes
            client.isDone = bytes.count < client.blockSize
            if client.isDone || client.sinceAcknowledged == client.windowSize { acknowledge() }
        default: break
        }
    }
}
