import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

/// Ends leases in time and sends bookmarks to idle watches of one store.
public struct StoreUpkeep: Service {
    private let store: any StoreMaintenance
    private let wallClock: any WallClock
    private let clock: any Clock<Duration>
    private let interval: Duration
    private let logger: Logger

    /// Looks at the leases of `store` each `interval`, and sends bookmarks each tenth time.
    public init(
        store: any StoreMaintenance, wallClock: any WallClock = SystemWallClock(),
        clock: any Clock<Duration> = ContinuousClock(), interval: Duration = .seconds(1), logger: Logger
    ) {
        self.store = store
        self.wallClock = wallClock
        self.clock = clock
        self.interval = interval
        self.logger = logger
    }

    /// Runs until cancelled or shut down.
    public func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var round = 0
            while true {
                try await clock.sleep(for: interval)
                do {
                    try await store.expireLeases(now: wallClock.now)
                } catch {
                    logger.warning("leases could not be ended", metadata: ["error": "\(error)"])
                }
                round += 1
                if round.isMultiple(of: 10) { store.sendBookmarks() }
            }
        }
    }
}
