import CatalogBareMetal
import DHCP
import Primitives
import ResourceModel
import StoreMemory
import TestSupport
import Testing

@testable import BootServer

/// Three conductors on one segment and one store: their writes come late, what others wrote is heard late, any of them dies,
/// and who leads is not agreed on all the time.
private final class LeaseCrowd {
    struct Server {
        let address: IPv4Address
        var engine: LeaseEngine
        let leases: LeaseStore
        /// Effects that its store has not done yet.
        var queue: [LeaseEngine.Effect] = []
        /// What the others have written and this one has not heard of.
        var news: [[IPv4Address: LeaseRecord?]] = []
        var isAlive = true
    }

    struct Client {
        var offer: (address: IPv4Address, server: IPv4Address)?
        var own: (address: IPv4Address, server: IPv4Address, until: Timestamp)?
        var asksSince: Timestamp?
        /// The exchange that it is in; answers to others come too late (RFC 2131 section 4.4.1).
        var transaction: UInt32 = 0
    }

    let clock = ManualWallClock(Lab.start)
    let store = MemoryStore()
    var random: SeededRandom
    var servers: [Server] = []
    var clients = [Client](repeating: Client(), count: 8)
    var violations: [String] = []
    var grants = 0
    var grantsByStandby = 0

    init(seed: UInt64) async throws {
        random = SeededRandom(seed: seed)
        for number in 1...3 { servers.append(try await server(UInt8(number))) }
    }

    private func server(_ number: UInt8) async throws -> Server {
        var limits = LeaseEngine.Limits()
        limits.clientRate = 1_000_000
        limits.totalRate = 1_000_000
        var segment = try DHCPSegment(
            name: "lab", network: IPv4Network("10.77.0.0/24"), server: Lab.address(number),
            pools: [Lab.address(50)...Lab.address(57)], leaseTime: .seconds(60), httpPort: 8080)
        segment.fellows = Set((1...3).filter { $0 != number }.map { Lab.address(UInt8($0)) })
        let leases = LeaseStore(store: store, segment: "lab", network: segment.network, clock: clock)
        var engine = LeaseEngine(segment: segment, leases: try await leases.load(), limits: limits)
        engine.duty = number == 1 ? .leads : .standsBy
        return Server(address: segment.server, engine: engine, leases: leases)
    }

    func step() async throws {
        let client = Int.random(in: 0..<clients.count, using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<5: discover(client)
        case 5..<9:
            if let offer = clients[client].offer {
                // Who chooses an offer has given up what it had (RFC 2131 figure 5).
                clients[client].own = nil
                broadcast(select(client, offer), from: client)
            }
        case 9: if let own = clients[client].own { renew(client, own) }
        case 10:
            if let own = clients[client].own {
                broadcast(begin(Lab.reboot(number(client), own.address), client), from: client)
            }
        case 11: if let own = clients[client].own { leave(client, own) }
        case 12: clock.advance(by: .milliseconds(Int64.random(in: 0...9000, using: &random)))
        case 13: lead()
        case 14: try await killOrRestart()
        case 15, 16: hear()
        default: try await work()
        }
        for index in clients.indices where clients[index].own.map({ $0.until <= clock.now }) ?? false {
            clients[index].own = nil
        }
    }

    /// The packet as the first of an exchange.
    private func begin(_ packet: DHCPPacket, _ client: Int) -> DHCPPacket {
        clients[client].transaction += 1
        clients[client].offer = nil
        var packet = packet
        packet.transaction = clients[client].transaction
        return packet
    }

    private func number(_ client: Int) -> UInt8 { UInt8(client + 1) }

    private func discover(_ client: Int) {
        let since = clients[client].asksSince ?? clock.now
        clients[client].asksSince = since
        var packet = begin(Lab.discover(number(client)), client)
        packet.seconds = UInt16(clamping: clock.now.since(since).components.seconds)
        broadcast(packet, from: client)
    }

