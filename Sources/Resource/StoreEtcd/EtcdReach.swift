/// Whether the cluster takes work from here, judged by who has answered when; pure.
///
/// Who is cut off from the others has at most its own member to ask, and that one may believe in its leader for seconds:
/// so a majority of the members has to answer at all. While leaders change all answer, and none has a leader. Work that was
/// just done, which takes a majority, is proof enough by itself: members may answer each other before they answer here.
/// One that is new does not count before it has answered and votes: it may not have been started yet.
struct EtcdReach: Sendable, Hashable {
    typealias Instant = ContinuousClock.Instant

    /// Some probes in a row without an answer, and no longer than callers should be sent to a conductor that is cut off.
    static let silencePatience = Duration.milliseconds(1500)
    /// Longer than an election takes.
    static let leaderPatience = Duration.seconds(3)
    /// How long an answer may take on a connection that has had one.
    private static let probePatience = Duration.seconds(2)
    /// How long the first one on a new connection may take, at first and at most: a machine that is busy, or slow, needs
    /// seconds for a handshake, and what is broken off before has to be begun anew.
    private static let returnPatience = (first: Duration.seconds(1), most: Duration.seconds(10))

    private struct Member: Hashable {
        /// When it has answered last.
        var answered: Instant
        /// How long a new connection may take until its first answer.
        var returnPatience = EtcdReach.returnPatience.first
        /// Whether it is one of those of whom a majority is needed.
        var votes: Bool
        /// Whether its machine has taken no connection since its last answer.
        var isAway = false
    }

    private var members: [EtcdAddress: Member]
    /// When a member that has a leader has answered last.
    private var led: Instant
    /// When a majority has last done what was asked for here; nil: it has not yet.
    private var worked: Instant?

    /// Nobody is silent yet, and each is taken to vote.
    init(_ addresses: [EtcdAddress], at now: Instant) {
        members = Dictionary(uniqueKeysWithValues: addresses.map { ($0, Member(answered: now, votes: true)) })
        led = now
    }

    /// Takes these for the members there are now. A new one votes once it says so.
    mutating func follow(_ addresses: [EtcdAddress], at now: Instant) {
        members = Dictionary(
            uniqueKeysWithValues: addresses.map { ($0, members[$0] ?? Member(answered: now, votes: false)) })
    }

    /// How long a member is given for its next answer.
    func patience(of member: EtcdAddress, at now: Instant) -> Duration {
        guard let known = members[member], isSilent(member, at: now) else { return Self.probePatience }
        return known.returnPatience
    }

    /// Notes that a member took a connection, and gave no answer in the time that it had.
    mutating func noteSilence(_ member: EtcdAddress, at now: Instant) {
        guard isSilent(member, at: now) else { return }
        let given = patience(of: member, at: now)
        members[member]?.returnPatience = min(given * 2, Self.returnPatience.most)
    }

    /// Notes that a member's machine takes no connections.
    mutating func noteAbsence(_ member: EtcdAddress) { members[member]?.isAway = true }

    /// Notes that it takes them again, and tells whether it did not before: then what was sent meanwhile is sent again too
    /// late for use.
    mutating func noteReturn(_ member: EtcdAddress) -> Bool {
        defer { members[member]?.isAway = false }
        return members[member]?.isAway == true
    }

    /// Whether another member may answer instead of this one.
    func hasOther(than member: EtcdAddress, at now: Instant) -> Bool {
        members.contains { $0.key != member && $0.value.votes && !isSilent($0.key, at: now) }
    }

    /// Whether a connection that has brought no answer in its time is given up: another member may answer instead, or it has
    /// had all the time there is. Who is alone and slow is only kept from answering by a new one.
    func givesUp(_ member: EtcdAddress, at now: Instant) -> Bool {
        hasOther(than: member, at: now) || patience(of: member, at: now) >= Self.returnPatience.most
    }

    /// Notes an answer of a member; one that learns has no vote.
    mutating func note(_ member: EtcdAddress, hasLeader: Bool, isLearner: Bool = false, at now: Instant) {
        guard members[member] != nil else { return }
        members[member] = Member(answered: now, votes: !isLearner)
        if hasLeader, !isLearner { led = now }
    }

    /// Notes that a majority has carried something out.
    mutating func noteWork(at now: Instant) { worked = now }

    /// Whether a member has not answered for long, so that its connection may be of no use any more.
    func isSilent(_ member: EtcdAddress, at now: Instant) -> Bool {
        members[member].map { now - $0.answered >= Self.silencePatience } ?? false
    }

    /// Whether a request that is made now has a chance.
    func isReachable(at now: Instant) -> Bool {
        if let worked, now - worked < Self.silencePatience { return true }
        let voters = members.values.filter(\.votes)
        let count = voters.count { now - $0.answered < Self.silencePatience }
        return count * 2 > voters.count && now - led < Self.leaderPatience
    }
}
