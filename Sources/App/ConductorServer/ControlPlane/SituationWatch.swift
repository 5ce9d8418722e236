import Synchronization

/// What a run of the control plane's desk is made for, and what ends the wait for the next one.
final class SituationWatch: Sendable {
    private struct State {
        var situation: SiteControllers.Situation?
        var running: Task<Void, any Error>?
        var isOutdated = false
        /// Whether something has changed that nobody has waited for yet.
        var isChanged = false
        var wait: Task<Void, Never>?
    }

    private let state = Mutex(State())

    /// Whether the last run was broken off because something else is wanted.
    var isOutdated: Bool { state.withLock { $0.isOutdated } }

    /// Notes what is so now; breaks a run off that was made for another wish.
    func note(_ situation: SiteControllers.Situation) {
        state.withLock { state in
            let before = state.situation
            state.situation = situation
            guard before != situation else { return }
            if let before, before.wanted != situation.wanted, let running = state.running {
                state.isOutdated = true
                running.cancel()
            }
            state.isChanged = true
            state.wait?.cancel()
        }
    }

    /// Does `work`, which ends when this is cancelled and when something else is wanted.
    func run(_ work: @escaping @Sendable () async throws -> Void) async -> Result<Void, any Error> {
        // Begun under the lock: a wish that is noted before it is one that the work sees, and one after it breaks it off.
        let task = state.withLock { state in
            let task = Task { try await work() }
            (state.running, state.isOutdated) = (task, false)
            return task
        }
        let result = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        state.withLock { $0.running = nil }
        return result
    }

    /// Returns after the next change that nobody has waited for, or after `limit`, or when this is cancelled.
    func change(within limit: Duration) async {
        let wait = Task { () -> Void in try? await Task.sleep(for: limit) }
        state.withLock { state in
            state.wait = wait
            if state.isChanged { wait.cancel() }
        }
        await withTaskCancellationHandler {
            await wait.value
        } onCancel: {
            wait.cancel()
        }
        state.withLock { ($0.wait, $0.isChanged) = (nil, false) }
    }
}
