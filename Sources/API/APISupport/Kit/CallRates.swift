import HTTPTypes
import Primitives
import Synchronization

/// Bounds how many requests a second each caller makes, of all services together.
///
/// Each caller has a bucket of as many requests as five seconds bring. Of callers there may be any number: buckets that
/// have filled up again tell nothing and are forgotten first.
public final class CallRates: Sendable {
    /// The most callers that are remembered.
    public static let callerCountMax = 50_000
    /// How many seconds' requests a caller may make at once after a pause.
    public static let burstSeconds = 5

    private struct Bucket {
        var requests: Double
        /// Milliseconds of the clock.
        var filled: Int64
    }

    private let perMillisecond: Double
    private let capacity: Double
    private let callerCountMax: Int
    private let clock: any WallClock
    private let buckets = Mutex<[String: Bucket]>([:])

    /// Lets each caller make `perSecond` requests a second (1 at least).
    public init(perSecond: Int, callerCountMax: Int = CallRates.callerCountMax, clock: any WallClock) {
        perMillisecond = Double(max(1, perSecond)) / 1000
        capacity = Double(max(1, perSecond) * Self.burstSeconds)
        self.callerCountMax = callerCountMax
        self.clock = clock
    }

    /// How many callers are remembered.
    public var callerCount: Int { buckets.withLock { $0.count } }

    /// Takes a request from the bucket of `caller`; throws `APIError` 429 that says when to try again.
    public func admit(_ caller: String) throws(APIError) {
        let now = clock.now.millisecondsSinceEpoch
        let lacking = buckets.withLock { buckets in
            if buckets.count >= callerCountMax, buckets[caller] == nil { forget(&buckets, now) }
            return take(from: &buckets[caller, default: Bucket(requests: capacity, filled: now)], now)
        }
        guard let lacking else { return }
        throw .tooManyRequests(
            "You make more requests than are taken of one caller.",
            retryAfter: max(1, Int((lacking / perMillisecond / 1000).rounded(.up))))
    }

    /// What a request lacks; nil: nothing, and it was taken.
    private func take(from bucket: inout Bucket, _ now: Int64) -> Double? {
        // A clock that was set back brings nothing and takes nothing.
        bucket.requests = min(capacity, bucket.requests + Double(max(0, now - bucket.filled)) * perMillisecond)
        bucket.filled = now
        guard bucket.requests >= 1 else { return 1 - bucket.requests }
        bucket.requests -= 1
        return nil
    }

    /// Forgets who could make a whole burst again; everybody, when that are few: then a second look comes too soon.
    private func forget(_ buckets: inout [String: Bucket], _ now: Int64) {
        let left = buckets.filter { _, bucket in
            bucket.requests + Double(max(0, now - bucket.filled)) * perMillisecond < capacity
        }
        buckets = left.count <= callerCountMax / 2 ? left : [:]
    }
}

extension APIError {
    /// A caller does more than is taken of one; `retryAfter` is in seconds.
    public static func tooManyRequests(_ message: String, retryAfter: Int = 1) -> APIError {
        APIError(.tooManyRequests, "too_many_requests", message, headers: [.retryAfter: "\(retryAfter)"])
    }
}
