import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Keeps all resources of chosen kinds in memory, fed by one watch over the whole store.
///
/// Reads are synchronous and cost no query. Call `barrier()` before a read that must show everything that any
/// conductor has acknowledged. The cache follows the store only while `run()` runs.
public final class ResourceCache: Service {
    /// The most keys that a subscriber's change names; beyond, it is told to look at everything.
    public static let changedKeyCountMax = 10_000
    /// The most readers that wait for a revision at once.
    public static let waiterCountMax = 20_000
    /// The most pages of the store that are decoded at once while it is read.
    private static let decodingCountMax = 4

    private struct Waiter {
        let revision: Revision
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var snapshot: CacheSnapshot
        var waiters: [UInt64: Waiter] = [:]
        var subscribers: [UInt64: ChangeQueue] = [:]
        var nextNumber: UInt64 = 0
        var cancelled: Set<UInt64> = []

        mutating func number() -> UInt64 {
            nextNumber += 1
            return nextNumber
        }

        func hasReached(_ revision: Revision) -> Bool { snapshot.isLoaded && snapshot.revision >= revision }
    }

    private let state: Mutex<State>
    private let reads: SharedRead<Revision>
    private let store: any ResourceStore
    private let decoder: CacheSnapshot  // empty; knows the kinds
    private let clock: any Clock<Duration>
    private let logger: Logger

    /// A cache of `kinds` in `store`, with `indexes` of them; `clock` times deadlines and the pauses after failures.
    public init(
        store: any ResourceStore, kinds: [any Resource.Type], indexes: [AnyCacheIndex] = [],
        clock: any Clock<Duration> = ContinuousClock(), logger: Logger
    ) {
        self.store = store
        reads = SharedRead { () async throws(StoreError) in try await store.currentRevision() }
        decoder = CacheSnapshot(kinds: kinds, indexes: indexes)
        self.clock = clock
        self.logger = logger
        state = Mutex(State(snapshot: decoder))
    }

    /// All commits up to this one are in the cache; zero before the store has been read.
    public var revision: Revision { state.withLock { $0.snapshot.revision } }

    /// Everything as of one revision, for reads that belong together.
    public func snapshot() -> CacheSnapshot { state.withLock { $0.snapshot } }

    /// All resources of a type in order of their names.
    public func all<R: Resource>(_ type: R.Type) -> [R] { snapshot().all(type) }

    /// The resource `name`, nil when there is none.
    public func get<R: Resource>(_ type: R.Type, _ name: String) -> R? { snapshot().get(type, name) }

    /// The resource `name` with all its stored fields, to be changed and written back; nil when there is none.
    public func stored<R: Resource>(_ type: R.Type, _ name: String) -> Stored<R>? { snapshot().stored(type, name) }

    /// Returns when everything that was committed before the call is in the cache.
    ///
    /// All who wait at the same time share one linearizable read of the store, which begins after they have come: one that
    /// was under way before may know less than what was acknowledged before the call.
    ///
    /// Throws `StoreError.unavailable` when that takes longer than `limit`, and what the store throws.
    public func barrier(within limit: Duration = .seconds(10)) async throws {
        try await wait(for: reads.value(), within: limit)
    }

    /// How many barriers there were, and how many reads of the store's revision they have cost.
    public var barrierCounts: SharedReadCounts { reads.counts }

