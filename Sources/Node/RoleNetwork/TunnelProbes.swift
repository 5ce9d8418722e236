import Primitives

/// The other end of a tunnel.
struct TunnelEnd: Hashable, Sendable {
    /// Where it is on the underlay.
    var address: IPv4Address
    /// The node's name, where the conductor told it.
    var name: String?
    /// The largest packet that the tunnel sends it: the overlay's MTU and 50 bytes around it (RFC 7348, section 5).
    var packetSize: Int

    var title: String { name.map { "\($0) (\(address))" } ?? "\(address)" }
}

/// The times that probing keeps to.
struct ProbeTimes: Hashable, Sendable {
    /// How long an answer is waited for.
    var patience: Duration = .seconds(1)
    /// Between two probes while it is not sure what is so.
    var doubtPause: Duration = .seconds(1)
    /// Between two small probes to an end, and between two of the largest size that do not come back.
    var pause: Duration = .seconds(5)
    /// Between two of the largest size that do.
    var sizePause: Duration = .seconds(60)
}

/// What is known of one thing by asking again and again: up at the first answer, down after three losses in a row, up
/// again after two answers in a row.
struct ProbeTrack: Hashable, Sendable {
    /// Losses in a row that make it down.
    static let lossesToDown = 3
    /// Answers in a row that make it up again.
    static let answersToUp = 2

    struct Pending: Hashable, Sendable {
        var sequence: UInt16
        var since: Duration
    }

    enum Verdict: Hashable, Sendable {
        case unknown
        case up
        case down
    }

    let times: ProbeTimes
    /// Between two probes while it is sure that it is up.
    let pause: Duration
    var verdict = Verdict.unknown
    /// Answers, or losses, in a row that speak against the verdict.
    var doubts = 0
    var sent: UInt64 = 0
    var lost: UInt64 = 0
    /// The last answer's time on the way.
    var roundTrip: Duration?
    /// The probe that is under way.
    var pending: Pending?
    /// When the next probe is due; while one is under way, when it is lost.
    var due: Duration

    mutating func send(_ sequence: UInt16, at now: Duration) {
        pending = Pending(sequence: sequence, since: now)
        sent += 1
        due = now + times.patience
    }

    /// Returns whether the verdict changed.
    mutating func answered(at now: Duration) -> Bool {
        guard let sent = pending else { return false }
        pending = nil
        roundTrip = now - sent.since
        let before = verdict
        if verdict == .down {
            doubts += 1
            if doubts >= Self.answersToUp { settle(.up) }
        } else {
            settle(.up)
        }
        due = now + rest
        return verdict != before
    }

    /// Returns whether the verdict changed.
    mutating func lose(at now: Duration) -> Bool {
        guard pending != nil else { return false }
        pending = nil
        lost += 1
        let before = verdict
        if verdict == .down {
            doubts = 0
        } else {
            doubts += 1
            if doubts >= Self.lossesToDown { settle(.down) }
        }
        due = now + rest
        return verdict != before
    }

    private var rest: Duration {
        if doubts > 0 { return times.doubtPause }
        return verdict == .down ? times.pause : pause
    }

    private mutating func settle(_ verdict: Verdict) {
        self.verdict = verdict
        doubts = 0
    }
}

/// Asks the other ends of this node's tunnels whether packets get there and back, small ones and the largest; pure.
///
/// What is measured is the way on the underlay, by ICMP echoes between the tunnels' own addresses.
struct TunnelProbes: Sendable {
    /// The most ends that are asked.
    static let endCountMax = 1024
    /// The most probes that one step sends.
    static let burst = 20
    /// Between two steps that have more to send.
    static let burstPause: Duration = .milliseconds(50)
    /// The size of the small ones.
    static let smallSize = 64

    /// One end and what is known of it.
    struct Peer: Hashable, Sendable {
        var end: TunnelEnd
        /// Whether small packets come back.
        var reach: ProbeTrack
        /// Whether the largest come back; asked only while small ones do.
        var size: ProbeTrack
    }

    /// What happens.
    enum Event: Sendable {
        case ends([TunnelEnd])
        case tick
        case answered(IPv4Address, sequence: UInt16)
        /// The kernel did not take the packet.
        case refused(IPv4Address, sequence: UInt16)
    }

    /// A packet to send.
    struct Probe: Hashable, Sendable {
        var to: IPv4Address
        var sequence: UInt16
        var size: Int
    }

