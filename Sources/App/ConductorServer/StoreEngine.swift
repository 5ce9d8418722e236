import AgentProtocol
import ControlPlane
import Primitives
import ReconcileRuntime
import ResourceModel
import ServiceLifecycle
import StoreEtcd
import StoreMembers
import StoreSQLite

/// The store that a conductor works on, with what its engine needs and tells.
struct StoreEngine: Sendable {
    let store: any ResourceStore
    /// Whether other conductors work on the same store.
    let isShared: Bool
    /// What runs for the engine, longer than all that use the store.
    let services: [any Service]
    /// The engine's figures.
    let samples: @Sendable () -> [MetricsReport.Sample]
    /// Whether writes succeed, as far as is known.
    let isWritable: @Sendable () -> Bool
    /// Whether it has been reached in the last seconds.
    var isReachable: @Sendable () -> Bool = { true }
    /// The members that the store is made of; nil: it has none.
    var membership: (any StoreMembership)?
    /// Has it ask these members from now on, the first by preference; nil: it has none.
    var follow: (@Sendable ([SocketAddress]) throws -> Void)?

    /// The conductor as its site can move away from it; nil: the store is a cluster already.
    var seed: SiteSeed?

    /// A file of this conductor's own, behind the gate of `seed`. While that takes no writes for seconds, on purpose, nobody
    /// is to send new work here; when it may be the past, agents are sent on.
    static func embedded(_ seed: SiteSeed, _ watch: StoreWatch) -> StoreEngine {
        StoreEngine(
            store: seed.gate, isShared: false, services: [watch], samples: { watch.samples },
            isWritable: { watch.isWritable && !seed.isReadOnly }, isReachable: { seed.gate.position != .shut },
            seed: seed)
    }

    /// A cluster that all conductors of the site work on, whose members are of the same scheme as those it was opened with.
    static func shared(_ store: EtcdStore, isEncrypted: Bool) -> StoreEngine {
        let isWritable: @Sendable () -> Bool = { takesWrites(store.health) }
        let scheme = isEncrypted ? "https" : "http"
        return StoreEngine(
            store: store, isShared: true, services: [store],
            samples: { samples(of: store.health) }, isWritable: isWritable,
            isReachable: { store.isReachable }, membership: EtcdMembership(store.administration),
            follow: { members in try store.follow(members.map { "\(scheme)://\($0)" }) })
    }

    /// The figures of a cluster; each sort of warning is told also while there is none.
    static func samples(of health: EtcdStore.Health) -> [MetricsReport.Sample] {
        [.init(name: "muster_store_writable", value: takesWrites(health) ? 1 : 0)]
            + EtcdStore.Warning.Problem.allCases.map { problem in
                .init(
                    name: "muster_store_warnings", labels: ["problem": problem.rawValue],
                    value: Double(health.warnings.count { $0.problem == problem }))
            }
    }

    /// Whether members have a leader and none has run out of the space that it may take. Before the first look it is
    /// taken to be so.
    private static func takesWrites(_ health: EtcdStore.Health) -> Bool {
        let states = health.members.compactMap(\.status)
        guard !health.members.isEmpty else { return true }
        return states.contains { $0.leader != nil }
            && !states.contains { $0.errors.contains { $0.contains("NOSPACE") } }
    }
}
