import DHCP
import Primitives
import Testing

@testable import BootServer

/// Clients that are less patient than their network is quick: messages come late, twice and in another order, and each
/// client acts on whatever answer it gets first.
private struct ImpatientClients {
    struct Client {
        enum State: Equatable {
            case selecting
            case requesting(IPv4Address)
            case bound(IPv4Address, until: Timestamp)
        }
        var state = State.selecting
        var transaction: UInt32 = 0
        var triesLeft = 0
        var asksAgain = Lab.start
        /// What it was last offered, and when.
        var offers: [IPv4Address: Timestamp] = [:]
    }

    private enum Message {
        case toServer(DHCPPacket)
        case toClient(UInt8, DHCPPacket)
        case done(LeaseEngine.Effect)
    }

    var engine: LeaseEngine
    var now = Lab.start
    var clients: [UInt8: Client] = [:]
    var commitCount = 0
    var boundCount = 0
    /// Refusals of what the client had been offered and could still come for.
    var wrongRefusals: [String] = []
    private var stored: [IPv4Address: LeaseRecord] = [:]
    private var wire: [(at: Timestamp, message: Message)] = []
    private var random: SeededRandom

    init(seed: UInt64, clients count: UInt8, limits: LeaseEngine.Limits) throws {
        // Hardly more addresses than clients, so that one that is given up goes to another soon.
        engine = LeaseEngine(segment: try Lab.segment(first: 10, last: 75), leases: [], limits: limits)
        random = SeededRandom(seed: seed)
        for number in 1...count {
            clients[number] = Client(
                asksAgain: now.advanced(by: .milliseconds(.random(in: 0...20_000, using: &random))))
        }
    }

    /// Lets `time` pass.
    mutating func run(for time: Duration) {
        let end = now.advanced(by: time)
        var tick = now
        while now < end {
            now = now.advanced(by: .milliseconds(50))
            if now.since(tick) >= .seconds(1) {
                take(engine.step(.tick, now: now))
                tick = now
            }
            for number in clients.keys.sorted() { ask(number) }
            let due = wire.enumerated().filter { $0.element.at <= now }.map(\.offset)
            let messages = due.map { wire[$0].message }
            for index in due.reversed() { wire.remove(at: index) }
            for message in messages { deliver(message) }
        }
    }

    /// A client whose time has come sends what its state asks for.
    private mutating func ask(_ number: UInt8) {
        guard var client = clients[number], client.asksAgain <= now else { return }
        if case .bound(_, let until) = client.state, until > now { return }
        if client.triesLeft == 0 {
            client.state = .selecting
            client.transaction += 1
            client.triesLeft = 4
        }
        client.triesLeft -= 1
        client.asksAgain = now.advanced(by: .milliseconds(.random(in: 800...2500, using: &random)))
        var packet: DHCPPacket
        if case .requesting(let address) = client.state {
            packet = Lab.select(number, address)
        } else {
            packet = Lab.discover(number)
        }
        packet.transaction = client.transaction << 8 | UInt32(number)
        clients[number] = client
        send(.toServer(packet))
    }

    private mutating func send(_ message: Message) {
        if Int.random(in: 0..<20, using: &random) == 0 { return }
        for _ in 0..<(Int.random(in: 0..<4, using: &random) == 0 ? 2 : 1) {
            let isSlow = Bool.random(using: &random)
            let delay = Int64.random(in: isSlow ? 200...6000 : 0...100, using: &random)
            wire.append((now.advanced(by: .milliseconds(delay)), message))
        }
    }

    private mutating func deliver(_ message: Message) {
        switch message {
        case .toServer(let packet): take(engine.step(.received(packet), now: now))
        case .toClient(let number, let packet): receive(packet, number)
        case .done(.commitLease(let id, let record, let replaced)):
            commitCount += 1
            if let replaced { stored[replaced.address] = nil }
            stored[record.address] = record
            take(engine.step(.committed(id, nil), now: now))
        case .done(.probe(let addresses)):
            let answers = Dictionary(addresses.map { ($0, ProbeAnswer.silent) }) { first, _ in first }
            take(engine.step(.probed(answers), now: now))
        case .done: break
        }
    }

