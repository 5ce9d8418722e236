import Synchronization

/// Bounds how many of something are under way; a place comes back when its slot is let go of, however that ends.
public final class PlaceLimit: Sendable {
    private let count = Mutex(0)
    private let countMax: Int

    /// As many places as `countMax`.
    public init(_ countMax: Int) { self.countMax = countMax }

    /// How many places are taken now.
    public var taken: Int { count.withLock { $0 } }

    /// A place; nil when all are taken.
    public func take() -> Slot? {
        let isFree = count.withLock { count in
            guard count < countMax else { return false }
            count += 1
            return true
        }
        return isFree ? Slot(self) : nil
    }

    /// A place that is taken for as long as this is held.
    public final class Slot: Sendable {
        private let limit: PlaceLimit

        fileprivate init(_ limit: PlaceLimit) { self.limit = limit }

        deinit { limit.count.withLock { $0 -= 1 } }
    }
}
