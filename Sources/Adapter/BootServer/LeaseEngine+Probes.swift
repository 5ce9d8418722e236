import CatalogBareMetal
import DHCP
import Primitives

extension LeaseEngine {
    /// What is known of an address that nobody has been given.
    enum Probe: Hashable, Sendable {
        /// It is being asked; an answer after this time counts no more.
        case underWay(until: Timestamp)
        /// Nobody answered; good until then.
        case clear(until: Timestamp)
        /// Somebody answered; it is not offered until then.
        case answered(until: Timestamp)

        var until: Timestamp {
            switch self {
            case .underWay(let until), .clear(let until), .answered(let until): until
            }
        }
    }

    /// A DISCOVER whose offer waits for a probe.
    struct WaitingClient: Hashable, Sendable {
        let packet: DHCPPacket
        let address: IPv4Address
        let until: Timestamp
    }

    /// Addresses looked at in one search for the stock.
    private static let stockSearchMax: UInt32 = 8192
    /// Addresses probed at once for machines that wait, each by itself.
    private static let probeCountMax = 64
    /// Addresses probed together at most.
    private static let probeBatchMax = 1024
    /// How long probing may take before it counts for nothing.
    private static let probeDeadline: Duration = .seconds(10)
    /// How long an address that answered is left alone when it cannot be quarantined.
    private static let answeredTime: Duration = .seconds(60)

    /// Whether `address` has to be probed before `mac` is offered it. What is the machine's own already is not: it may
    /// answer itself.
    func needsProbe(_ address: IPv4Address, for mac: MACAddress, _ now: Timestamp) -> Bool {
        guard limits.probeStock > 0, leaseOf[mac] != address else { return false }
        if case .clear(let until) = probes[address], until > now { return false }
        return true
    }

    func isKnownClear(_ address: IPv4Address, _ now: Timestamp) -> Bool {
        if case .clear(let until) = probes[address], until > now { true } else { false }
    }

    func hasAnswered(_ address: IPv4Address, _ now: Timestamp) -> Bool {
        if case .answered(let until) = probes[address], until > now { true } else { false }
    }

    /// Keeps `packet` until the probe of `address`, which is begun if it is not under way.
    mutating func wait(_ packet: DHCPPacket, _ mac: MACAddress, for address: IPv4Address, _ now: Timestamp) -> [Effect]
    {
        guard waiting[mac] != nil || waiting.count < limits.waitingCountMax else { return [] }
        let until = now.advanced(by: Self.probeDeadline)
        if case .underWay(let end) = probes[address], end > now {
            waiting[mac] = WaitingClient(packet: packet, address: address, until: until)
            return []
        }
        guard probesUnderWay(now) < Self.probeCountMax else { return [] }
        waiting[mac] = WaitingClient(packet: packet, address: address, until: until)
        probes[address] = .underWay(until: until)
        return [.probe([address])]
    }

    /// Takes the answers to probes: offers what waited for them, and quarantines what answered.
    mutating func probed(_ answers: [IPv4Address: ProbeAnswer], _ now: Timestamp) -> [Effect] {
        answers.sorted { $0.key < $1.key }.flatMap { address, answer in probed(address, answer, now) }
    }

    private mutating func probed(_ address: IPv4Address, _ answer: ProbeAnswer, _ now: Timestamp) -> [Effect] {
        guard case .underWay = probes[address] else { return [] }
        probes[address] = nil
        let clients = waiting.filter { $0.value.address == address }.sorted { $0.key < $1.key }
        for (mac, _) in clients { waiting[mac] = nil }
        // Somebody was given it meanwhile: its answer is no trouble.
        if let record = leases[address], record.expires > now { return again(clients.map(\.value), now) }
        var effects: [Effect] = []
        switch answer {
        case .silent:
            probes[address] = .clear(until: now.advanced(by: limits.probeTime))
            stock = nil
        case .answered(let mac):
            let asker = holds[address]?.mac
            if let asker, mac == asker || mac == nil && reservedFor[address] == asker {
                // Good for this machine only: it goes at once, and is not part of the stock.
                return clients.flatMap { other, client in
                    other == asker ? [promise(address, to: client.packet, asker, now)] : again([client], now)
                }
            }
            if let asker, holdOf[asker] == address { giveUpOffer(to: asker) }
            effects = quarantine(address, answeredBy: mac, now)
        }
        return effects + again(clients.map(\.value), now)
    }