    let times: ProbeTimes
    private(set) var peers: [IPv4Address: Peer] = [:]
    /// Ends beyond the limit.
    private(set) var unasked = 0
    private var sequence: UInt16 = 0

    init(times: ProbeTimes = ProbeTimes()) { self.times = times }

    /// Takes in what happened at `now`, on a monotonic clock: the probes to send, and whether a verdict changed.
    mutating func step(_ event: Event, at now: Duration) -> (probes: [Probe], hasChanged: Bool) {
        switch event {
        case .ends(let ends):
            take(ends, now)
            return ([], false)
        case .tick: return tick(now)
        case .answered(let address, let sequence):
            return ([], update(address, sequence) { $0.answered(at: now) })
        case .refused(let address, let sequence):
            return ([], update(address, sequence) { $0.lose(at: now) })
        }
    }

    /// When `tick` is wanted; nil while there is nobody to ask.
    func nextTick(after now: Duration) -> Duration? {
        let due = peers.values.lazy.flatMap { peer in
            peer.reach.verdict == .up || peer.size.pending != nil ? [peer.reach.due, peer.size.due] : [peer.reach.due]
        }.min()
        return due.map { $0 <= now ? now + Self.burstPause : $0 }
    }

    /// Whether each end that is asked has a verdict.
    var isSettled: Bool { peers.values.allSatisfy { $0.reach.verdict != .unknown } }

    private mutating func take(_ ends: [TunnelEnd], _ now: Duration) {
        let kept = ends.sorted { $0.address < $1.address }.prefix(Self.endCountMax)
        unasked = ends.count - kept.count
        var next: [IPv4Address: Peer] = [:]
        for end in kept {
            var peer =
                peers[end.address]
                ?? Peer(
                    end: end, reach: ProbeTrack(times: times, pause: times.pause, due: now),
                    size: ProbeTrack(times: times, pause: times.sizePause, due: now))
            if peer.end.packetSize != end.packetSize {
                peer.size = ProbeTrack(times: times, pause: times.sizePause, due: now)
            }
            peer.end = end
            next[end.address] = peer
        }
        peers = next
    }

    private mutating func update(
        _ address: IPv4Address, _ sequence: UInt16, _ change: (inout ProbeTrack) -> Bool
    ) -> Bool {
        guard var peer = peers[address] else { return false }
        var hasChanged = false
        if peer.reach.pending?.sequence == sequence {
            hasChanged = change(&peer.reach)
        } else if peer.size.pending?.sequence == sequence {
            hasChanged = change(&peer.size)
        }
        peers[address] = peer
        return hasChanged
    }

    private mutating func tick(_ now: Duration) -> (probes: [Probe], hasChanged: Bool) {
        var hasChanged = false
        var probes: [Probe] = []
        // The longest overdue first, so that nobody is forgotten when there are more than a step may send.
        let order = peers.values.filter { min($0.reach.due, $0.size.due) <= now }
            .sorted { ($0.reach.due, $0.end.address) < ($1.reach.due, $1.end.address) }
        for var peer in order {
            if peer.reach.pending != nil, peer.reach.due <= now { hasChanged = peer.reach.lose(at: now) || hasChanged }
            if peer.size.pending != nil, peer.size.due <= now {
                // A large packet that is lost while small ones are lost as well says nothing of the size.
                if peer.reach.verdict == .up, peer.reach.doubts == 0 {
                    hasChanged = peer.size.lose(at: now) || hasChanged
                } else {
                    peer.size.pending = nil
                    peer.size.due = now + times.doubtPause
                }
            }
            if peer.reach.pending == nil, peer.reach.due <= now, probes.count < Self.burst {
                probes.append(Probe(to: peer.end.address, sequence: number(), size: Self.smallSize))
                peer.reach.send(sequence, at: now)
            }
            if peer.size.pending == nil, peer.size.due <= now, peer.reach.verdict == .up, peer.reach.doubts == 0,
                probes.count < Self.burst
            {
                probes.append(Probe(to: peer.end.address, sequence: number(), size: peer.end.packetSize))
                peer.size.send(sequence, at: now)
            }
            peers[peer.end.address] = peer
        }
        return (probes, hasChanged)
    }

    private mutating func number() -> UInt16 {
        sequence &+= 1
        return sequence
    }
}
