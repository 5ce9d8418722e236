import CatalogBareMetal
import DHCP
import Primitives

/// What one of several conductors on a segment does there. All of them write leases by compare-and-swap into one store, so
/// that no address goes to two machines whoever answers; this is about who answers first.
public enum SegmentDuty: Hashable, Sendable {
    /// Answers whoever asks.
    case leads
    /// Answers those who chose it, and those who have waited so long that the one who leads seems to be gone.
    case standsBy

    /// How many seconds a client has asked in vain (`secs`, RFC 2131 section 2) when one that stands by answers too.
    public static let patienceSeconds: UInt16 = 8

    /// Whether `packet` is for a server with this duty and the address `server`.
    func answers(_ packet: DHCPPacket, as server: IPv4Address) -> Bool {
        guard self == .standsBy else { return true }
        if let chosen = packet.options.serverIdentifier { return chosen == server }
        // Who has an address renews it with the server it has it from, and then with any.
        if packet.options.messageType == .request, packet.clientAddress != .any { return true }
        return packet.seconds >= Self.patienceSeconds
    }
}

extension LeaseEngine {
    /// Takes over what other conductors have stored; nil: there is no lease of the address any more.
    mutating func hear(_ changes: [IPv4Address: LeaseRecord?]) {
        for (address, record) in changes where segment.network.contains(address) {
            if let hold = holds[address], hold.state.keptUntil == nil { continue }
            guard let record else {
                removeLease(address)
                continue
            }
            // What this server has stored itself comes back by the same way, later.
            if let known = leases[address], known.lastSeen >= record.lastSeen { continue }
            removeLease(address)
            leases[address] = record
            if let hold = holds[address], hold.mac != record.mac { removeHold(address) }
            if record.phase == .bound { leaseOf[record.mac] = address }
        }
    }
}