    private mutating func quarantine(
        _ address: IPv4Address, answeredBy mac: MACAddress?, _ now: Timestamp
    ) -> [Effect] {
        // A machine that keeps an address past its lease, and more quarantines than the pool can bear, are only noted.
        let isLastOwner = leases[address].map { mac == nil || $0.mac == mac } ?? false
        guard !isLastOwner, mayQuarantine(now), holds[address] == nil else {
            probes[address] = .answered(until: now.advanced(by: Self.answeredTime))
            return isLastOwner ? [] : [.report(.addressAnswers(address, by: mac))]
        }
        let record = LeaseRecord(
            address: address, mac: mac ?? MACAddress(bytes: [0, 0, 0, 0, 0, 0]), phase: .quarantined,
            expires: now.advanced(by: limits.quarantineTime), lastSeen: now)
        removeLease(address)
        leases[address] = record
        return [.quarantine(record), .report(.addressAnswers(address, by: mac))]
    }

    /// Whether one more address may be quarantined without emptying the pool.
    func mayQuarantine(_ now: Timestamp) -> Bool {
        leases.values.count { $0.phase == .quarantined && $0.expires > now } < max(8, Int(segment.poolCount) / 4)
    }

    private mutating func again(_ clients: [WaitingClient], _ now: Timestamp) -> [Effect] {
        clients.flatMap { client -> [Effect] in
            guard let mac = client.packet.macAddress, client.until > now else { return [] }
            return offer(client.packet, mac, now)
        }
    }

    /// Forgets what is over, and has the stock of probed addresses filled up.
    mutating func fillStock(_ now: Timestamp) -> [Effect] {
        guard limits.probeStock > 0, segment.poolCount > 0 else { return [] }
        probes = probes.filter { $0.value.until > now }
        self.stock = nil
        waiting = waiting.filter { $0.value.until > now }
        // An address that is about to be too old is replaced before it is.
        let soon = now.advanced(by: Self.probeDeadline + Self.probeDeadline)
        let stock = probes.count { address, probe in
            switch probe {
            // Those that are held are for the machines that wait for them.
            case .underWay: holds[address] == nil
            case .clear(let until): until > soon && holds[address] == nil && isFree(address, for: nil, now)
            case .answered: false
            }
        }
        // Probing takes a second, and a tick comes each second: twice what is taken meanwhile, and as much to spare.
        let target = min(max(limits.probeStock, demand * 4), limits.probeStockMax, max(1, Int(segment.poolCount) / 2))
        let wanted = min(target - stock, Self.probeBatchMax)
        guard wanted > 0 else { return [] }
        var fresh: [IPv4Address] = []
        var used: [IPv4Address] = []
        for _ in 0..<min(Self.stockSearchMax, segment.poolCount) where fresh.count < wanted {
            let address = segment.pooled(at: stockPlace % segment.poolCount)
            stockPlace = (stockPlace + 1) % segment.poolCount
            guard probes[address].map({ if case .clear(let until) = $0 { until <= soon } else { false } }) ?? true,
                holds[address] == nil, isFree(address, for: nil, now)
            else { continue }
            if leases[address] == nil { fresh.append(address) } else if used.count < wanted { used.append(address) }
        }
        let chosen = Array((fresh + used).prefix(wanted))
        for address in chosen { probes[address] = .underWay(until: now.advanced(by: Self.probeDeadline)) }
        return chosen.isEmpty ? [] : [.probe(chosen)]
    }

    /// How many addresses are asked for that a machine waits for; those for the stock do not keep machines waiting.
    private func probesUnderWay(_ now: Timestamp) -> Int {
        probes.count { address, probe in
            if case .underWay(let until) = probe { until > now && holds[address] != nil } else { false }
        }
    }
}
