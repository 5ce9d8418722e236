import Primitives
import ResourceModel

/// How long a leader may be silent, and how it keeps from that.
public struct LeadershipTimes: Sendable, Hashable {
    /// The store's lease ends so long after its last renewal.
    public var timeToLive: Duration
    /// By how much earlier the leader gives up by its own clock: more than clocks go apart in one lease.
    public var margin: Duration
    /// Between two renewals.
    public var renewal: Duration
    /// Before something that failed is tried again, and between two looks at another leader.
    public var pause: Duration

    /// Times; by default all but the first follow from it.
    public init(
        timeToLive: Duration = .seconds(10), margin: Duration? = nil, renewal: Duration? = nil,
        pause: Duration = .milliseconds(500)
    ) {
        self.timeToLive = timeToLive
        self.margin = margin ?? timeToLive / 5
        self.renewal = renewal ?? timeToLive / 4
        self.pause = pause
        precondition(
            self.margin > .zero && self.renewal < timeToLive - self.margin, "a lease is renewed before its end")
    }
}

/// A candidate's way to a term and out of it: a pure step from events to what is to be asked of the store.
///
/// One question is under way at a time, and an answer to an older one says nothing. `now` is the candidate's own clock,
/// which never goes back: how long it has run. A term ends by that clock `margin` before the store's lease can, counted
/// from when the newest renewal was *sent*.
public struct LeadershipState: Sendable, Hashable {
    /// What can happen.
    public enum Event: Sendable, Hashable {
        /// Begin, or look whether something is due.
        case tick
        /// What came of the question with this number.
        case answered(UInt64, Answer)
    }

    /// What is asked of the store.
    public enum Question: Sendable, Hashable {
        /// Read the record.
        case look
        /// A lease.
        case grant
        /// Write the record, if there is none, tied to this lease.
        case claim(LeaseID)
        /// Renew this lease.
        case renew(LeaseID)
    }

    /// What came of a question.
    public enum Answer: Sendable, Hashable {
        /// The record as it is; nil: nobody leads.
        case found(Record?)
        /// A lease.
        case granted(LeaseID)
        /// The record was written.
        case claimed(Revision)
        /// Somebody has written the record.
        case taken
        /// The lease was renewed.
        case renewed
        /// The lease has ended.
        case leaseEnded
        /// It has failed, and nobody knows whether it was carried out.
        case failed
    }

    /// A leader's record as it is in the store.
    public struct Record: Sendable, Hashable {
        /// The commit that made it.
        public var revision: Revision
        /// The lease it is tied to.
        public var lease: LeaseID?

        /// A record.
        public init(revision: Revision, lease: LeaseID?) {
            self.revision = revision
            self.lease = lease
        }
    }

    /// What is to be done.
    public enum Effect: Sendable, Hashable {
        /// Ask, and answer with the same number, whatever comes of it.
        case ask(UInt64, Question)
        /// End this lease; no answer is awaited.
        case revoke(LeaseID)
        /// The term has begun.
        case begin(Revision)
        /// The term is over.
        case end
        /// Send a tick when the clock is there, unless another was sent before: the step for that says when the next is due.
        case wake(at: Duration)
    }

    private enum Phase: Sendable, Hashable {
        /// Nothing is asked before this time.
        case resting(until: Duration)
        case looking
        case granting
        case claiming(Lease)
        /// The claim's answer was lost: the record tells who has it.
        case lookingForOwn(Lease)
        case leading(Lease, renews: Duration, isAsking: Bool)
    }

    private struct Lease: Sendable, Hashable {
        let id: LeaseID
        /// When it must not be relied on any more.
        var end: Duration
    }

    private let times: LeadershipTimes
    private var phase = Phase.resting(until: .zero)
    /// The newest question's number, and when it was asked.
    private var question: UInt64 = 0
    private var asked = Duration.zero

    /// A candidate that has not begun.
    public init(_ times: LeadershipTimes) { self.times = times }

    /// Whether it leads at `now`.
    public func leads(at now: Duration) -> Bool {
        if case .leading(let lease, _, _) = phase { now < lease.end } else { false }
    }

