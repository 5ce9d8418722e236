import CatalogBareMetal
import Primitives

extension LeaseEngine {
    /// The address to offer a machine that has no offer yet: its reservation, its lease, what is being probed for it, or
    /// one of the pool that is its by hash, or the next free one; nil when none is free.
    mutating func choose(for mac: MACAddress, _ now: Timestamp) -> (IPv4Address?, LeaseReport?) {
        var report: LeaseReport?
        if let reserved = segment.reservations[mac] {
            if isFree(reserved, for: mac, now) { return (reserved, nil) }
            report = .reservationHeld(reserved, reservedFor: mac)
        }
        for known in [leaseOf[mac], holdOf[mac]] {
            guard let known, isServed(known), isFree(known, for: mac, now) else { continue }
            // What it was to be offered could not be probed then; by now there may be one that was.
            if waiting[mac] == nil, needsProbe(known, for: mac, now) { continue }
            return (known, report)
        }
        return (search(for: mac, now), report)
    }

    /// Whether a machine that asks for `address` may have it.
    func mayHave(_ address: IPv4Address, _ mac: MACAddress, _ now: Timestamp) -> Bool {
        guard segment.network.contains(address), isFree(address, for: mac, now) else { return false }
        if standingOffer(to: mac, now) == address { return true }
        guard isServed(address) || segment.reservations[mac] == address || leaseOf[mac] == address
        else { return false }
        if let reserved = segment.reservations[mac], reserved != address, isFree(reserved, for: mac, now) {
            return false
        }
        // It has another address already: only one that was offered in its place would do.
        guard let known = leaseOf[mac], known != address, let record = leases[known] else { return true }
        return record.expires <= now
    }

    /// What the machine was offered and may still come for (RFC 2131 section 4.3.2, SELECTING).
    func standingOffer(to mac: MACAddress, _ now: Timestamp) -> IPv4Address? {
        guard let address = holdOf[mac], case .offered = holds[address]?.state, isFree(address, for: mac, now) else {
            return nil
        }
        return address
    }

    /// Ends what the machine was offered, or was to be.
    mutating func giveUpOffer(to mac: MACAddress) {
        if let address = holdOf[mac], holds[address]?.state.keptUntil != nil { removeHold(address) }
    }

    /// Whether nobody but `mac` has a claim to `address`; nil: nobody at all.
    func isFree(_ address: IPv4Address, for mac: MACAddress?, _ now: Timestamp) -> Bool {
        guard address != segment.server, address != segment.router, !segment.relays.contains(address) else {
            return false
        }
        // A controller that has its address by DHCP keeps it: it is the address of a conductor too.
        let isHolder = mac.flatMap { leaseOf[$0] } == address
        if segment.fellows.contains(address), !isHolder { return false }
        if let owner = reservedFor[address], owner != mac { return false }
        if hasAnswered(address, now), !isHolder { return false }
        if let record = leases[address], record.expires > now {
            guard record.phase == .bound, record.mac == mac else { return false }
        }
        guard let hold = holds[address] else { return true }
        switch hold.state {
        case .chosen(let until), .offered(let until): return hold.mac == mac || until <= now
        case .committing: return hold.mac == mac
        case .releasing: return false
        }
    }

    private func isServed(_ address: IPv4Address) -> Bool { segment.pooled(address) }

    /// The first free address of the pool from the machine's own place on; addresses never leased come first.
    private mutating func search(for mac: MACAddress, _ now: Timestamp) -> IPv4Address? {
        if let until = exhaustedUntil {
            guard until <= now else { return nil }
            exhaustedUntil = nil
        }
        let count = segment.poolCount
        guard count > 0 else { return nil }
        // So that a machine is offered the same address by every server and start.
        let hash = StableHash.of(mac.bytes)
        if limits.probeStock > 0, let known = searchStock(from: UInt32(hash % UInt64(count)), for: mac, now) {
            return known
        }
        var expired: IPv4Address?
        for step in 0..<count {
            let address = segment.pooled(at: UInt32((hash % UInt64(count) + UInt64(step)) % UInt64(count)))
            guard isFree(address, for: mac, now) else { continue }
            guard let old = leases[address] else { return address }
            if let best = expired.flatMap({ leases[$0] }), best.expires <= old.expires { continue }
            expired = address
        }
        if expired == nil {
            // Commits and releases end by events, which lift this; all else ends by time.
            let ends = leases.values.map(\.expires).filter { $0 > now }
            let probeEnds = probes.values.map(\.until).filter { $0 > now }
            exhaustedUntil = (ends + offerEnds(now) + probeEnds).min() ?? now.advanced(by: .seconds(1))
        }
        return expired
    }

    /// An address that was found free already: the machine's own place, else one that was never leased, else any.
    private mutating func searchStock(from place: UInt32, for mac: MACAddress, _ now: Timestamp) -> IPv4Address? {
        demand += 1
        let own = segment.pooled(at: place)
        if leases[own] == nil, isKnownClear(own, now), isFree(own, for: mac, now) { return own }
        var stock = stock ?? freshStock(now)
        defer { self.stock = stock }
        while let address = stock.popLast() {
            if isKnownClear(address, now), isFree(address, for: mac, now) { return address }
        }
        return nil
    }

    /// All addresses that were found free and that nobody has or was offered; those never leased last, low ones first
    /// among these.
    private func freshStock(_ now: Timestamp) -> [IPv4Address] {
        probes.keys.filter {
            segment.pooled($0) && isKnownClear($0, now) && holds[$0] == nil && isFree($0, for: nil, now)
        }
        .sorted { (leases[$0] == nil ? 0 : 1, $0) > (leases[$1] == nil ? 0 : 1, $1) }
    }

    private func offerEnds(_ now: Timestamp) -> [Timestamp] {
        holds.values.compactMap(\.state.keptUntil).filter { $0 > now }
    }

    /// Marks `address` as spoken for by `mac`, and gives up what else the machine was offered.
    mutating func hold(_ address: IPv4Address, for mac: MACAddress, _ state: Hold.State) {
        if holdOf[mac] != address { giveUpOffer(to: mac) }
        removeHold(address)
        holds[address] = Hold(mac: mac, state: state)
        holdOf[mac] = address
    }

    mutating func removeHold(_ address: IPv4Address) {
        guard let hold = holds.removeValue(forKey: address) else { return }
        if holdOf[hold.mac] == address { holdOf[hold.mac] = nil }
        exhaustedUntil = nil
    }

    mutating func removeLease(_ address: IPv4Address) {
        guard let record = leases.removeValue(forKey: address) else { return }
        if leaseOf[record.mac] == address { leaseOf[record.mac] = nil }
        exhaustedUntil = nil
    }

    mutating func dropOldOffers(_ now: Timestamp) {
        let old = holds.filter { _, hold in hold.state.keptUntil.map { $0 <= now } ?? false }
        for address in old.keys { removeHold(address) }
    }
}
