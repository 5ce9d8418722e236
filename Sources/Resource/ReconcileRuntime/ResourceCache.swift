import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Holds all resources of some kinds in memory, fed by one watch over the whole store.
///
/// Reads are synchronous snapshots and cost the store nothing. What somebody has acknowledged is shown once
/// `barrier()` has returned.
public final class ResourceCache: Service {
    private let store: any ResourceStore
    private let decoders: [String: @Sendable (Document) throws -> any Resource]
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var resources: [String: [String: any Resource]] = [:]
        var revision = Revision.zero
        var isFilled = false
        var waiters: [(revision: Revision, id: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []
        var nextWaiter: UInt64 = 0
        var listeners: [UInt64: AsyncStream<Void>.Continuation] = [:]
    }

    /// The most readers that wait for a revision at once.
    public static let waiterCountMax = 20_000

    /// A cache of `kinds`; empty until `run` has filled it.
    public init(store: any ResourceStore, kinds: [any Resource.Type], logger: Logger) {
        self.store = store
        self.logger = logger
        decoders = Dictionary(uniqueKeysWithValues: kinds.map { ($0.kind, Self.decoder($0)) })
    }

    private static func decoder<R: Resource>(_ type: R.Type) -> @Sendable (Document) throws -> any Resource {
        { document in try Stored<R>(document).value }
    }

    // MARK: Reading

    /// All resources of a type, by name.
    public func all<R: Resource>(_ type: R.Type) -> [R] {
        let found = state.withLock { $0.resources[R.kind] ?? [:] }
        return found.sorted { $0.key < $1.key }.compactMap { $0.value as? R }
    }

    /// The resource `name`, nil when there is none.
    public func get<R: Resource>(_ type: R.Type, _ name: String) -> R? {
        state.withLock { $0.resources[R.kind]?[name] } as? R
    }

    /// The newest revision that the cache shows.
    public var revision: Revision { state.withLock { $0.revision } }

    /// Whether the store has been read once.
    public var isFilled: Bool { state.withLock { $0.isFilled } }

    /// Fires after each change; changes that come quickly are joined. Ends with the cache or the reading task.
    public func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state in
            state.nextWaiter += 1
            state.listeners[state.nextWaiter] = continuation
            return state.nextWaiter
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.listeners.removeValue(forKey: id) }
        }
        continuation.yield()
        return stream
    }

    /// Returns once the cache shows what was committed before the call, by anybody.
    ///
    /// Throws `StoreError.unavailable` when it does not get there within `limit`.
    public func barrier(within limit: Duration = .seconds(10)) async throws {
        try await wait(for: try await store.currentRevision(), within: limit)
    }

    /// Returns once the cache shows `revision`; throws `StoreError.unavailable` after `limit`.
    public func wait(for revision: Revision, within limit: Duration = .seconds(10)) async throws {
        guard self.revision < revision || !state.withLock({ $0.isFilled }) else { return }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.enqueue(revision) }
            group.addTask {
                try await Task.sleep(for: limit)
                throw StoreError.unavailable("the catalog in memory does not catch up with the store; try again")
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func enqueue(_ revision: Revision) async throws {
        let id = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result = state.withLock { state -> Result<Void, any Error>? in
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if state.isFilled, state.revision >= revision { return .success(()) }
                    guard state.waiters.count < Self.waiterCountMax else {
                        return .failure(StoreError.unavailable("too many readers wait for the catalog; try again"))
                    }
                    state.waiters.append((revision, id, continuation))
                    return nil
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume(throwing: CancellationError())
        }
    }

    // MARK: Filling

    /// Lists, then watches, until cancelled; begins anew when the watch was too slow or its history is gone.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    try await self.follow()
                } catch is CancellationError {
                    return
                } catch {
                    self.logger.warning("the catalog is read anew: \(error)")
                    try? await Task.sleep(for: .milliseconds(200))
                }
            }
        }
    }

    private func follow() async throws {
        let start = try await store.currentRevision()
        var found: [String: [String: any Resource]] = [:]
        for kind in decoders.keys {
            var after: ResourceKey?
            while true {
                let page = try await store.list(kind: kind, after: after, limit: StoreLimits.pageCountMax)
                for document in page.documents { found[kind, default: [:]][document.key.name] = decode(document) }
                guard page.hasMore, let last = page.documents.last else { break }
                after = last.key
            }
        }
        let filled = found
        // What changed while the pages were read is in the watch from `start` and is applied again.
        publish { state in
            state.resources = filled
            state.revision = start
            state.isFilled = true
        }
        for try await batch in await store.watch(after: start) { apply(batch) }
    }

    private func apply(_ batch: WatchBatch) {
        let changes = batch.changes.compactMap { change -> (ResourceKey, (any Resource)?)? in
            switch change {
            case .put(let document) where decoders[document.key.kind] != nil: (document.key, decode(document))
            case .deleted(let key) where decoders[key.kind] != nil: (key, nil)
            case .put, .deleted: nil
            }
        }
        publish { state in
            for (key, resource) in changes { state.resources[key.kind, default: [:]][key.name] = resource }
            state.revision = max(state.revision, batch.revision)
        }
    }

    private func decode(_ document: Document) -> (any Resource)? {
        do {
            return try decoders[document.key.kind]?(document)
        } catch {
            logger.error("\(document.key) is left out: \(error)")
            return nil
        }
    }

    private func publish(_ change: (inout State) -> Void) {
        let (ready, listeners) = state.withLock { state in
            change(&state)
            let revision = state.revision
            let ready = state.waiters.filter { $0.revision <= revision }
            state.waiters.removeAll { $0.revision <= revision }
            return (ready, Array(state.listeners.values))
        }
        for waiter in ready { waiter.continuation.resume() }
        for listener in listeners { listener.yield() }
    }
}
