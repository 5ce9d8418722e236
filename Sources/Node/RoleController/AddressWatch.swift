import LinuxSystem
import Primitives

/// The address by which the others know a controller, and where it was seen.
struct KeptAddress: Codable, Hashable, Sendable {
    var address: IPv4Address
    /// 0 to 32.
    var prefixLength: Int
    /// The interface that had it.
    var interface: String
    /// That interface's hardware address.
    var hardware: MACAddress?
}

/// Sees whether a controller has the address by which the others know it, and says what to do when it has not; pure.
///
/// The site's DHCP is served by the controllers: when all of them start at once, nobody gives them the addresses without
/// which they cannot meet. A client to which no server answers may go on with the address that it had (RFC 2131 section 3.2).
struct AddressWatch {
    /// How long somebody else has to set the address up, when nothing else is said.
    static let patience = Duration.seconds(5)

    /// What to do now.
    enum Step: Hashable {
        case nothing
        /// It is not there, and nothing can be done yet.
        case wait
        /// Note on disk where the address is.
        case note(KeptAddress)
        /// Remove the note.
        case forget
        /// Set it up on that interface, unless somebody else on the wire has it.
        case setUp(KeptAddress, index: Int32)
    }

    private let patience: Duration
    private var kept: KeptAddress?
    private var missingSince: Duration?

    /// A watch that begins with the note on disk.
    init(kept: KeptAddress?, patience: Duration = patience) {
        self.kept = kept
        self.patience = patience
    }

    /// What to do at the time `now` of a clock that never goes back; `wanted` is the address by which the others know this
    /// node, nil: they do not.
    mutating func step(
        wanted: IPv4Address?, links: [Link], addresses: [LinkAddress], now: Duration
    ) -> Step {
        guard let wanted else {
            missingSince = nil
            guard kept != nil else { return .nothing }
            kept = nil
            return .forget
        }
        if let found = addresses.first(where: { $0.address == wanted }) {
            missingSince = nil
            guard let link = links.first(where: { $0.index == found.index }) else { return .nothing }
            let seen = KeptAddress(
                address: wanted, prefixLength: found.prefixLength, interface: link.name, hardware: link.hardware)
            guard seen != kept else { return .nothing }
            kept = seen
            return .note(seen)
        }
        let since = missingSince ?? now
        missingSince = since
        guard now - since >= patience, var place = kept, place.address == wanted,
            let link = Self.link(of: place, among: links), link.isUp
        else { return .wait }
        place.interface = link.name
        return .setUp(place, index: link.index)
    }

    /// The interface that had the address: a VLAN has the hardware address of its card, and a card's name may change.
    private static func link(of kept: KeptAddress, among links: [Link]) -> Link? {
        let same = links.filter { $0.hardware == kept.hardware }
        return same.first { $0.name == kept.interface } ?? same.first { $0.kind == nil }
            ?? links.first { $0.name == kept.interface }
    }
}