    /// Takes in an event at `now`.
    public mutating func step(_ event: Event, now: Duration) -> [Effect] {
        var answer: Answer?
        if case .answered(let number, let given) = event {
            guard number == question else { return [] }
            answer = given
        }
        switch phase {
        case .resting(let until): return now < until ? [.wake(at: until)] : ask(.look, .looking, now)
        case .looking: return looked(answer, now)
        case .granting: return granted(answer, now)
        case .claiming(let lease): return claimed(answer, lease, now)
        case .lookingForOwn(let lease): return foundOwn(answer, lease, now)
        case .leading(let lease, let renews, let isAsking): return lead(answer, lease, renews, isAsking, now)
        }
    }

    /// Gives up: what is to be done so that another may lead at once.
    public mutating func stop() -> [Effect] {
        defer {
            phase = .resting(until: .zero)
            question += 1
        }
        switch phase {
        case .leading(let lease, _, _): return [.end, .revoke(lease.id)]
        case .claiming(let lease), .lookingForOwn(let lease): return [.revoke(lease.id)]
        case .resting, .looking, .granting: return []
        }
    }

    private mutating func ask(_ what: Question, _ next: Phase, _ now: Duration) -> [Effect] {
        phase = next
        question += 1
        asked = now
        return [.ask(question, what)]
    }

    private mutating func rest(_ now: Duration) -> [Effect] {
        phase = .resting(until: now + times.pause)
        return [.wake(at: now + times.pause)]
    }

    private mutating func looked(_ answer: Answer?, _ now: Duration) -> [Effect] {
        switch answer {
        case .found(nil): ask(.grant, .granting, now)
        case nil: []
        default: rest(now)
        }
    }

    private mutating func granted(_ answer: Answer?, _ now: Duration) -> [Effect] {
        switch answer {
        case .granted(let id):
            ask(.claim(id), .claiming(Lease(id: id, end: asked + times.timeToLive - times.margin)), now)
        case nil: []
        default: rest(now)
        }
    }

    private mutating func claimed(_ answer: Answer?, _ lease: Lease, _ now: Duration) -> [Effect] {
        switch answer {
        case .claimed(let revision): begin(revision, lease, now)
        case .leaseEnded: rest(now)
        case nil: []
        default: ask(.look, .lookingForOwn(lease), now)
        }
    }

    private mutating func foundOwn(_ answer: Answer?, _ lease: Lease, _ now: Duration) -> [Effect] {
        switch answer {
        case .found(let record?) where record.lease == lease.id: begin(record.revision, lease, now)
        case nil: []
        // A claim that is still on its way finds its lease ended, or its record goes with it.
        default: [.revoke(lease.id)] + rest(now)
        }
    }

    private mutating func begin(_ revision: Revision, _ lease: Lease, _ now: Duration) -> [Effect] {
        guard now < lease.end else { return [.revoke(lease.id)] + rest(now) }
        return [.begin(revision)] + lead(on: lease, renewing: now + times.renewal)
    }

    private mutating func lead(on lease: Lease, renewing next: Duration) -> [Effect] {
        let next = min(next, lease.end)
        phase = .leading(lease, renews: next, isAsking: false)
        return [.wake(at: next)]
    }

    private mutating func lead(
        _ answer: Answer?, _ lease: Lease, _ renews: Duration, _ isAsking: Bool, _ now: Duration
    ) -> [Effect] {
        if answer == .leaseEnded { return [.end] + rest(now) }
        // Also when it was renewed: whoever hears of it too late may have been taken for gone, and does not go on.
        guard now < lease.end else { return [.end, .revoke(lease.id)] + rest(now) }
        switch answer {
        case .renewed:
            var lease = lease
            lease.end = asked + times.timeToLive - times.margin
            return lead(on: lease, renewing: max(now, asked + times.renewal))
        case nil: break
        default: return lead(on: lease, renewing: now + times.pause)
        }
        guard !isAsking, now >= renews else { return [.wake(at: isAsking ? lease.end : renews)] }
        return ask(.renew(lease.id), .leading(lease, renews: renews, isAsking: true), now) + [.wake(at: lease.end)]
    }
}
