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

    /// The kinds whose changes are taken; nil: all.
    private let kinds: Set<String>?

    init(kinds: Set<String>?, keyCountMax: Int, first: CacheChange?) {
        self.kinds = kinds
        self.keyCountMax = keyCountMax
        state = Mutex(State(pending: first))
    }

    func push(_ change: CacheChange) {
        var change = change
        if let kinds, !change.isEverything {
            change.keys = change.keys.filter { kinds.contains($0.kind) }
            guard !change.keys.isEmpty else { return }
        }
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

    /// The joined changes, if there are any.
    func take() -> CacheChange? { state.withLock { $0.pending.take() } }

    /// The joined changes, as soon as there are any; nil when finished or cancelled.
    func next() async -> CacheChange? {
        while await waitForChange() {
            if let change = take() { return change }
        }
        return nil
    }

    /// Returns when there are changes, true, or when it is finished or cancelled, false.
    func waitForChange() async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    let isReady = state.pending != nil || state.isFinished
                    if !isReady { state.waiter = continuation }
                    return isReady
                }
                if isReady { continuation.resume() }
            }
            return state.withLock { !$0.isFinished }
        } onCancel: {
            finish()
        }
    }
}
