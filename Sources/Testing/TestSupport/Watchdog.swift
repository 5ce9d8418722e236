import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Ends the process when a test hangs in something that cancelling does not reach.
///
/// Its thread is one of its own, because Swift's pool of threads may be what hangs. It counts the seconds that it sees
/// pass, so that a machine that stood still ends no test.
final class Watchdog: Sendable {
    static let shared = Watchdog()
    /// How long a cancelled test may take to end.
    private static let grace = 10

    private struct Watch: Sendable {
        let limit: Duration
        let file: StaticString
        let line: UInt
        var secondsLeft: Int
    }

    private struct State {
        var watches: [UInt64: Watch] = [:]
        var nextNumber: UInt64 = 0
    }

    private let state = Mutex(State())

    private init() {
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { _ in
                while true {
                    sleep(1)
                    Watchdog.shared.countSecond()
                }
            }, nil)
        precondition(code == 0, "no thread")
    }

    /// Begins to watch something that has to end within `limit` and the grace; returns its number.
    func arm(_ limit: Duration, file: StaticString, line: UInt) -> UInt64 {
        state.withLock { state -> UInt64 in
            state.nextNumber += 1
            state.watches[state.nextNumber] = Watch(
                limit: limit, file: file, line: line, secondsLeft: Int(limit.components.seconds) + 1 + Self.grace)
            return state.nextNumber
        }
    }

    /// It has ended.
    func disarm(_ number: UInt64) { state.withLock { $0.watches[number] = nil } }

    private func countSecond() {
        let overdue = state.withLock { state -> Watch? in
            for number in state.watches.keys { state.watches[number]?.secondsLeft -= 1 }
            return state.watches.values.first { $0.secondsLeft < 0 }
        }
        guard let overdue else { return }
        fatalError(
            "not done within \(overdue.limit), and cancelling it did not end it within \(Self.grace) s more",
            file: overdue.file, line: overdue.line)
    }
}
