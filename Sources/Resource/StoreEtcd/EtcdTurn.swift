/// Which member is asked; pure.
///
/// The same one goes on being asked as long as it is well, and the first of them begins: the own machine's.
struct EtcdTurn: Sendable, Hashable {
    typealias Instant = ContinuousClock.Instant

    /// How long a member that has failed is only asked when there is no better one.
    static let suspicion = Duration.seconds(1)

    private var addresses: [EtcdAddress]
    private var place = 0
    /// Until when each of those that have failed is suspect.
    private var suspects: [EtcdAddress: Instant] = [:]

    /// The turn among some members; there is one at least.
    init(_ addresses: [EtcdAddress]) { self.addresses = addresses }

    /// Goes on among these members; the one that was asked keeps its turn if it is one of them.
    mutating func follow(_ addresses: [EtcdAddress]) {
        let current = self.addresses[place]
        self.addresses = addresses
        place = addresses.firstIndex(of: current) ?? 0
        suspects = suspects.filter { addresses.contains($0.key) }
    }

    /// Notes that a member has failed.
    mutating func noteFailure(of member: EtcdAddress, at now: Instant) {
        guard addresses.contains(member) else { return }
        suspects[member] = now + Self.suspicion
    }

    /// Notes that a member is well.
    mutating func noteSuccess(of member: EtcdAddress) { suspects[member] = nil }

    /// The member that is asked now; once it is suspect the first without a stain, else the one whose stain is oldest.
    mutating func member(at now: Instant) -> EtcdAddress {
        func stain(_ place: Int) -> Instant { max(suspects[addresses[place]] ?? now, now) }
        if stain(place) > now { place = addresses.indices.min { stain($0) < stain($1) } ?? place }
        return addresses[place]
    }
}
