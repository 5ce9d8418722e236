import AgentPort
import AgentProtocol
import BareMetal
import CatalogBareMetal
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// Looks each second after what streams owe the catalog, and sends agents on from a conductor that is cut off from it.
///
/// A stream whose beginning or end was not written down, as the store gave no answer, is told again until it is. A conductor
/// that has not reached its store for as long as its own record lives is gone to all others, and after a minute its nodes
/// are too: so their agents are asked to look for another conductor, some a second, since those come to few.
struct StreamUpkeep: Service {
    let hub: AgentHub
    let reachesStore: @Sendable () -> Bool

    private static let interval = Duration.seconds(1)

    /// Looks until it is cancelled or shut down.
    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var evacuation = Evacuation()
            while true {
                try await Task.sleep(for: Self.interval)
                let isReached = reachesStore()
                let count = evacuation.places(reachesStore: isReached, at: .now)
                hub.ledger.isCutOff = count > 0
                if count > 0 { hub.sendOn(count) }
                if isReached { await hub.tellUntold() }
            }
        }
    }

    /// How many agents are sent on, from look to look; pure.
    struct Evacuation: Sendable, Hashable {
        /// How long the store has to be away first.
        static let patience = ConductorRecord.timeToLive
        /// The most of one look: 5,000 are gone well before the minute in which they are only unknown is over.
        static let countMax = 200

        private var lost: ContinuousClock.Instant?

        mutating func places(reachesStore: Bool, at now: ContinuousClock.Instant) -> Int {
            guard !reachesStore else {
                lost = nil
                return 0
            }
            let since = lost ?? now
            lost = since
            return now - since >= Self.patience ? Self.countMax : 0
        }
    }
}

/// What this conductor knows of its streams that the catalog does not.
final class StreamLedger: Sendable {
    private struct State {
        /// By node the number of the session whose beginning or end could not be told.
        var untold: [NodeID: UInt64] = [:]
        var isCutOff = false
    }

    private let state = Mutex(State())

    /// Whether this conductor is gone to the others, as it does not reach the store.
    var isCutOff: Bool {
        get { state.withLock { $0.isCutOff } }
        set { state.withLock { $0.isCutOff = newValue } }
    }

    func add(_ node: NodeID, _ session: UInt64) {
        state.withLock { $0.untold[node] = max($0.untold[node] ?? 0, session) }
    }

    /// Takes out all that could not be told.
    func takeUntold() -> [NodeID: UInt64] {
        state.withLock { state in
            defer { state.untold = [:] }
            return state.untold
        }
    }
}

extension AgentHub {
    /// Asks up to `count` agents to look for another conductor.
    func sendOn(_ count: Int) {
        let nodes = newest.nodes(among: .all).prefix(count)
        guard !nodes.isEmpty else { return }
        logger.warning("\(nodes.count) agents are sent to other conductors, as this one does not reach its store")
        for node in nodes { feed.dismiss(node, Self.cutOff, retryAfterSeconds: 0) }
    }

    static let cutOff = "this conductor does not reach its store: another may"

    /// Tells the catalog what it could not be told: of each node as it is now.
    func tellUntold() async {
        var left = ledger.takeUntold()
        while let (node, session) = left.popFirst() {
            do {
                if let (number, hello) = newest.newest(of: node) {
                    try await controller.submit(
                        .agentConnected(hello, Node.Stream(conductor: conductor, number: number)), to: node)
                } else {
                    try await controller.submit(
                        .agentDisconnected(Node.Stream(conductor: conductor, number: session)), to: node)
                }
            } catch {
                logger.log(level: error.logLevel(.warning), "\(node): its stream's change is told later: \(error)")
                // The others would fail likewise, each after a while.
                left[node] = session
                for (node, session) in left { ledger.add(node, session) }
                return
            }
        }
    }
}
