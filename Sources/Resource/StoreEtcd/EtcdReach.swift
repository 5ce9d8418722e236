/// Whether the cluster takes work from here, judged by who has answered when; pure.
///
/// Who is cut off from the others has at most its own member to ask, and that one may believe in its leader for seconds:
/// so a majority of the members has to answer at all. While leaders change all answer, and none has a leader. Work that was
/// just done, which takes a majority, is proof enough by itself: members may answer each other before they answer here.
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

    /// When each member has answered last.
    private var answered: [Instant]
    /// When a member that has a leader has answered last.
    private var led: Instant
    /// When a majority has last done what was asked for here; nil: it has not yet.
    private var worked: Instant?
    /// How long a new connection to each member may take until its first answer.
    private var returns: [Duration]

    /// Nobody is silent yet.
    init(members count: Int, at now: Instant) {
        answered = Array(repeating: now, count: count)
        led = now
        returns = Array(repeating: Self.returnPatience.first, count: count)
    }

    /// How long a member is given for its next answer.
    func patience(of member: Int, at now: Instant) -> Duration {
        isSilent(member, at: now) ? returns[member] : Self.probePatience
    }

    /// Notes that a member took a connection, and gave no answer in the time that it had.
    mutating func noteSilence(_ member: Int, at now: Instant) {
        guard isSilent(member, at: now) else { return }
        returns[member] = min(returns[member] * 2, Self.returnPatience.most)
    }

    /// Notes an answer of a member.
    mutating func note(_ member: Int, hasLeader: Bool, at now: Instant) {
        answered[member] = now
        returns[member] = Self.returnPatience.first
        if hasLeader { led = now }
    }

    /// Notes that a majority has carried something out.
    mutating func noteWork(at now: Instant) { worked = now }

    /// Whether a member has not answered for long, so that its connection may be of no use any more.
    func isSilent(_ member: Int, at now: Instant) -> Bool { now - answered[member] >= Self.silencePatience }

    /// Whether a request that is made now has a chance.
    func isReachable(at now: Instant) -> Bool {
        if let worked, now - worked < Self.silencePatience { return true }
        let count = answered.count { now - $0 < Self.silencePatience }
        return count * 2 > answered.count && now - led < Self.leaderPatience
    }
}
