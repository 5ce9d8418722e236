import Primitives
import ResourceModel
import Synchronization

/// A store that can be shut for a while: writes are refused first, reads too where somebody else may know better.
///
/// While it is shut `inner` is the only way to it.
public final class GatedStore: ResourceStore {
    /// What is let through.
    public enum Position: Hashable, Sendable {
        /// All.
        case open
        /// Reads.
        case readOnly
        /// Nothing: what is stored here may be the past.
        case shut
    }

    /// The store, past the gate.
    public let inner: any ResourceStore
    private let why: String
    private let state = Mutex(State())

    private struct State {
        var position = Position.open
        /// Writes that are under way.
        var writeCount = 0
        /// Those who wait until no write is.
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    /// A gate before `store` that lets through what `position` says; `why` begins what those are told who are refused.
    public init(_ store: any ResourceStore, why: String, position: Position = .open) {
        inner = store
        self.why = why
        state.withLock { $0.position = position }
    }

    /// What is let through now.
    public var position: Position { state.withLock { $0.position } }

    /// Lets through what `position` says. When it returns, no write is under way that it would refuse.
    public func move(to position: Position) async {
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            let isDone = state.withLock { state in
                state.position = position
                if position == .open || state.writeCount == 0 { return true }
                state.waiting.append(done)
                return false
            }
            if isDone { done.resume() }
        }
    }

    private func write<Value: Sendable>(
        _ body: () async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        let isOpen = state.withLock { state in
            guard state.position == .open else { return false }
            state.writeCount += 1
            return true
        }
        guard isOpen else { throw .frozen(why) }
        defer {
            let waiting = state.withLock { state in
                state.writeCount -= 1
                guard state.writeCount == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { state.waiting = [] }
                return state.waiting
            }
            for done in waiting { done.resume() }
        }
        return try await body()
    }

    private func read<Value: Sendable>(
        _ body: () async throws(StoreError) -> Value
    ) async throws(StoreError) -> Value {
        guard position != .shut else { throw .frozen(why) }
        let value = try await body()
        // What was read while it was being shut may be the past by now.
        guard position != .shut else { throw .frozen(why) }
        return value
    }

    public func currentRevision() async throws(StoreError) -> Revision {
        try await read { () throws(StoreError) in try await inner.currentRevision() }
    }

    public func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
        try await read { () throws(StoreError) in try await inner.get(key) }
    }

    public func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        try await read { () throws(StoreError) in try await inner.list(kind: kind, after: after, limit: limit) }
    }

    public func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        try await write { () throws(StoreError) in try await inner.commit(transaction) }
    }

    public func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        await inner.watch(after: revision)
    }

    public func compact(through revision: Revision) async throws(StoreError) {
        try await write { () throws(StoreError) in try await inner.compact(through: revision) }
    }

    public func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
        try await write { () throws(StoreError) in try await inner.grantLease(timeToLive: timeToLive) }
    }

    public func renewLease(_ lease: LeaseID) async throws(StoreError) {
        try await write { () throws(StoreError) in try await inner.renewLease(lease) }
    }

    public func revokeLease(_ lease: LeaseID) async throws(StoreError) {
        try await write { () throws(StoreError) in try await inner.revokeLease(lease) }
    }
}
