import Primitives
import ResourceModel
import Synchronization

/// Joins the changes that one subscriber has not taken yet into one.
final class ChangeQueue: Sendable {
    private struct State {
        var pending: CacheChange?
        var isFinished = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state: Mutex<State>
    private let keyCountMax: Int

    init(keyCountMax: Int, first: CacheChange?) {
        self.keyCountMax = keyCountMax
        state = Mutex(State(pending: first))
    }

    func push(_ change: CacheChange) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            var joined = state.pending ?? CacheChange(keys: [], revision: change.revision)
            joined.revision = max(joined.revision, change.revision)
            joined.isEverything = joined.isEverything || change.isEverything
            joined.keys.formUnion(change.keys)
            if joined.keys.count > keyCountMax { joined.isEverything = true }
            if joined.isEverything { joined.keys = [] }
            state.pending = joined
            return state.waiter.take()
        }
        waiter?.resume()
    }

    func finish() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.isFinished = true
            return state.waiter.take()
        }
        waiter?.resume()
    }

    /// The joined changes, as soon as there are any; nil when finished or cancelled.
    func next() async -> CacheChange? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    let isReady = state.pending != nil || state.isFinished
                    if !isReady { state.waiter = continuation }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
            return state.withLock { state in state.isFinished ? nil : state.pending.take() }
        } onCancel: {
            finish()
        }
    }
}