    private mutating func take(_ effects: [LeaseEngine.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let reply):
                guard let number = reply.packet.macAddress?.bytes.last else { continue }
                note(reply.packet, number)
                send(.toClient(number, reply.packet))
            case .commitLease:
                wire.append((now.advanced(by: .milliseconds(.random(in: 1...900, using: &random))), .done(effect)))
            case .probe:
                wire.append((now.advanced(by: .milliseconds(.random(in: 1000...3000, using: &random))), .done(effect)))
            default: break
            }
        }
    }

    /// Looks at what the server says, whether or not it arrives.
    private mutating func note(_ packet: DHCPPacket, _ number: UInt8) {
        switch packet.options.messageType {
        case .offer: clients[number]?.offers[packet.yourAddress] = now
        case .refuse:
            guard let client = clients[number], case .requesting(let address) = client.state,
                packet.transaction == client.transaction << 8 | UInt32(number),
                let offered = client.offers[address], now.since(offered) < engine.limits.offerTime
            else { return }
            wrongRefusals.append("\(address) was offered \(now.since(offered)) before")
        case .acknowledge:
            let until = now.advanced(by: .seconds(Int64(packet.options.seconds(.leaseTime) ?? 0)))
            guard let record = stored[packet.yourAddress], record.mac == Lab.mac(number), record.expires >= until else {
                Issue.record("\(packet.yourAddress) was acknowledged for longer than is stored")
                return
            }
        default: break
        }
    }

    private mutating func receive(_ packet: DHCPPacket, _ number: UInt8) {
        guard var client = clients[number], packet.transaction == client.transaction << 8 | UInt32(number) else {
            return
        }
        switch (packet.options.messageType, client.state) {
        case (.offer, .selecting):
            client.state = .requesting(packet.yourAddress)
            client.triesLeft = 4
            client.asksAgain = now
        case (.acknowledge, .requesting(packet.yourAddress)):
            boundCount += 1
            // It boots its next stage soon, which asks anew.
            let until = now.advanced(by: .milliseconds(.random(in: 1000...30_000, using: &random)))
            client.state = .bound(packet.yourAddress, until: until)
            client.triesLeft = 0
            client.asksAgain = until
        case (.refuse, .requesting):
            client.state = .selecting
            client.triesLeft = 0
            client.asksAgain = now
        default: return
        }
        clients[number] = client
    }
}

@Suite("Conversations with impatient clients")
struct LeaseConversationTests {
    private let now = Lab.start

    private func probing(_ change: (inout LeaseEngine.Limits) -> Void = { _ in }) -> LeaseEngine.Limits {
        var limits = LeaseEngine.Limits.probing
        limits.clientRate = 1000
        change(&limits)
        return limits
    }

    @Test(
        "whoever asks for what it was offered gets it, whatever comes late, twice or in another order",
        arguments: 0..<24 as Range<UInt64>)
    func granted(seed: UInt64) throws {
        // Probes are good for a shorter time than usual, so that they end between two DISCOVERs of a client.
        var world = try ImpatientClients(
            seed: seed, clients: 60,
            limits: probing { limits in
                limits.probeTime = .seconds(seed.isMultiple(of: 4) ? 120 : 1)
                limits.waitingCountMax = seed.isMultiple(of: 3) ? 4 : 256
            })
        world.run(for: .seconds(90))
        #expect(world.wrongRefusals.isEmpty)
        #expect(world.boundCount > 100)
    }

