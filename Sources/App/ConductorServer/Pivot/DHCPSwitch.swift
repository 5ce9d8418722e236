import Primitives
import Synchronization

/// Whether this conductor answers DHCP at all. A site that moves to its controllers has to have nobody who answers from the
/// moment on at which leases are copied.
final class DHCPSwitch: Sendable {
    /// What is wanted now.
    struct Position: Hashable, Sendable {
        /// Whether machines are answered.
        var isOn = true
        /// Rises each time it is switched off: who has begun before ends, and begins anew if it is on again.
        var turn = 0
    }

    private struct State {
        var position = Position()
        /// Those who answer now, and how many have begun in all.
        var answering: Set<Int> = []
        var begun = 0
    }

    /// Between two looks whether the last one has ended.
    private static let lookInterval: Duration = .milliseconds(20)

    private let state = Mutex(State())

    /// What is wanted now.
    var position: Position { state.withLock { $0.position } }

    /// How many answer now.
    var answeringCount: Int { state.withLock { $0.answering.count } }

    /// Does `body`, which answers machines, unless it is off.
    func answer(_ body: () async -> Void) async {
        let number = state.withLock { state -> Int? in
            guard state.position.isOn else { return nil }
            state.begun += 1
            state.answering.insert(state.begun)
            return state.begun
        }
        guard let number else { return }
        await body()
        _ = state.withLock { $0.answering.remove(number) }
    }

    /// Machines are answered again, as soon as whoever answers looks.
    func turnOn() { state.withLock { $0.position.isOn = true } }

    /// Ends all answers; nobody answers any more when it returns.
    ///
    /// Throws `DHCPGoesOn` when they take longer than `limit` to end; it stays off then.
    func turnOff(within limit: Duration = .seconds(10)) async throws {
        state.withLock { state in
            guard state.position.isOn else { return }
            state.position = Position(isOn: false, turn: state.position.turn + 1)
        }
        let end = ContinuousClock.now + limit
        while answeringCount > 0 {
            guard ContinuousClock.now < end else { throw DHCPGoesOn(count: answeringCount, limit: limit) }
            try await Task.sleep(for: Self.lookInterval)
        }
    }
}

/// Servers of DHCP have not ended when they were told to.
struct DHCPGoesOn: UserFacingError, Hashable {
    let count: Int
    let limit: Duration

    var publicMessage: String {
        "DHCP on \(count) segments was told to end and has not within \(limit.components.seconds) s; it is tried again."
    }
}
