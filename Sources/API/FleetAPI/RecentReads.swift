import Identity
import Primitives
import ResourceModel
import Synchronization

/// Which reads of consoles' records were audited lately, so that following one is one event and not one a second.
final class RecentReads: Sendable {
    /// How long a read stands for those that follow it.
    static let span: Duration = .seconds(600)
    /// The most that are remembered; what is forgotten is audited again.
    static let countMax = 10_000

    private struct Key: Hashable {
        let who: String
        let resource: ResourceKey
    }

    private let reads = Mutex<[Key: Timestamp]>([:])

    /// Whether this read is to be audited: the caller's first of this record within the span.
    func isFirst(_ principal: Principal, _ resource: ResourceKey, at now: Timestamp) -> Bool {
        let key = Key(who: principal.description, resource: resource)
        return reads.withLock { reads in
            if let last = reads[key], last <= now, now.since(last) < Self.span { return false }
            if reads.count >= Self.countMax { reads = reads.filter { now.since($0.value) < Self.span } }
            if reads.count >= Self.countMax { reads.removeAll() }
            reads[key] = now
            return true
        }
    }
}
