import ControlPlane
import Logging
import Primitives
import ServiceLifecycle
import Synchronization

/// Makes the site's controllers what they were asked to be, as long as this conductor leads.
///
/// It settles at the start and after each change of what was asked for or of what it hangs on, one run after the other. A
/// run that was begun for another wish is broken off; one that fails is made again, later each time. Once all is settled it
/// looks now and then, for what no change tells: a member of the store that does not answer.
struct ControlPlaneController: Service {
    /// Goes on until all is as it was asked for; see `ControlPlaneDesk.settle`.
    let settle: @Sendable () async throws -> Void
    /// What is asked for, and what it hangs on, from change to change.
    let situations: @Sendable () -> AsyncStream<SiteControllers.Situation>
    var pauses = Pauses()
    let logger: Logger

    /// How long it waits between two runs.
    struct Pauses: Sendable {
        /// After the first failure, and twice as long after each further one.
        var first: Duration = .seconds(1)
        /// After many.
        var longest: Duration = .seconds(30)
        /// Once all is settled.
        var settled: Duration = .seconds(60)
        /// Between two changes that are looked at: nodes change often.
        var changes: Duration = .milliseconds(200)

        /// After the failure `number`, from 1.
        func after(failure number: Int) -> Duration { min(longest, first * (1 << min(number - 1, 10))) }
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            let watch = SituationWatch()
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    for await situation in situations() {
                        watch.note(situation)
                        try? await Task.sleep(for: pauses.changes)
                    }
                }
                group.addTask { await keep(watch) }
                await group.next()
                group.cancelAll()
            }
        }
    }

    private func keep(_ watch: SituationWatch) async {
        var failures = 0
        var told: String?
        while !Task.isCancelled {
            switch await watch.run(settle) {
            case .success:
                (failures, told) = (0, nil)
                await watch.change(within: pauses.settled)
            case .failure(let error) where error is CancellationError || watch.isOutdated: failures = 0
            case .failure(ControlPlaneDesk.Failure.noControlPlane): await watch.change(within: pauses.settled)
            case .failure(let error):
                failures += 1
                let words = (error as? any UserFacingError)?.publicMessage ?? "\(error)"
                if told != words { logger.warning("the controllers are not as they were asked for yet: \(words)") }
                told = words
                // Not at once even when all changes: a step that fails may itself change something.
                try? await Task.sleep(for: pauses.first)
                await watch.change(within: pauses.after(failure: failures) - pauses.first)
            }
        }
    }
}

/// What a run is made for, and what ends the wait for the next one.
private final class SituationWatch: Sendable {
    private struct State {
        var situation: SiteControllers.Situation?
        var running: Task<Void, any Error>?
        var isOutdated = false
    }

    private let state = Mutex(State())
    private let bell: AsyncStream<Void>
    private let ring: AsyncStream<Void>.Continuation

    init() { (bell, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    /// Whether the last run was broken off because something else is wanted.
    var isOutdated: Bool { state.withLock { $0.isOutdated } }

    /// Notes what is so now; breaks a run off that was made for another wish.
    func note(_ situation: SiteControllers.Situation) {
        let (isNew, outdated) = state.withLock { state -> (Bool, Task<Void, any Error>?) in
            let before = state.situation
            state.situation = situation
            guard let before, before != situation else { return (before == nil, nil) }
            guard before.wanted != situation.wanted, let running = state.running else { return (true, nil) }
            state.isOutdated = true
            return (true, running)
        }
        outdated?.cancel()
        if isNew { ring.yield() }
    }

    /// Does `work`, which ends when this is cancelled and when something else is wanted.
    func run(_ work: @escaping @Sendable () async throws -> Void) async -> Result<Void, any Error> {
        let task = Task { try await work() }
        state.withLock { ($0.running, $0.isOutdated) = (task, false) }
        let result = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        state.withLock { $0.running = nil }
        return result
    }

    /// Returns after the next change that no run has seen, or after `limit`.
    func change(within limit: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [bell] in for await _ in bell { return } }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }
}
