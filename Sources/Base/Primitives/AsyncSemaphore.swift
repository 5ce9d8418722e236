import Synchronization

/// Lets at most so many tasks in at once; the others wait in turn.
///
/// A task that waits is not woken by its cancellation: whoever is in leaves in the end.
public final class AsyncSemaphore: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    /// A semaphore that lets `limit` tasks in, one at least.
    public init(limit: Int) { state = Mutex(State(free: max(1, limit))) }

    /// Waits for a place and takes it; each needs its `leave`.
    public func enter() async {
        await withCheckedContinuation { continuation in
            let mayEnter = state.withLock { state in
                guard state.free == 0 else {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if mayEnter { continuation.resume() }
        }
    }

    /// Gives the place to the one that has waited longest, if any waits.
    public func leave() {
        let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.resume()
    }
}
