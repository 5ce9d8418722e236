import CatalogBareMetal
import DHCP
import NetworkBoot
import Primitives

/// A DHCP server's decisions on one segment, without time, network or store of its own (RFC 2131 section 4.3).
///
/// Clients are known by their MAC, never by their client identifier: firmware, ramdisk and operating system of one
/// machine send different ones. An offer is held in memory; an address is acknowledged only after its lease is stored.
/// No address is ever promised to two machines at once.
public struct LeaseEngine: Sendable {
    /// What is handed out.
    public let segment: DHCPSegment
    /// How long things last and how much there may be.
    public let limits: Limits
    /// Whether it answers whoever asks.
    public var duty = SegmentDuty.leads

    /// Leases and quarantines by address; expired ones stay until the address is needed.
    public internal(set) var leases: [IPv4Address: LeaseRecord] = [:]
    var leaseOf: [MACAddress: IPv4Address] = [:]
    var holds: [IPv4Address: Hold] = [:]
    var holdOf: [MACAddress: IPv4Address] = [:]
    /// What is known of addresses by asking.
    var probes: [IPv4Address: Probe] = [:]
    var waiting: [MACAddress: WaitingClient] = [:]
    /// Addresses that were found free and are nobody's, the best last; nil: it has to be made anew from `probes`.
    var stock: [IPv4Address]?
    /// How many machines without a lease have asked since the last tick, or a part of how many did before.
    var demand = 0
    /// Where the next search for the stock begins.
    var stockPlace: UInt32 = 0
    /// Until when a search for a free address would find none.
    var exhaustedUntil: Timestamp?
    let reservedFor: [IPv4Address: MACAddress]
    private var commitCount: UInt64 = 0
    private var commits: [LeaseCommitID: IPv4Address] = [:]
    private var rates: ClientRates

    /// Limits and times.
    public struct Limits: Hashable, Sendable {
        /// How long an offered address is kept for its machine.
        public var offerTime: Duration = .seconds(60)
        /// For how long after its lease was stored a machine that asks for it again is given the rest of it, without
        /// another commit: firmware and boot program ask one after the other, and impatient clients twice.
        public var confirmTime: Duration = .seconds(10)
        /// How long a declined address is not handed out.
        public var quarantineTime: Duration = .seconds(600)
        /// Added to the lease time before an address may go to another machine.
        public var grace: Duration = .seconds(30)
        /// Commits under way.
        public var commitCountMax = 1024
        /// Messages a second of one machine, on average; four times as many at once.
        public var clientRate = 4
        /// Messages a second of all machines, on average; four times as many at once.
        public var totalRate = 10_000
        /// Addresses that are kept probed for machines to come, at the least; 0: no address is probed before it is
        /// offered.
        public var probeStock = 0
        /// As many are kept when machines come fast.
        public var probeStockMax = 4096
        /// How long a probe that nobody answered is good for.
        public var probeTime: Duration = .seconds(120)
        /// Machines that wait for a probe; more are not answered, and ask again.
        public var waitingCountMax = 256
        /// Machines whose rate is remembered.
        public var clientCountMax = 16_384

        /// The defaults.
        public init() {}

        /// The defaults, with addresses that are probed before they are offered.
        public static var probing: Limits {
            var limits = Limits()
            limits.probeStock = 16
            return limits
        }
    }

    /// An address that is spoken for without a lease.
    struct Hold: Hashable, Sendable {
        let mac: MACAddress
        var state: State

        enum State: Hashable, Sendable {
            /// To be offered once it was probed; nobody has been told.
            case chosen(until: Timestamp)
            /// The machine was told, and may come for it.
            case offered(until: Timestamp)
            case committing(LeaseCommitID, LeaseRecord, DHCPPacket)
            case releasing

            /// Until when the machine has it to itself without having asked for it; nil: the store is at work on it.
            var keptUntil: Timestamp? {
                switch self {
                case .chosen(let until), .offered(let until): until
                case .committing, .releasing: nil
                }
            }
        }
    }

    /// An engine that knows `leases`, as they were stored. Of two leases of one machine the later is kept.
    public init(segment: DHCPSegment, leases stored: [LeaseRecord], limits: Limits = Limits()) {
        self.segment = segment
        self.limits = limits
        reservedFor = Dictionary(uniqueKeysWithValues: segment.reservations.map { ($1, $0) })
        rates = ClientRates(limits)
        for record in stored where segment.network.contains(record.address) {
            leases[record.address] = record
            guard record.phase == .bound else { continue }
            if let other = leaseOf[record.mac], let known = leases[other], known.expires >= record.expires { continue }
            leaseOf[record.mac] = record.address
        }
    }