    private func select(_ client: Int, _ offer: (address: IPv4Address, server: IPv4Address)) -> DHCPPacket {
        var packet = Lab.select(number(client), offer.address, server: offer.server)
        packet.transaction = clients[client].transaction
        return packet
    }

    private func renew(_ client: Int, _ own: (address: IPv4Address, server: IPv4Address, until: Timestamp)) {
        let packet = begin(Lab.renew(number(client), own.address), client)
        if let index = servers.firstIndex(where: { $0.address == own.server && $0.isAlive }) {
            take(servers[index].engine.step(.received(packet), now: clock.now), index, client)
        } else {
            broadcast(packet, from: client)
        }
    }

    private func leave(_ client: Int, _ own: (address: IPv4Address, server: IPv4Address, until: Timestamp)) {
        clients[client].own = nil
        var packet =
            Bool.random(using: &random)
            ? Lab.release(number(client), own.address) : Lab.decline(number(client), own.address)
        packet.options.serverIdentifier = own.server
        broadcast(packet, from: client)
    }

    private func broadcast(_ packet: DHCPPacket, from client: Int) {
        for index in servers.indices.shuffled(using: &random) where servers[index].isAlive {
            take(servers[index].engine.step(.received(packet), now: clock.now), index, client)
        }
    }

    private func lead() {
        for index in servers.indices { servers[index].engine.duty = Bool.random(using: &random) ? .leads : .standsBy }
    }

    private func killOrRestart() async throws {
        let index = Int.random(in: 0..<3, using: &random)
        if servers[index].isAlive {
            servers[index].isAlive = false
            // What was under way may have come to the store, and nobody hears of it.
            for effect in servers[index].queue where Bool.random(using: &random) { _ = try await write(effect, index) }
        } else {
            servers[index] = try await server(UInt8(index + 1))
        }
    }

    private func hear() {
        let index = Int.random(in: 0..<3, using: &random)
        guard servers[index].isAlive, !servers[index].news.isEmpty else { return }
        _ = servers[index].engine.step(.leasesChanged(servers[index].news.removeFirst()), now: clock.now)
    }

    /// Lets a store do one thing.
    private func work() async throws {
        let index = Int.random(in: 0..<3, using: &random)
        guard servers[index].isAlive, let place = servers[index].queue.indices.randomElement(using: &random) else {
            return
        }
        let effect = servers[index].queue.remove(at: place)
        guard let event = try await write(effect, index) else { return }
        let effects = servers[index].engine.step(event, now: clock.now)
        let mac: MACAddress? = if case .commitLease(_, let record, _) = effect { record.mac } else { nil }
        take(effects, index, mac.map { Int($0.bytes[5]) - 1 } ?? 0)
    }

    private func write(_ effect: LeaseEngine.Effect, _ index: Int) async throws -> LeaseEngine.Event? {
        let leases = servers[index].leases
        switch effect {
        case .commitLease(let id, let record, let replaced):
            do { try await leases.commit(record, replacing: replaced) } catch { return .committed(id, error) }
            tell([record.address: record])
            if let replaced { tell([replaced.address: try await load(replaced.address)]) }
            return .committed(id, nil)
        case .quarantine(let record):
            if (try? await leases.commit(record)) != nil { tell([record.address: record]) }
            return nil
        case .releaseLease(let record):
            try await leases.release(record)
            tell([record.address: try await load(record.address)])
            return .released(record, isDone: true)
        default: return nil
        }
    }

    private func load(_ address: IPv4Address) async throws -> LeaseRecord? {
        try await store.fetch(Lease.self, Lease.name(segment: "lab", address: address)).map { LeaseRecord($0.value) }
    }

    private func tell(_ change: [IPv4Address: LeaseRecord?]) {
        for index in servers.indices { servers[index].news.append(change) }
    }

