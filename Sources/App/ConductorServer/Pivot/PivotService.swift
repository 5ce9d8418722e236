import AgentPort
import CatalogBareMetal
import ControlPlane
import Logging
import Primitives
import ReconcileRuntime
import ServiceLifecycle
import UnixSignals

/// Carries a pivot out for as long as this conductor serves its site, from each order until the site has moved or is as it
/// was. It ends when the site has moved, and then this conductor has to end too.
struct PivotService: Service {
    let desk: PivotDesk
    let seed: SiteSeed
    let catalog: LiveCatalog
    let hub: AgentHub
    var pauses = Pauses()
    let logger: Logger

    /// How long it waits.
    struct Pauses: Sendable {
        /// Between two looks at what others do.
        var look: Duration = .milliseconds(500)
        /// After failures, ever longer.
        var failure = Backoff(first: .seconds(1), most: .seconds(30))
    }

    func run() async throws {
        let hasMoved = await cancelWhenGracefulShutdown { await follow() }
        guard hasMoved else { return }
        logger.notice("the site has moved to its controllers: agents and machines are sent there")
        seed.letGo()
        hub.letGo()
    }

    /// Carries out what is ordered; true: the site has moved, false: it was cancelled before.
    private func follow() async -> Bool {
        for await _ in catalog.cache.changes(of: [ControlPlaneRecord.self]) {
            if await carryOut() { return true }
        }
        return false
    }

    /// Goes on until nothing is left to do, and tells whether the site has moved.
    private func carryOut() async -> Bool {
        var failure = pauses.failure
        var random = SystemRandomNumberGenerator()
        var waits: PivotStep?
        while !Task.isCancelled {
            do {
                switch try await desk.advance() {
                case .idle, .isDone: return false
                case .hasMoved: return true
                case .took(let step):
                    logger.notice("moving to the controllers: done: \(step)")
                    failure.reset()
                case .waits(let step):
                    if waits != step { logger.notice("moving to the controllers: \(step)") }
                    waits = step
                    try await Task.sleep(for: pauses.look)
                }
            } catch {
                guard !Task.isCancelled else { return false }
                await recover(from: error)
                try? await Task.sleep(for: failure.next(using: &random))
            }
        }
        return false
    }

    /// Lets this conductor serve on if it may, and tells people what is in the way.
    private func recover(from error: any Error) async {
        let problem = PivotProblem(error)
        logger.warning("moving to the controllers: \(problem)")
        do { try await desk.recover() } catch {
            logger.error("this conductor stays shut, as its site may have moved: \(PivotProblem(error))")
            return
        }
        await desk.tell(problem.description)
    }
}

/// What is in a pivot's way, for people.
struct PivotProblem: CustomStringConvertible {
    let description: String

    init(_ error: any Error) { description = (error as? any UserFacingError)?.publicMessage ?? "\(error)" }
}

extension AgentHub {
    /// Sends all agents to the controllers, which they know from their views.
    func letGo() {
        for node in newest.nodes(among: .all) {
            feed.dismiss(node, "the site has moved to its controllers", retryAfterSeconds: 0)
        }
    }
}

extension ConductorParts {
    /// How long what is under way here may take to end once the site has moved; machines get the rest from the controllers.
    private static let farewell: Duration = .seconds(10)

    /// Runs all until SIGTERM, SIGINT or, of a seed, until its site has moved.
    func run(_ services: [any Service]) async throws {
        var members = services.map { ServiceGroupConfiguration.ServiceConfiguration(service: NamedService($0)) }
        if let seed = engine.seed, let pivot {
            let service = PivotService(desk: pivot, seed: seed, catalog: catalog, hub: hub, logger: logger)
            members.append(
                .init(service: NamedService(service), successTerminationBehavior: .gracefullyShutdownGroup))
        }
        let group = ServiceGroup(
            configuration: .init(services: members, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        guard let seed = engine.seed else { return try await group.run() }
        do {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                tasks.addTask {
                    await seed.untilGone()
                    try await Task.sleep(for: Self.farewell)
                }
                defer { tasks.cancelAll() }
                try await tasks.next()
            }
        } catch {
            guard seed.hasLetGo else { throw error }
            logger.info("what was under way was broken off: \(error)")
        }
    }
}