    /// Takes one event and says what is to be done.
    public mutating func step(_ event: Event, now: Timestamp) -> [Effect] {
        switch event {
        case .received(let packet): return receive(packet, now)
        case .committed(let id, let failure): return finish(id, failure, now)
        case .released(let record, let isDone):
            removeHold(record.address)
            if isDone, leases[record.address] == record { removeLease(record.address) }
            return []
        case .probed(let answers): return probed(answers, now)
        case .leasesChanged(let changes):
            hear(changes)
            return []
        case .tick:
            dropOldOffers(now)
            defer { demand /= 2 }
            return duty == .leads ? fillStock(now) : []
        }
    }

    private mutating func receive(_ packet: DHCPPacket, _ now: Timestamp) -> [Effect] {
        guard packet.operation == .request, let mac = packet.macAddress, let type = packet.options.messageType,
            packet.relayAddress == .any || segment.relays.contains(packet.relayAddress), packet.isPlausible
        else { return [] }
        guard duty.answers(packet, as: segment.server) else {
            if type == .request { giveUpOffer(to: mac) }
            return []
        }
        switch rates.admit(mac, now) {
        case .admitted: break
        case .refused: return []
        case .refusedAndReported: return [.report(.overloaded)]
        }
        switch type {
        case .discover: return discover(packet, mac, now)
        case .request: return request(packet, mac, now)
        case .release: return release(packet, mac)
        case .decline: return decline(packet, mac, now)
        case .inform: return inform(packet, mac)
        case .offer, .acknowledge, .refuse: return []
        }
    }

    private mutating func discover(_ packet: DHCPPacket, _ mac: MACAddress, _ now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        if rates.mayReport(mac, now) { effects.append(.observed(segment.client(packet, mac, .looking, now))) }
        return effects + offer(packet, mac, now)
    }

    /// Offers an address at once, or after it was probed.
    mutating func offer(_ packet: DHCPPacket, _ mac: MACAddress, _ now: Timestamp) -> [Effect] {
        if let address = addressBeingCommitted(for: mac) {
            return [.send(grant(.offer, to: packet, address, for: segment.leaseTime))]
        }
        // Whoever asks again may have the first answer in hand by now: there is one offer to a machine at a time.
        if let address = standingOffer(to: mac, now) { return [promise(address, to: packet, mac, now)] }
        let (chosen, report) = choose(for: mac, now)
        let effects = report.map { [Effect.report($0)] } ?? []
        guard let address = chosen else { return effects + [.report(.poolExhausted(mac))] }
        guard needsProbe(address, for: mac, now) else { return effects + [promise(address, to: packet, mac, now)] }
        hold(address, for: mac, .chosen(until: now.advanced(by: limits.offerTime)))
        return effects + wait(packet, mac, for: address, now)
    }

    /// Offers `address` and keeps it for the machine.
    mutating func promise(
        _ address: IPv4Address, to packet: DHCPPacket, _ mac: MACAddress, _ now: Timestamp
    ) -> Effect {
        hold(address, for: mac, .offered(until: now.advanced(by: limits.offerTime)))
        return .send(grant(.offer, to: packet, address, for: segment.leaseTime))
    }

    private mutating func request(_ packet: DHCPPacket, _ mac: MACAddress, _ now: Timestamp) -> [Effect] {
        if let server = packet.options.serverIdentifier, server != segment.server {
            giveUpOffer(to: mac)
            return segment.fellows.contains(server) ? [] : [.report(.otherServer(server, chosenBy: mac))]
        }
        let asked = packet.clientAddress != .any ? packet.clientAddress : packet.options.requestedAddress
        guard let address = asked else { return [] }
        if let held = holdOf[mac], case .committing(let id, let record, _) = holds[held]?.state {
            // A retransmission, or a change of mind that has to wait for the store.
            if held == address { holds[held]?.state = .committing(id, record, packet) }
            return []
        }
        guard mayHave(address, mac, now) else { return [.send(refuse(packet))] }
        if let left = confirmable(address, packet, mac, now) {
            giveUpOffer(to: mac)
            return bound(packet, address, mac, for: left, now)
        }
        guard commits.count < limits.commitCountMax else { return [.report(.overloaded)] }
        commitCount += 1
        let id = LeaseCommitID(number: commitCount)
        let record = LeaseRecord(
            address: address, mac: mac, expires: now.advanced(by: segment.leaseTime + limits.grace), lastSeen: now,
            hostname: packet.clientHostname)
        let replaced = leaseOf[mac].flatMap { $0 == address ? nil : leases[$0] }
        hold(address, for: mac, .committing(id, record, packet))
        commits[id] = address
        return [.commitLease(id, record, replacing: replaced)]
    }

