import CatalogBareMetal
import DHCP
import Primitives
import Testing

@testable import BootServer

/// Clients, a store with delayed and failing writes, and an engine that may be restarted; it watches that no address is
/// ever in two clients' hands.
struct LeaseWorld {
    var engine: LeaseEngine
    var now = Lab.start
    /// What is stored, by address.
    var stored: [IPv4Address: LeaseRecord] = [:]
    /// What clients believe they may use, and until when.
    var owned: [MACAddress: (address: IPv4Address, until: Timestamp)] = [:]
    var offered: [UInt8: IPv4Address] = [:]
    /// Effects that the store has not done yet.
    var queue: [LeaseEngine.Effect] = []
    var grants = 0
    var violations: [String] = []

    init(_ segment: DHCPSegment, probeStock: Int = 0) {
        var limits = LeaseEngine.Limits()
        limits.clientRate = 1_000_000
        limits.totalRate = 1_000_000
        limits.probeStock = probeStock
        engine = LeaseEngine(segment: segment, leases: [], limits: limits)
    }

    mutating func tick() { take(engine.step(.tick, now: now)) }

    mutating func send(_ packet: DHCPPacket) { take(engine.step(.received(packet), now: now)) }

    /// What the client with this number may do.
    mutating func act(_ client: UInt8, _ action: Int) {
        let own = owned[Lab.mac(client)]?.address
        switch action {
        case 0: send(Lab.discover(client))
        case 1: if let address = offered[client] { send(Lab.select(client, address)) }
        case 2: if let own { send(Lab.renew(client, own)) }
        case 3:
            if let own {
                owned[Lab.mac(client)] = nil
                send(Lab.release(client, own))
            }
        case 4:
            if let own {
                owned[Lab.mac(client)] = nil
                send(Lab.decline(client, own))
            }
        default: if let address = own ?? offered.values.sorted().first { send(Lab.reboot(client, address)) }
        }
    }

    /// Lets the store do the effect at `index`; `works` false makes it fail.
    mutating func store(_ index: Int, works: Bool) {
        guard queue.indices.contains(index) else { return }
        switch queue.remove(at: index) {
        case .commitLease(let id, let record, let replaced):
            let failure = works ? write(record, replacing: replaced) : .unavailable("failed")
            take(engine.step(.committed(id, failure), now: now))
        case .quarantine(let record): _ = write(record, replacing: nil)
        case .releaseLease(let record):
            if works, stored[record.address] == record { stored[record.address] = nil }
            take(engine.step(.released(record, isDone: works), now: now))
        case .probe(let addresses):
            let answer = works ? ProbeAnswer.silent : .answered(Lab.mac(77))
            let answers = Dictionary(uniqueKeysWithValues: addresses.map { ($0, answer) })
            take(engine.step(.probed(answers), now: now))
        default: break
        }
    }

    /// The conductor dies: what was under way may or may not have been written, and nobody hears of it.
    mutating func restart(writes: Bool) {
        for effect in queue where writes {
            switch effect {
            case .commitLease(_, let record, let replaced): _ = write(record, replacing: replaced)
            case .quarantine(let record): _ = write(record, replacing: nil)
            case .releaseLease(let record): if stored[record.address] == record { stored[record.address] = nil }
            default: break
            }
        }
        queue = []
        let records = stored.values.sorted { $0.address < $1.address }
        engine = LeaseEngine(segment: engine.segment, leases: records, limits: engine.limits)
    }

    private mutating func write(_ record: LeaseRecord, replacing: LeaseRecord?) -> LeaseCommitFailure? {
        if let other = stored[record.address], other.mac != record.mac, other.expires > now { return .held(other) }
        if let replacing, stored[replacing.address] == replacing { stored[replacing.address] = nil }
        stored[record.address] = record
        return nil
    }

    private mutating func take(_ effects: [LeaseEngine.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let reply): receive(reply.packet)
            case .commitLease, .quarantine, .releaseLease, .probe: queue.append(effect)
            case .observed, .report: break
            }
        }
    }

    private mutating func receive(_ packet: DHCPPacket) {
        guard let mac = packet.macAddress, let client = mac.bytes.last else { return }
        switch packet.options.messageType {
        case .offer: offered[client] = packet.yourAddress
        case .refuse:
            owned[mac] = nil
            offered[client] = nil
        case .acknowledge:
            grants += 1
            let address = packet.yourAddress
            let until = now.advanced(by: .seconds(Int64(packet.options.seconds(.leaseTime) ?? 0)))
            for (other, held) in owned where other != mac && held.address == address && held.until > now {
                violations.append("\(address) belongs to \(other) and was given to \(mac)")
            }
            if stored[address]?.mac != mac { violations.append("\(address) was acknowledged before it was stored") }
            owned[mac] = (address, until)
        default: break
        }
    }
}

@Suite("No address is ever given to two machines")
struct LeasePropertyTests {
    @Test(
        "random histories with restarts, failing and reordered writes and probes", arguments: 0..<60 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var world = LeaseWorld(
            try Lab.segment(first: 50, last: 50 + UInt8.random(in: 0...4, using: &random)),
            probeStock: Int(seed % 3))
        for _ in 0..<400 {
            switch Int.random(in: 0..<20, using: &random) {
            case 0: world.now = world.now.advanced(by: .seconds(.random(in: 1...4000, using: &random)))
            case 1: world.restart(writes: Bool.random(using: &random))
            case 2: world.tick()
            case 3...8:
                guard !world.queue.isEmpty else { continue }
                world.store(
                    .random(in: world.queue.indices, using: &random), works: Int.random(in: 0..<8, using: &random) > 0)
            default:
                // A client acts on its offer most of the time, and forgets its address when its lease is over.
                world.owned = world.owned.filter { $0.value.until > world.now }
                let action = [0, 0, 1, 1, 1, 2, 3, 4, 5].randomElement(using: &random) ?? 0
                world.act(.random(in: 1...6, using: &random), action)
            }
            #expect(world.violations.isEmpty)
            if !world.violations.isEmpty { return }
        }
        #expect(world.grants > 0)
    }

    @Test("every history of five steps of two clients and one address, from every pair of beginnings")
    func exhaustive() throws {
        var begun = LeaseWorld(try Lab.segment(first: 50, last: 50))
        begun.act(1, 0)
        begun.act(1, 1)
        var count = 0
        explore(begun, depth: 5, &count)
        begun.store(0, works: true)
        explore(begun, depth: 5, &count)
        #expect(count > 10_000)
    }

    private func explore(_ world: LeaseWorld, depth: Int, _ count: inout Int) {
        guard world.violations.isEmpty else {
            Issue.record("\(world.violations)")
            return
        }
        count += 1
        guard depth > 0 else { return }
        for client in 1...2 as ClosedRange<UInt8> {
            for action in 0...5 {
                var next = world
                let (queued, granted) = (next.queue.count, next.grants)
                let (owned, offered) = (next.owned.count, next.offered)
                next.act(client, action)
                let isSame =
                    next.queue.count == queued && next.grants == granted && next.owned.count == owned
                    && next.offered == offered
                // What changes nothing that the world shows is not followed further, except a first DISCOVER.
                if isSame && action != 0 { continue }
                explore(next, depth: depth - 1, &count)
            }
        }
        for works in [true, false] where !world.queue.isEmpty {
            var next = world
            next.store(next.queue.count - 1, works: works)
            explore(next, depth: depth - 1, &count)
        }
        var later = world
        later.now = later.now.advanced(by: .seconds(3700))
        later.owned = later.owned.filter { $0.value.until > later.now }
        explore(later, depth: depth - 1, &count)
    }
}