    /// Returns when the cache has reached `revision`; throws `StoreError.unavailable` after `limit`.
    public func wait(for revision: Revision, within limit: Duration = .seconds(10)) async throws {
        if state.withLock({ $0.hasReached(revision) }) { return }
        let clock = clock
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await self.enqueue(revision) }
            group.addTask {
                try await clock.sleep(for: limit)
                throw StoreError.unavailable(
                    "the conductor's memory is behind revision \(revision); try again in a few seconds")
            }
            try await group.next()
        }
    }

    /// The changes from now on, beginning with one that says everything once the store has been read.
    ///
    /// Changes that the subscriber has not taken are joined into one, so that a slow one costs no memory.
    public func keyChanges() -> AsyncStream<CacheChange> {
        let subscription = subscribe()
        return AsyncStream { await subscription.queue.next() }
    }

    /// As `keyChanges`, without the keys; of these kinds only, nil for all.
    public func changes(of kinds: [any Resource.Type]? = nil) -> AsyncStream<Void> { changes(of: kinds) { _ in } }

    /// As `keyChanges`, each turned into what `form` makes of it; of these kinds only, nil for all.
    public func changes<Form: Sendable>(
        of kinds: [any Resource.Type]? = nil, as form: @escaping @Sendable (CacheChange) -> Form
    ) -> AsyncStream<Form> {
        let subscription = subscribe(to: kinds)
        return AsyncStream { await subscription.queue.next().map(form) }
    }

    /// Follows the changes together with what the cache shows: each look takes both as of one moment.
    public func follower() -> CacheFollower { CacheFollower(subscribe()) }

    /// What the cache shows now, and what has changed since `subscription` was asked last.
    fileprivate func take(_ subscription: Subscription) -> (CacheSnapshot, CacheChange?) {
        state.withLock { state in (state.snapshot, subscription.queue.take()) }
    }

    private func subscribe(to kinds: [any Resource.Type]? = nil) -> Subscription {
        let kinds = kinds.map { Set($0.map { $0.kind }) }
        return state.withLock { state -> Subscription in
            let first =
                state.snapshot.isLoaded
                ? CacheChange(keys: [], revision: state.snapshot.revision, isEverything: true) : nil
            let queue = ChangeQueue(kinds: kinds, keyCountMax: Self.changedKeyCountMax, first: first)
            let number = state.number()
            state.subscribers[number] = queue
            return Subscription(cache: self, number: number, queue: queue)
        }
    }

    /// Follows the store until cancelled or shut down; failures of the store are logged and tried again.
    public func run() async throws {
        await cancelWhenGracefulShutdown { await self.follow() }
        let (subscribers, waiters) = state.withLock { state in
            defer { (state.subscribers, state.waiters) = ([:], [:]) }
            return (state.subscribers.values, state.waiters.values)
        }
        for subscriber in subscribers { subscriber.finish() }
        for waiter in waiters { waiter.continuation.resume(throwing: CancellationError()) }
    }

    private func follow() async {
        var backoff = Backoff(first: .milliseconds(100), factor: 2, most: .seconds(10))
        var random = SystemRandomNumberGenerator()
        var isRelisting = !snapshot().isLoaded
        while !Task.isCancelled {
            do {
                if isRelisting {
                    try await load()
                    isRelisting = false
                }
                for try await batch in await store.watch(after: revision) {
                    apply(batch)
                    backoff.reset()
                }
            } catch {
                guard !Task.isCancelled else { return }
                switch error as? StoreError {
                case .watchOverflow: continue
                case .compacted, .invalid: isRelisting = true
                default: break
                }
                logger.warning("the cache lost the store and tries again", metadata: ["error": "\(error)"])
                try? await clock.sleep(for: backoff.next(using: &random))
            }
        }
    }

    /// Reads all documents of the kinds anew.
    ///
    /// Pages are of different revisions, so the commits from before the first page to after the last are replayed
    /// before anything is shown. Whoever answers from the cache loads it first; `run` goes on from there.
    ///
    /// Throws what the store throws.
    public func load() async throws {
        let start = try await store.currentRevision()
        var fresh = decoder
        try await withThrowingTaskGroup(of: [CacheSnapshot.Change].self) { group in
            var runningCount = 0
            for kind in decoder.kinds.keys.sorted() {
                var after: ResourceKey?
                while true {
                    let page = try await store.list(kind: kind, after: after, limit: StoreLimits.pageCountMax)
                    if runningCount == Self.decodingCountMax, let changes = try await group.next() {
                        _ = fresh.apply(changes, at: start)
                        runningCount -= 1
                    }
                    group.addTask { [decoder] in decoder.prepare(page.documents.map { .put($0) }) }
                    runningCount += 1
                    guard page.hasMore, let last = page.documents.last else { break }
                    after = last.key
                }
            }
            for try await changes in group { _ = fresh.apply(changes, at: start) }
        }
        fresh.isLoaded = true
        fresh.revision = start
        let end = try await store.currentRevision()
        if start < end {
            for try await batch in await store.watch(after: start) {
                _ = fresh.apply(fresh.prepare(batch.changes), at: batch.revision)
                if fresh.revision >= end { break }
            }
        }
        show(fresh)
    }

    func apply(_ batch: WatchBatch) {
        let changes = decoder.prepare(batch.changes)
        let (woken, failed) = state.withLock { state -> ([Waiter], [StoreError]) in
            let keys = state.snapshot.apply(changes, at: batch.revision)
            let failed = keys.compactMap { state.snapshot.undecodable[$0] }
            return (notify(&state, CacheChange(keys: keys, revision: batch.revision)), failed)
        }
        for waiter in woken { waiter.continuation.resume() }
        log(failed)
    }

    private func show(_ fresh: CacheSnapshot) {
        let woken = state.withLock { state -> [Waiter] in
            let isFirst = !state.snapshot.isLoaded
            let keys = isFirst ? [] : fresh.keys(differingFrom: state.snapshot)
            state.snapshot = fresh
            return notify(&state, CacheChange(keys: keys, revision: fresh.revision, isEverything: isFirst))
        }
        for waiter in woken { waiter.continuation.resume() }
        log(fresh.undecodable.values)
    }

    private func log(_ failed: some Sequence<StoreError>) {
        for error in failed { logger.error("a document is left out of the cache", metadata: ["error": "\(error)"]) }
    }

    private func notify(_ state: inout State, _ change: CacheChange) -> [Waiter] {
        if change.isEverything || !change.keys.isEmpty {
            for subscriber in state.subscribers.values { subscriber.push(change) }
        }
        let reached = state.waiters.filter { state.hasReached($0.value.revision) }
        for number in reached.keys { state.waiters[number] = nil }
        return reached.sorted { $0.key < $1.key }.map(\.value)
    }

    private func enqueue(_ revision: Revision) async throws {
        let number = state.withLock { $0.number() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let outcome = state.withLock { state -> Result<Void, any Error>? in
                    if state.cancelled.remove(number) != nil { return .failure(CancellationError()) }
                    if state.hasReached(revision) { return .success(()) }
                    guard state.waiters.count < Self.waiterCountMax else {
                        return .failure(StoreError.unavailable("too many readers wait for it; try again"))
                    }
                    state.waiters[number] = Waiter(revision: revision, continuation: continuation)
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                if let waiter = state.waiters.removeValue(forKey: number) { return waiter }
                state.cancelled.insert(number)
                return nil
            }
            waiter?.continuation.resume(throwing: CancellationError())
        }
        _ = state.withLock { $0.cancelled.remove(number) }
    }

    private func unsubscribe(_ number: UInt64) { state.withLock { $0.subscribers[number] = nil } }

    /// Ends the subscription when the stream is let go.
    fileprivate final class Subscription: Sendable {
        let queue: ChangeQueue
        private weak let cache: ResourceCache?
        private let number: UInt64

        init(cache: ResourceCache, number: UInt64, queue: ChangeQueue) {
            self.cache = cache
            self.number = number
            self.queue = queue
        }

        deinit { cache?.unsubscribe(number) }

        func take() -> (CacheSnapshot, CacheChange?)? { cache?.take(self) }
    }
}

/// Looks at a cache from change to change; see `ResourceCache.follower`.
public final class CacheFollower: Sendable {
    private let subscription: ResourceCache.Subscription

    fileprivate init(_ subscription: ResourceCache.Subscription) { self.subscription = subscription }

    /// What the cache shows now and what has changed since the last look, nil for nothing; nil once the cache is gone.
    public func look() -> (now: CacheSnapshot, change: CacheChange?)? { subscription.take().map { ($0, $1) } }

    /// One element whenever there is something to look at; ends with the cache's `run`.
    public func news() -> AsyncStream<Void> {
        let queue = subscription.queue
        return AsyncStream { await queue.waitForChange() ? () : nil }
    }
}
