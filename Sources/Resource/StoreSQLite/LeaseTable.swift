import Primitives
import ResourceModel
import Synchronization

/// The leases and when each ends, in memory: a renewal costs no write.
final class LeaseTable: Sendable {
    private struct Lease {
        let timeToLive: Duration
        var deadline: Timestamp
    }

    private let leases: Mutex<[LeaseID: Lease]>

    /// Each lease begins its whole time anew.
    init(_ leases: [(LeaseID, Duration)], now: Timestamp) {
        self.leases = Mutex(
            Dictionary(leases.map { ($0.0, Lease(timeToLive: $0.1, deadline: now.advanced(by: $0.1))) }) { $1 })
    }

    var count: Int { leases.withLock { $0.count } }

    func isAlive(_ lease: LeaseID, now: Timestamp) -> Bool {
        leases.withLock { leases in leases[lease].map { $0.deadline > now } ?? false }
    }

    func renew(_ lease: LeaseID, now: Timestamp) throws(StoreError) {
        let isAlive = leases.withLock { leases in
            guard let found = leases[lease], found.deadline > now else { return false }
            leases[lease]?.deadline = now.advanced(by: found.timeToLive)
            return true
        }
        guard isAlive else { throw .leaseEnded(lease) }
    }

    /// The leases whose time is over; none of them can be renewed any more.
    func condemn(now: Timestamp) -> [LeaseID] {
        leases.withLock { leases in
            let ended = leases.filter { $0.value.deadline <= now }.keys.sorted { $0.number < $1.number }
            for lease in ended { leases[lease]?.deadline = Timestamp(millisecondsSinceEpoch: .min) }
            return ended
        }
    }

    func apply(granted: [(LeaseID, Duration)], ended: Set<LeaseID>, now: Timestamp) {
        leases.withLock { leases in
            for (lease, timeToLive) in granted {
                leases[lease] = Lease(timeToLive: timeToLive, deadline: now.advanced(by: timeToLive))
            }
            for lease in ended { leases[lease] = nil }
        }
    }
}
