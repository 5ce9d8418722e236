import Primitives
import ResourceModel
import Synchronization

/// A store that lives and ends with its process: for tests and the simulator.
///
/// It starts no task: leases end and bookmarks are sent only when `StoreMaintenance` is called.
public final class MemoryStore: StoreMaintenance {
    private let state: Mutex<MemoryState>
    private let hub: WatchHub
    private let clock: any WallClock

    /// An empty store that keeps the last `historyCountMax` commits for watches.
    public init(
        clock: any WallClock = SystemWallClock(), historyCountMax: Int = 10_000,
        watchQueueMax: Int = StoreLimits.watchQueueMax
    ) {
        precondition(historyCountMax > 0, "a store keeps some history")
        state = Mutex(MemoryState(historyCountMax: historyCountMax))
        hub = WatchHub(at: .zero, queueMax: watchQueueMax)
        self.clock = clock
    }

    public func currentRevision() async throws(StoreError) -> Revision { state.withLock { $0.revision } }

    public func get(_ key: ResourceKey) async throws(StoreError) -> Document? { state.withLock { $0.documents[key] } }

    public func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        guard limit > 0 else { throw .invalid("a page has at least one document") }
        return state.withLock { $0.page(kind: kind, after: after, limit: min(limit, StoreLimits.pageCountMax)) }
    }

    public func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        try transaction.validate()
        let now = clock.now
        return try change { (state) throws(StoreError) in try state.commit(transaction, now: now) }
    }

    public func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        let current = state.withLock { $0.revision }
        guard revision <= current else {
            let error = StoreError.invalid("revision \(revision) has not been committed yet; the newest is \(current)")
            return AsyncThrowingStream { throw error }
        }
        return hub.watch(after: revision) { [weak self] after, through in
            guard let self else { throw StoreError.unavailable("it has been closed") }
            return try self.state.withLock { try $0.history(after: after, through: through) }
        }
    }

    public func compact(through revision: Revision) async throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in try state.compact(through: revision) }
    }

    public func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        let now = clock.now
        return try state.withLock { (state) throws(StoreError) in
            try state.grantLease(timeToLive: timeToLive, now: now)
        }
    }

    public func renewLease(_ lease: LeaseID) async throws(StoreError) {
        let now = clock.now
        try state.withLock { (state) throws(StoreError) in try state.renewLease(lease, now: now) }
    }

    public func revokeLease(_ lease: LeaseID) async throws(StoreError) {
        let now = clock.now
        _ = try change { (state) throws(StoreError) in
            try state.requireLease(lease, now: now)
            return state.endLease(lease)
        }
    }

    public func expireLeases(now: Timestamp) async throws(StoreError) {
        while try change({ (state) throws(StoreError) in state.endNextLease(now: now) }) != nil {}
    }

    public func sendBookmarks() { hub.sendBookmarks() }

    /// Changes the state and publishes what came of it before anybody else can change it again.
    private func change<Result>(
        _ body: (inout MemoryState) throws(StoreError) -> (Result, WatchBatch?)
    ) throws(StoreError) -> Result {
        try state.withLock { (state) throws(StoreError) in
            let (result, batch) = try body(&state)
            if let batch { hub.publish(batch) }
            return result
        }
    }
}
