import Synchronization

/// Bounds how much each address has under way; a place comes back when it is let go of, however that ends.
///
/// One machine that opens connections without end is stopped by it, and the others are not.
public final class AddressLimit: Sendable {
    private let counts = Mutex<[String: Int]>([:])
    private let countMax: Int
    private let boundsLoopback: Bool

    /// As many places as `countMax` for each address. The loopback addresses, which only the host itself has, have no
    /// bound unless `boundsLoopback`.
    public init(_ countMax: Int, boundsLoopback: Bool = false) {
        self.countMax = countMax
        self.boundsLoopback = boundsLoopback
    }

    /// A place for `address`, as text; nil when all of its places are taken.
    public func take(_ address: String) -> Place? {
        if !boundsLoopback, address.hasPrefix("127.") || address == "::1" { return Place(nil, address) }
        let isFree = counts.withLock { counts in
            guard counts[address, default: 0] < countMax else { return false }
            counts[address, default: 0] += 1
            return true
        }
        return isFree ? Place(self, address) : nil
    }

    /// The addresses that have places now.
    public var addressCount: Int { counts.withLock { $0.count } }

    private func give(back address: String) {
        counts.withLock { counts in
            let left = (counts[address] ?? 1) - 1
            counts[address] = left > 0 ? left : nil
        }
    }

    /// A place that is taken for as long as this is held.
    public final class Place: Sendable {
        private let limit: AddressLimit?
        private let address: String

        fileprivate init(_ limit: AddressLimit?, _ address: String) {
            self.limit = limit
            self.address = address
        }

        deinit { limit?.give(back: address) }
    }
}
