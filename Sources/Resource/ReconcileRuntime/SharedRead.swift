import ResourceModel
import Synchronization

/// One read for all who ask at the same time, such that each gets the result of a read that began after it had asked.
///
/// While a read is under way, whoever comes waits for the next one. That is made by the first of those who wait, for all of
/// them: so at most one read is under way, and nobody waits for more than two.
final class SharedRead<Value: Sendable>: Sendable {
    private typealias Waiter = CheckedContinuation<Turn, Never>

    private enum Turn {
        /// Make the read, for these too.
        case read([Waiter])
        /// The read was made.
        case done(Result<Value, StoreError>)
        /// Whoever made the read was cancelled.
        case again
    }

    private struct State {
        var isReading = false
        var waiting: [Waiter] = []
        var counts = SharedReadCounts()
    }

    private let state = Mutex(State())
    private let read: @Sendable () async throws(StoreError) -> Value

    init(_ read: @escaping @Sendable () async throws(StoreError) -> Value) { self.read = read }

    /// What was asked for, and what that has cost, since the start.
    var counts: SharedReadCounts { state.withLock { $0.counts } }
    /// How many wait for the next read.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// The result of a read that begins after this call.
    func value() async throws(StoreError) -> Value {
        state.withLock { $0.counts.asked += 1 }
        while true {
            switch await turn() {
            case .done(let result): return try given(result)
            case .again: continue
            case .read(let others):
                let result: Result<Value, StoreError>
                do { result = .success(try await read()) } catch { result = .failure(error) }
                pass(result, to: others)
                return try given(result)
            }
        }
    }

    private func given(_ result: Result<Value, StoreError>) throws(StoreError) -> Value {
        if case .failure = result, !Task.isCancelled { state.withLock { $0.counts.failed += 1 } }
        return try result.get()
    }

    private func turn() async -> Turn {
        await withCheckedContinuation { waiter in
            let isFirst = state.withLock { state in
                guard !state.isReading else {
                    state.waiting.append(waiter)
                    return false
                }
                state.isReading = true
                state.counts.read += 1
                return true
            }
            if isFirst { waiter.resume(returning: .read([])) }
        }
    }

    /// Hands `result` to those it was read for, and the next read to those who have come meanwhile.
    private func pass(_ result: Result<Value, StoreError>, to others: [Waiter]) {
        let next = state.withLock { state -> [Waiter] in
            defer { state.waiting = [] }
            state.isReading = !state.waiting.isEmpty
            if state.isReading { state.counts.read += 1 }
            return state.waiting
        }
        if let first = next.first { first.resume(returning: .read(Array(next.dropFirst()))) }
        // A cancelled caller's failure is its own.
        var turn = Turn.done(result)
        if case .failure = result, Task.isCancelled { turn = .again }
        for other in others { other.resume(returning: turn) }
    }
}

/// How a shared read is used, in numbers since the start.
public struct SharedReadCounts: Sendable, Hashable {
    /// Who has asked.
    public var asked: UInt64 = 0
    /// The reads that were made for them.
    public var read: UInt64 = 0
    /// Those of `asked` that were told that the store cannot be read.
    public var failed: UInt64 = 0
}
