import ControlPlane
import Logging
import Primitives
import ServiceLifecycle

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
            case .failure where watch.isOutdated: failures = 0
            // The term ends.
            case .failure(let error) where error is CancellationError: try? await Task.sleep(for: pauses.first)
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
