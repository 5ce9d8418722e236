import Primitives
import ResourceModel

/// What every engine of `ResourceStore` must do, as checks that run against a store made by the caller.
public enum StoreConformance {
    /// Makes an empty store whose watches may be `watchQueueMax` batches behind.
    public typealias Factory = @Sendable (_ clock: any WallClock) async throws -> any ResourceStore
    /// How far a watch of the stores under test may be behind.
    public static let watchQueueMax = 64

    /// One thing that is checked.
    public struct Check: Sendable, CustomStringConvertible {
        /// What must hold.
        public let description: String
        private let body: @Sendable (ConformanceBench) async throws -> Void

        init(_ description: String, _ body: @escaping @Sendable (ConformanceBench) async throws -> Void) {
            self.description = description
            self.body = body
        }

        /// Throws `ConformanceFailure` when it does not hold.
        public func run(_ factory: Factory) async throws {
            let clock = ManualWallClock()
            let bench = ConformanceBench(store: try await factory(clock), clock: clock)
            let body = body
            try await withDeadline(.seconds(60)) { try await body(bench) }
        }
    }

    /// All checks.
    public static let checks = checksWithoutLeases + leaseChecks
    /// All that take no time.
    public static let checksWithoutLeases = commitChecks + readChecks + watchChecks + concurrencyChecks
}

/// An engine does not do what the contract says.
public struct ConformanceFailure: Error, CustomStringConvertible {
    /// What was expected and what happened.
    public let description: String
}

/// A store under test and what the checks do with it.
struct ConformanceBench: Sendable {
    let store: any ResourceStore
    let clock: ManualWallClock

    /// Lets time pass; an engine that ends leases by itself gets real time.
    func pass(_ duration: Duration) async throws {
        clock.advance(by: duration)
        guard let store = store as? any StoreMaintenance else { return try await Task.sleep(for: duration) }
        try await store.expireLeases(now: clock.now)
    }

    /// `count` seconds of a lease's time; less of real time where the engine ends leases by itself.
    func seconds(_ count: Int) -> Duration {
        store is any StoreMaintenance ? .seconds(count) : .milliseconds(400 * count)
    }

    /// Checks that there is no document, soon where the engine ends leases by itself: none ends too early, but all may
    /// end a little late.
    func requireGone(_ key: ResourceKey, _ what: String) async throws {
        if !(store is any StoreMaintenance) {
            try await waitUntil(.seconds(10)) { try await store.get(key) == nil }
        }
        try require(await store.get(key), is: nil, what)
    }

    @discardableResult
    func put(_ keys: ResourceKey..., value: String = "1", lease: LeaseID? = nil) async throws -> Revision {
        try await store.commit(Transaction(operations: keys.map { .put($0, Array(value.utf8), lease: lease) }))
    }

    @discardableResult
    func delete(_ keys: ResourceKey...) async throws -> Revision {
        try await store.commit(Transaction(operations: keys.map { .delete($0) }))
    }

    func value(_ key: ResourceKey) async throws -> String? {
        try await store.get(key).map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// The next `count` commits after `revision`, without bookmarks.
    func commits(_ count: Int, after revision: Revision) async throws -> [WatchBatch] {
        var batches: [WatchBatch] = []
        guard count > 0 else { return batches }
        for try await batch in await store.watch(after: revision) where !batch.isBookmark {
            batches.append(batch)
            if batches.count == count { break }
        }
        return batches
    }
}

func key(_ name: String, kind: String = "test.thing") -> ResourceKey { ResourceKey(kind: kind, name: name) }

func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    guard condition else { throw ConformanceFailure(description: what()) }
}

func require<Value: Equatable>(_ value: Value, is expected: Value, _ what: String) throws {
    guard value == expected else {
        throw ConformanceFailure(description: "\(what): expected \(expected), got \(value)")
    }
}

/// Checks that `body` throws a `StoreError` that `isExpected`.
func requireError<Result>(
    _ what: String, _ isExpected: (StoreError) -> Bool, _ body: () async throws -> Result
) async throws {
    do {
        _ = try await body()
    } catch let error as StoreError where isExpected(error) {
        return
    } catch {
        throw ConformanceFailure(description: "\(what): got the error \(error)")
    }
    throw ConformanceFailure(description: "\(what): no error")
}

extension StoreError {
    var isLimit: Bool { if case .limitExceeded = self { true } else { false } }
    var isInvalid: Bool { if case .invalid = self { true } else { false } }
    var isCompacted: Bool { if case .compacted = self { true } else { false } }
}
