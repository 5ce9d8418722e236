import Primitives
import Synchronization

/// Feeds watches from memory after each commit; engines are built with it.
///
/// A watch first replays what was committed before it began, then takes what is published. It holds at most
/// `queueMax` batches that its reader has not taken; when more come, it ends with `StoreError.watchOverflow`.
public final class WatchHub: Sendable {
    /// Reads batches after the first revision, up to and with the second, oldest first.
    ///
    /// It may return the first part only, and must return at least one when there are any. Throws
    /// `StoreError.compacted` when a part of them is gone.
    public typealias History = @Sendable (_ after: Revision, _ through: Revision) async throws -> [WatchBatch]

    private struct State {
        var cursors: [UInt64: WatchCursor] = [:]
        var nextNumber: UInt64 = 0
        var published: Revision
        var ending: StoreError?
    }

    private let state: Mutex<State>
    private let queueMax: Int

    /// A hub of a store that is at `revision`.
    public init(at revision: Revision, queueMax: Int = StoreLimits.watchQueueMax) {
        state = Mutex(State(published: revision))
        self.queueMax = queueMax
    }

    /// The newest revision handed to watches.
    public var published: Revision { state.withLock { $0.published } }

    /// How many watches are open.
    public var watchCount: Int { state.withLock { $0.cursors.count } }

    /// A watch of all commits after `revision`; a bookmark follows when the replay is done.
    public func watch(after revision: Revision, history: @escaping History) -> AsyncThrowingStream<
        WatchBatch, any Error
    > {
        let handle = state.withLock { state -> WatchHandle in
            let cursor = WatchCursor(after: revision, replayThrough: state.published, queueMax: queueMax, history)
            if let ending = state.ending {
                cursor.end(ending)
            } else {
                state.cursors[state.nextNumber] = cursor
            }
            state.nextNumber += 1
            return WatchHandle(hub: self, number: state.nextNumber - 1, cursor: cursor)
        }
        return AsyncThrowingStream { try await handle.cursor.next() }
    }

    /// Hands a commit to all watches; call it in the order of revisions, after the commit is durable.
    public func publish(_ batch: WatchBatch) {
        state.withLock { state in
            state.published = max(state.published, batch.revision)
            for (number, cursor) in state.cursors where !cursor.push(batch) {
                state.cursors[number] = nil
            }
        }
    }

    /// Tells idle watches how far they have come.
    public func sendBookmarks() {
        state.withLock { state in
            let bookmark = WatchBatch(revision: state.published, changes: [])
            for cursor in state.cursors.values { cursor.pushBookmark(bookmark) }
        }
    }

    /// Ends with `error` the watches that have not come to `revision`: something before it is lost. The others go on, and
    /// later ones begin after it.
    public func interrupt(_ error: StoreError, resumingAt revision: Revision) {
        state.withLock { state in
            for (number, cursor) in state.cursors where cursor.position < revision {
                cursor.end(error)
                state.cursors[number] = nil
            }
            state.published = max(state.published, revision)
        }
    }

    /// Ends all watches, and those begun later, with `error`.
    public func end(_ error: StoreError) {
        state.withLock { state in
            state.ending = error
            for cursor in state.cursors.values { cursor.end(error) }
            state.cursors = [:]
        }
    }

    fileprivate func remove(_ number: UInt64) { state.withLock { $0.cursors[number] = nil } }
}

/// Takes its watch out of the hub when the reader lets go of the stream.
private final class WatchHandle: Sendable {
    let cursor: WatchCursor
    private let hub: WatchHub
    private let number: UInt64

    init(hub: WatchHub, number: UInt64, cursor: WatchCursor) {
        self.hub = hub
        self.number = number
        self.cursor = cursor
    }

    deinit { hub.remove(number) }
}

/// One watch: where its reader is, and what waits for it.
private final class WatchCursor: Sendable {
    private struct State {
        var position: Revision
        var replayThrough: Revision
        var replayed: [WatchBatch] = []  // newest first
        var live = FIFO<WatchBatch>()
        var isBookmarkDue = true
        var ending: StoreError?
        var isCancelled = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private enum Step {
        case deliver(WatchBatch)
        case replay(after: Revision, through: Revision)
        case fail(StoreError)
        case finish
        case wait
    }

    private let state: Mutex<State>
    private let queueMax: Int
    private let history: WatchHub.History

    init(after revision: Revision, replayThrough: Revision, queueMax: Int, _ history: @escaping WatchHub.History) {
        state = Mutex(State(position: revision, replayThrough: replayThrough))
        self.queueMax = queueMax
        self.history = history
    }

    /// The next batch, nil when the reading task is cancelled.
    func next() async throws -> WatchBatch? {
        while true {
            switch nextStep() {
            case .deliver(let batch): return batch
            case .fail(let error): throw error
            case .finish: return nil
            case .replay(let after, let through):
                let batches: [WatchBatch]
                do {
                    batches = try await history(after, through)
                } catch is CancellationError {
                    return nil
                }
                state.withLock { state in
                    state.replayed = batches.reversed()
                    if batches.isEmpty { state.position = through }
                }
            case .wait: await waitForMore()
            }
        }
    }

    /// All up to here has been given to the reader, or was known to it.
    var position: Revision { state.withLock { $0.position } }

    /// False when the watch is over.
    func push(_ batch: WatchBatch) -> Bool {
        let (isOpen, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
            guard state.ending == nil, !state.isCancelled else { return (false, nil) }
            if state.live.count < queueMax {
                state.live.append(batch)
            } else {
                state.live.removeAll()
                state.replayed = []
                state.ending = .watchOverflow
            }
            return (state.ending == nil, state.waiter.take())
        }
        waiter?.resume()
        return isOpen
    }

    func pushBookmark(_ bookmark: WatchBatch) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.live.count == 0 else { return nil }
            state.isBookmarkDue = true
            return state.waiter.take()
        }
        waiter?.resume()
    }

    func end(_ error: StoreError) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.ending = state.ending ?? error
            return state.waiter.take()
        }
        waiter?.resume()
    }

    private func nextStep() -> Step {
        state.withLock { state in
            if state.isCancelled { return .finish }
            if let batch = state.replayed.popLast() {
                state.position = batch.revision
                return .deliver(batch)
            }
            if state.ending == .watchOverflow { return .fail(.watchOverflow) }
            if state.position < state.replayThrough {
                return .replay(after: state.position, through: state.replayThrough)
            }
            while let batch = state.live.popFirst() {
                guard batch.revision > state.position else { continue }
                state.position = batch.revision
                return .deliver(batch)
            }
            if let ending = state.ending { return .fail(ending) }
            guard state.isBookmarkDue else { return .wait }
            state.isBookmarkDue = false
            return .deliver(WatchBatch(revision: state.position, changes: []))
        }
    }

    private func waitForMore() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    let isReady =
                        state.isCancelled || state.ending != nil || state.live.count > 0 || state.isBookmarkDue
                    if !isReady { state.waiter = continuation }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
                state.isCancelled = true
                return state.waiter.take()
            }
            waiter?.resume()
        }
    }
}
