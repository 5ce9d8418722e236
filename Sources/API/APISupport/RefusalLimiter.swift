import Primitives
import Synchronization

/// Lets one refusal a minute of each sort be recorded, so that those who are refused cannot fill the audit log.
public final class RefusalLimiter<Sort: Hashable & Sendable>: Sendable {
    /// Between two records of one sort.
    public static var interval: Duration { .seconds(60) }
    /// The most sorts that are remembered; then all may be recorded once more.
    public static var countMax: Int { 50_000 }

    private let last = Mutex<[Sort: Timestamp]>([:])

    /// Nothing was recorded yet.
    public init() {}

    /// Whether a refusal of `sort` may be recorded at `now`; the caller records it then.
    public func mayRecord(_ sort: Sort, at now: Timestamp) -> Bool {
        last.withLock { last in
            if let before = last[sort], now.since(before) < Self.interval { return false }
            if last.count >= Self.countMax { last.removeAll() }
            last[sort] = now
            return true
        }
    }
}
