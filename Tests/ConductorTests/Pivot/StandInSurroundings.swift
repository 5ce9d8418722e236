import AgentProtocol
import CatalogIdentity
import ControlPlane
import Foundation
import Glibc
import Logging
import Primitives
import ReconcileRuntime
import ResourceModel
import StoreEtcd
import Synchronization

@testable import ConductorServer

/// One run of a seed's program in a process of its own, and where it is killed.
struct SeedRun: Codable, Sendable {
    var state: String
    var ports: [Int]
    /// The controllers' store, and the files for it.
    var endpoints: [String]
    var authority: String
    var certificate: String
    var key: String
    var fault: Fault?

    /// Where the process ends itself (SIGKILL), or what does not reach it.
    enum Fault: Codable, Sendable, Hashable {
        /// Before the step number `look`, counted from 1 in each run.
        case look(Int)
        /// Before the transaction that opens the controllers' store.
        case beforeOpening
        /// After it.
        case afterOpening
        /// The first `count` of it do not arrive, and nobody knows.
        case openingLost(count: Int)
    }

    var etcd: EtcdConfiguration {
        EtcdConfiguration(
            endpoints: endpoints, tls: EtcdTLS(authority: authority, certificate: certificate, key: key))
    }

    /// Where a run notes its process.
    var processFile: String { "\(state).pid" }

    /// Serves the site in this process, until it has moved or the fault comes.
    func serve() async throws {
        try "\(getpid())".write(toFile: processFile, atomically: true, encoding: .utf8)
        let parent = getppid()
        // Whoever started it may be killed too.
        let watch = Task.detached {
            while getppid() == parent { try await Task.sleep(for: .milliseconds(200)) }
            kill(getpid(), SIGKILL)
        }
        defer { watch.cancel() }
        var configuration = ConductorConfiguration(stateDirectory: state)
        configuration.apiHost = "127.0.0.1"
        configuration.conductorName = "seed"
        (configuration.ports.api, configuration.ports.boot) = (ports[0], ports[1])
        (configuration.ports.provisioning, configuration.ports.agents) = (ports[2], ports[3])
        configuration.passwordCostExponent = 8
        var logger = Logger(label: "seed") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .notice
        try await Conductor(
            configuration: configuration, logger: logger,
            surroundings: { StandInSurroundings(self, $0) }
        ).run()
    }
}

/// A controller as a pivot sees it, ready from the beginning, whose store is a cluster under test.
final class StandInSurroundings: PivotSurroundings {
    /// How long it stands still before each step, so that clients meet the seed as it is then.
    private static let pause: Duration = .milliseconds(150)

    /// How long a run of the seed waits for clients that write before it does its first step.
    private static let patience: Duration = .seconds(2)
    private static let writeCountMin = 3

    private let run: SeedRun
    private let ground: PivotGround
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var looks = 0
        var openings = 0
        var store: EtcdStore?
    }

    init(_ run: SeedRun, _ ground: PivotGround) {
        self.run = run
        self.ground = ground
        logger = ground.logger
    }

    func controllers() async throws -> [String: PivotController] {
        while !RunningConductor.accepts(run.ports[0]) { try await Task.sleep(for: .milliseconds(20)) }
        try await Task.sleep(for: Self.pause)
        let look = state.withLock { state in
            state.looks += 1
            return state.looks
        }
        if look == 1, ground.hub != nil { try await awaitWrites() }
        if run.fault == .look(look) { Self.die() }
        return ["a": PivotController(address: IPv4Address(0x7F00_0001), isReady: true, hasSecrets: true)]
    }

    private func awaitWrites() async throws {
        let cache = ground.catalog.cache
        let before = cache.all(OperatorToken.self).count
        let end = ContinuousClock.now + Self.patience
        while cache.all(OperatorToken.self).count < before + Self.writeCountMin, ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func agentsBehind(_ revision: Revision) -> Int { 0 }

    func members(at addresses: [SocketAddress]) -> [StoreMember] {
        addresses.map { address in
            StoreMember(
                id: 1, peer: SocketAddress(host: address.host, port: EtcdMemberItem.Port.peer), isLearner: false,
                isStarted: true, isHealthy: true, isCaughtUp: true, isLeader: true)
        }
    }

    func target(at addresses: [SocketAddress]) async throws -> any ResourceStore {
        if let store = state.withLock({ $0.store }) { return Answers(store: store, of: self) }
        let store = try await EtcdStore.open(run.etcd, logger: logger)
        state.withLock { $0.store = store }
        return Answers(store: store, of: self)
    }

    func beginNewHistory(at addresses: [SocketAddress], beyond revision: Revision) async throws {
        await close()
        try await EtcdStore.beginNewHistory(run.etcd, beyond: revision, logger: logger)
    }

    func openingOperations() -> [Transaction.Operation] { [.put(Self.seed, Array("{}".utf8))] }

    func forgetSeed(in target: any ResourceStore) async throws {
        _ = try await target.commit(Transaction(operations: [.delete(Self.seed)]))
    }

    func close() async {
        let store = state.withLock { state in
            defer { state.store = nil }
            return state.store
        }
        try? await store?.close()
    }

    /// What the controllers' store has of the seed.
    static let seed = ResourceKey(kind: "test.seed", name: "here")

    private static func die() -> Never {
        kill(getpid(), SIGKILL)
        while true { usleep(100_000) }
    }

    fileprivate func open(_ store: EtcdStore, _ transaction: Transaction) async throws(StoreError) -> Revision {
        switch run.fault {
        case .beforeOpening: Self.die()
        case .afterOpening:
            _ = try await store.commit(transaction)
            Self.die()
        case .openingLost(let count):
            let number = state.withLock { state in
                state.openings += 1
                return state.openings
            }
            guard number > count else { throw .unavailable("no answer") }
            return try await store.commit(transaction)
        case .look, nil: return try await store.commit(transaction)
        }
    }

    /// The controllers' store, whose opening may fail.
    private struct Answers: ResourceStore {
        let store: EtcdStore
        let of: StandInSurroundings

        func currentRevision() async throws(StoreError) -> Revision { try await store.currentRevision() }
        func get(_ key: ResourceKey) async throws(StoreError) -> Document? { try await store.get(key) }
        func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
            try await store.list(kind: kind, after: after, limit: limit)
        }
        func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
            let opens = transaction.operations.contains(.delete(StoreMigration.mark))
            return opens ? try await of.open(store, transaction) : try await store.commit(transaction)
        }
        func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
            await store.watch(after: revision)
        }
        func compact(through revision: Revision) async throws(StoreError) { try await store.compact(through: revision) }
        func grantLease(timeToLive: Duration) async throws(StoreError) -> LeaseID {
            try await store.grantLease(timeToLive: timeToLive)
        }
        func renewLease(_ lease: LeaseID) async throws(StoreError) { try await store.renewLease(lease) }
        func revokeLease(_ lease: LeaseID) async throws(StoreError) { try await store.revokeLease(lease) }
    }
}