    private func take(_ effects: [LeaseEngine.Effect], _ index: Int, _ client: Int) {
        for effect in effects {
            switch effect {
            case .send(let reply): heard(reply.packet, index, client)
            case .commitLease, .releaseLease, .quarantine: servers[index].queue.append(effect)
            case .probe, .observed, .report: break
            }
        }
    }

    private func heard(_ reply: DHCPPacket, _ index: Int, _ client: Int) {
        guard reply.transaction == clients[client].transaction else { return }
        let address = reply.yourAddress
        switch reply.options.messageType {
        case .offer: clients[client].offer = (address, servers[index].address)
        case .refuse: clients[client].offer = nil
        case .acknowledge:
            grants += 1
            if servers[index].engine.duty == .standsBy { grantsByStandby += 1 }
            let seconds = reply.options.seconds(.leaseTime) ?? 0
            for (other, state) in clients.enumerated() where other != client {
                if let own = state.own, own.address == address, own.until > clock.now {
                    violations.append("\(address) of client \(other) went to client \(client)")
                }
            }
            clients[client].own = (
                address, servers[index].address, clock.now.advanced(by: .seconds(Int64(seconds)))
            )
            clients[client].offer = nil
            clients[client].asksSince = nil
        default: break
        }
    }
}

@Suite("Several DHCP servers on one segment")
struct LeaseCrowdTests {
    @Test("no address is ever in two hands, whoever answers, dies or hears late", arguments: 0..<60 as Range<UInt64>)
    func crowd(seed: UInt64) async throws {
        let crowd = try await LeaseCrowd(seed: seed)
        for _ in 0..<1500 { try await crowd.step() }
        #expect(crowd.violations == [], "seed \(seed)")
        #expect(crowd.grants > 10, "seed \(seed): nearly nothing happened")
    }

    @Test("one that stands by answers who chose it, who renews, and who has asked in vain for eight seconds")
    func standby() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        engine.duty = .standsBy
        #expect(engine.step(.received(Lab.discover(1)), now: Lab.start).isEmpty)
        var patient = Lab.discover(1)
        patient.seconds = 7
        #expect(engine.step(.received(patient), now: Lab.start).isEmpty)
        patient.seconds = 8
        let offer = try #require(engine.step(.received(patient), now: Lab.start).replies.first)
        let chosen = Lab.select(1, offer.packet.yourAddress)
        let (id, record) = try #require(engine.step(.received(chosen), now: Lab.start).commits.first)
        #expect(
            engine.step(.committed(id, nil), now: Lab.start).replies.first?.packet.options.messageType == .acknowledge)
        let later = Lab.start.advanced(by: .seconds(60))
        #expect(engine.step(.received(Lab.renew(1, record.address)), now: later).commits.count == 1)
        #expect(engine.step(.received(Lab.reboot(2, Lab.address(60))), now: later).isEmpty, "not even a refusal")
        #expect(engine.step(.tick, now: later).isEmpty)
    }

    @Test("leases that others have stored are taken over, and its own are not undone by old news")
    func news() throws {
        var engine = LeaseEngine(segment: try Lab.segment(), leases: [])
        let own = try Lab.bind(&engine, 1, Lab.start)
        let record = try #require(engine.leases[own])
        let older = LeaseRecord(
            address: own, mac: Lab.mac(2), expires: record.expires, lastSeen: Lab.start.advanced(by: .seconds(-5)))
        _ = engine.step(.leasesChanged([own: older]), now: Lab.start)
        #expect(engine.leases[own] == record)
        let other = LeaseRecord(
            address: Lab.address(80), mac: Lab.mac(3), expires: record.expires, lastSeen: Lab.start)
        _ = engine.step(.leasesChanged([other.address: other]), now: Lab.start)
        #expect(
            engine.step(.received(Lab.reboot(4, other.address)), now: Lab.start).replies.first?.packet.options
                .messageType == .refuse)
        _ = engine.step(.leasesChanged([other.address: nil]), now: Lab.start)
        #expect(engine.step(.received(Lab.reboot(4, other.address)), now: Lab.start).commits.count == 1)
    }
}