    private mutating func finish(
        _ id: LeaseCommitID, _ failure: LeaseCommitFailure?, _ now: Timestamp
    ) -> [Effect] {
        guard let address = commits.removeValue(forKey: id),
            case .committing(id, let record, let packet) = holds[address]?.state
        else { return [] }
        removeHold(record.address)
        switch failure {
        case nil:
            if let old = leaseOf[record.mac], old != record.address { removeLease(old) }
            removeLease(record.address)
            leases[record.address] = record
            leaseOf[record.mac] = record.address
            // The client counts from now: however long the store took, it must stop before the lease is over.
            let left = min(segment.leaseTime, record.expires.since(now))
            guard left >= .seconds(1) else { return [] }
            return bound(packet, record.address, record.mac, for: left, now)
        case .held(let other):
            removeLease(record.address)
            leases[other.address] = other
            if other.phase == .bound, leaseOf[other.mac] == nil { leaseOf[other.mac] = other.address }
            return [
                .report(.conflict(record.address, wantedBy: record.mac, heldBy: other.mac)), .send(refuse(packet)),
            ]
        case .frozen:
            // No answer; the machine asks again.
            return []
        case .unavailable(let why):
            return [.report(.storeFailed(record.mac, why))]
        }
    }

    private mutating func release(_ packet: DHCPPacket, _ mac: MACAddress) -> [Effect] {
        let address = packet.clientAddress
        guard packet.options.serverIdentifier.map({ $0 == segment.server }) ?? true, leaseOf[mac] == address,
            let record = leases[address], addressBeingCommitted(for: mac) == nil
        else { return [] }
        if let held = holds[address] {
            guard held.state.keptUntil != nil, held.mac == mac else { return [] }
        }
        hold(address, for: mac, .releasing)
        return [.releaseLease(record)]
    }

    private mutating func decline(_ packet: DHCPPacket, _ mac: MACAddress, _ now: Timestamp) -> [Effect] {
        guard packet.options.serverIdentifier.map({ $0 == segment.server }) ?? true,
            let address = packet.options.requestedAddress, leaseOf[mac] == address,
            addressBeingCommitted(for: mac) == nil
        else { return [] }
        if let held = holds[address] {
            guard held.state.keptUntil != nil else { return [] }
            removeHold(address)
        }
        let time = mayQuarantine(now) ? limits.quarantineTime : .zero
        let record = LeaseRecord(
            address: address, mac: mac, phase: .quarantined, expires: now.advanced(by: time), lastSeen: now)
        removeLease(address)
        leases[address] = record
        return [.quarantine(record), .report(.addressInUse(address, reportedBy: mac))]
    }

    /// What is left of a lease that was stored a moment ago for just this machine, as it calls itself now; nil: the
    /// lease has to be stored anew.
    private func confirmable(
        _ address: IPv4Address, _ packet: DHCPPacket, _ mac: MACAddress, _ now: Timestamp
    ) -> Duration? {
        // With several conductors another one may be about to take the lease back: only the store can tell.
        guard segment.fellows.isEmpty, leaseOf[mac] == address, let record = leases[address], record.phase == .bound,
            record.hostname == packet.clientHostname
        else { return nil }
        let age = now.since(record.lastSeen)
        let left = record.expires.since(now) - limits.grace
        // The segment may have been given another lease time since.
        guard age >= .zero, age < limits.confirmTime, left <= segment.leaseTime, left >= segment.leaseTime * 3 / 4
        else { return nil }
        return left
    }

    /// Says that the machine has the address.
    private func bound(
        _ packet: DHCPPacket, _ address: IPv4Address, _ mac: MACAddress, for time: Duration, _ now: Timestamp
    ) -> [Effect] {
        [
            .send(grant(.acknowledge, to: packet, address, for: time)),
            .observed(segment.client(packet, mac, .bound(address), now)),
        ]
    }

    private func addressBeingCommitted(for mac: MACAddress) -> IPv4Address? {
        guard let address = holdOf[mac], case .committing = holds[address]?.state else { return nil }
        return address
    }

    private func inform(_ packet: DHCPPacket, _ mac: MACAddress) -> [Effect] {
        guard segment.network.contains(packet.clientAddress) else { return [] }
        return [.send(informed(packet))]
    }
}
