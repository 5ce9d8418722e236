import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle

/// What only one conductor of a site does. It runs while this conductor leads, made anew for each term over a store that
/// lets nothing in after the term; a conductor that has its store for itself always leads.
struct LeaderWork: Service {
    /// nil: nobody else is there.
    let leadership: Leadership?
    let store: any ResourceStore
    /// All that runs, over the store of a term.
    let services: @Sendable (any ResourceStore) -> [any Service]

    func run() async throws {
        guard let leadership else { return try await Self.run(services(store)) }
        try await leadership.whileLeading { term in
            try await Self.run(services(FencedStore(store, term: term)))
        }
    }

    /// Runs all until cancelled or shut down; throws `LeaderWorkEnded` when one ends by itself, and what one throws.
    private static func run(_ services: [any Service]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for service in services {
                group.addTask {
                    try await service.run()
                    guard Task.isCancelled || Task.isShuttingDownGracefully else {
                        throw LeaderWorkEnded(what: "\(type(of: service))")
                    }
                }
            }
            do { try await group.waitForAll() } catch {
                group.cancelAll()
                throw error
            }
        }
    }
}

/// A part that runs as long as a conductor leads has ended before.
struct LeaderWorkEnded: UserFacingError, Hashable {
    let what: String

    var publicMessage: String { "\(what) has ended by itself, which it must not; start the conductor again." }
}

/// Follows the catalog as long as it runs: does `work` at the start, and after each change of `kinds`.
struct CatalogFollower: Service, CustomStringConvertible {
    /// What is followed, for the log.
    let description: String
    let cache: ResourceCache
    let kinds: [any Resource.Type]
    let work: @Sendable () async -> Void

    func run() async throws {
        await cancelWhenGracefulShutdown { for await _ in cache.changes(of: kinds) { await work() } }
    }
}