    @Test("a repeated DISCOVER is offered the same address, also when its probe is good no longer")
    func sameOffer() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [], limits: probing { $0.probeTime = .seconds(3) })
        let asked = engine.step(.received(Lab.discover(1)), now: now)
        guard case .probe(let addresses)? = asked.last else {
            Issue.record("nothing is probed: \(asked)")
            return
        }
        let silent = Dictionary(uniqueKeysWithValues: addresses.map { ($0, ProbeAnswer.silent) })
        let first = engine.step(.probed(silent), now: now).replies[0].packet.yourAddress
        let later = now.advanced(by: .seconds(10))
        _ = engine.step(.tick, now: later)
        let again = engine.step(.received(Lab.discover(1)), now: later)
        #expect(again.replies.map(\.packet.yourAddress) == [first])
        #expect(engine.step(.received(Lab.select(1, first)), now: later).commits.map(\.1.address) == [first])
    }

    @Test("an offer is kept for its machine alone, and ends in time")
    func offerEnds() throws {
        var engine = LeaseEngine(segment: try Lab.segment(first: 50, last: 50), leases: [])
        #expect(engine.step(.received(Lab.discover(1)), now: now).types == [.offer])
        let soon = now.advanced(by: .seconds(59))
        #expect(engine.step(.received(Lab.discover(2)), now: soon).types.isEmpty)
        #expect(engine.step(.received(Lab.select(2, Lab.address(50))), now: soon).types == [.refuse])
        let over = now.advanced(by: .seconds(61))
        #expect(engine.step(.received(Lab.discover(2)), now: over).types == [.offer])
        #expect(engine.step(.received(Lab.select(1, Lab.address(50))), now: over).types == [.refuse])
    }

    @Test("what was offered is given though the machine's reserved address has become free since; then it moves")
    func reservationFreed() throws {
        let held = LeaseRecord(
            address: Lab.address(20), mac: Lab.mac(9), expires: now.advanced(by: .seconds(10)), lastSeen: now)
        var engine = LeaseEngine(
            segment: try Lab.segment(reservations: [Lab.mac(1): Lab.address(20)]), leases: [held])
        let interim = engine.step(.received(Lab.discover(1)), now: now).replies[0].packet.yourAddress
        let freed = now.advanced(by: .seconds(11))
        let (id, record) = try #require(engine.step(.received(Lab.select(1, interim)), now: freed).commits.first)
        #expect(record.address == interim)
        _ = engine.step(.committed(id, nil), now: freed)
        let offer = engine.step(.received(Lab.discover(1)), now: freed).replies[0]
        #expect(offer.packet.yourAddress == Lab.address(20))
    }

    @Test("two boot stages in a row cost one commit; the second is given the rest of the first one's lease")
    func oneCommit() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let address = try Lab.bind(&engine, 1, now)
        let soon = now.advanced(by: .seconds(9))
        #expect(engine.step(.received(Lab.discover(1)), now: soon).replies.map(\.packet.yourAddress) == [address])
        let second = engine.step(.received(Lab.select(1, address)), now: soon)
        #expect(second.commits.isEmpty)
        #expect(second.types == [.acknowledge])
        #expect(second.replies[0].packet.options.seconds(.leaseTime) == 3591)
        #expect(second.clients.map(\.phase) == [.bound(address)])
        // The end that was promised is the stored one: no other machine gets the address before.
        #expect(engine.leases[address]?.expires == now.advanced(by: .seconds(3630)))

        let later = now.advanced(by: .seconds(10))
        #expect(engine.step(.received(Lab.renew(1, address)), now: later).commits.count == 1, "it is stored anew")
    }

    @Test("a lease that would say something else is stored before it is acknowledged, however soon it is asked for")
    func othersAreStored() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let address = try Lab.bind(&engine, 1, now)
        var named = Lab.renew(1, address)
        named.options.set(.hostName, text: "n1")
        #expect(engine.step(.received(named), now: now).commits.map(\.1.hostname) == ["n1"])

        // The segment's lease time was made shorter or longer meanwhile.
        for seconds in [60, 86_400] as [Int64] {
            let record = LeaseRecord(
                address: address, mac: Lab.mac(1), expires: now.advanced(by: .seconds(seconds + 30)), lastSeen: now)
            var other = LeaseEngine(segment: try Lab.segment(), leases: [record])
            #expect(other.step(.received(Lab.renew(1, address)), now: now).commits.count == 1)
        }
    }
}
