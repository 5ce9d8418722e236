import FoundationEssentials
import GRPCCore
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle
import Synchronization

/// The store on an etcd cluster (3.4 and newer), over gRPC.
///
/// - A commit is one etcd transaction and one round trip; its revision is etcd's.
/// - `currentRevision` is a linearizable read. It is the cluster's revision, which also the end of a lease moves, and
///   which the watch is sure to reach: all that moves it lies in the watch's range; where somebody else has moved it, the
///   watch is moved on by a write to the store's mark. Give the store a cluster of its own, and that costs nothing.
/// - Reads are linearizable and made again on another member when one fails; so is all that may be done twice. A commit is
///   made again only where the first member has certainly not done it. Otherwise `StoreError.unavailable` says that
///   nobody knows, and the caller reads before it tries again.
/// - Leases are etcd's, in whole seconds, rounded up, and never shorter than one and a half of the members' election
///   time-out (2 s by default). A lease that ends deletes its documents in one revision.
public final class EtcdStore: ResourceStore, Service {
    /// Names the store: made with its first use of the prefix, the same for every conductor.
    public let identity: String
    let configuration: EtcdConfiguration
    let connections: EtcdConnections
    let keys: EtcdKeys
    let feed: EtcdFeed
    let clock: any WallClock
    let logger: Logger
    private let history: EtcdHistory
    private let state: Mutex<State>

    private struct State {
        /// No later read may show less.
        var seen: Revision
        /// What this process has compacted through.
        var compacted = Revision.zero
        var health = Health()
    }

    /// The cluster as `run` has seen it last.
    public var health: Health { state.withLock { $0.health } }

    /// Whether a member that has a leader has answered in the last seconds.
    public var isReachable: Bool { connections.isReachable }

    /// How often other certificates were taken up since the start.
    public var certificateChanges: Int { connections.certificateChanges }

    /// Notes how the cluster is, and logs what is newly wrong.
    func note(_ health: Health) {
        let known = state.withLock { state in
            defer { state.health = health }
            return state.health.warnings
        }
        for warning in health.warnings where !known.contains(warning) { logger.warning("\(warning.text)") }
    }

    /// Connects, and takes possession of the prefix if nobody has; begins the watch.
    ///
    /// Throws `StoreError.invalid` for a configuration that cannot be right, `.unavailable` when no member answers or it
    /// refuses, `.quotaExceeded` when the cluster takes no writes.
    public static func open(
        _ configuration: EtcdConfiguration, clock: any WallClock = SystemWallClock(), logger: Logger
    ) async throws(StoreError) -> EtcdStore {
        let connections = try EtcdConnections(configuration, logger: logger)
        await connections.awaitFirstAnswer()
        do throws(StoreError) {
            let mark = try await EtcdMark.take(EtcdKeys(prefix: configuration.prefix), connections)
            return EtcdStore(configuration, connections, mark, clock, logger)
        } catch {
            connections.close()
            throw error
        }
    }

    private init(
        _ configuration: EtcdConfiguration, _ connections: EtcdConnections, _ mark: EtcdMark, _ clock: any WallClock,
        _ logger: Logger
    ) {
        self.configuration = configuration
        self.connections = connections
        let keys = EtcdKeys(prefix: configuration.prefix, ahead: mark.content.ahead)
        self.keys = keys
        self.clock = clock
        self.logger = logger
        identity = mark.content.identity
        let start = keys.revision(mark.revision)
        state = Mutex(State(seen: start))
        history = EtcdHistory(
            connections: connections, keys: keys, base: keys.revision(mark.created),
            begun: mark.content.begun == 0 ? .zero : keys.revision(mark.content.begun))
        feed = EtcdFeed(
            startingAt: start, connections: connections, keys: keys, queueMax: configuration.watchQueueMax,
            logger: logger
        ) { () async throws(StoreError) in _ = try await EtcdMark.renew(mark.content, keys, connections) }
        feed.start()
    }

    deinit {
        feed.stop(.unavailable("it has been closed"))
        connections.close()
    }

    /// Lets the store on `configuration`'s prefix, which no conductor has open, begin a new history after what it holds.
    ///
    /// It gets another identity, and all that is committed from now on comes after `beyond`, so that nobody who has seen
    /// the commits of another store, or those that a restored copy of etcd lacks, takes new ones for them. Watches from
    /// before have to list anew. Throws as `open`.
    public static func beginNewHistory(
        _ configuration: EtcdConfiguration, beyond: Revision, logger: Logger
    ) async throws(StoreError) {
        let connections = try EtcdConnections(configuration, logger: logger)
        defer { connections.close() }
        await connections.awaitFirstAnswer()
        let keys = EtcdKeys(prefix: configuration.prefix)
        let mark = try await EtcdMark.take(keys, connections)
        var random = SystemRandomNumberGenerator()
        let now = UInt64(max(0, mark.revision))
        let content = EtcdMark.Content(
            identity: UUIDText.random(using: &random),
            ahead: max(mark.content.ahead, beyond.number > now ? beyond.number - now : 0), begun: mark.revision + 1)
        _ = try await EtcdMark.begin(content, replacing: mark, keys, connections)
    }

    /// Asks the members at these URLs from now on, `https://10.0.0.1:2379`, the first of them by preference.
    ///
    /// Calls that are under way end where they were begun, watches go on elsewhere, and leases are the cluster's. Members that
    /// do not answer yet, or have no vote, are asked nothing. Throws `StoreError.invalid` or `.unavailable`, and changes nothing
    /// then.
    public func follow(_ endpoints: [String]) throws(StoreError) {
        var now = configuration
        now.endpoints = endpoints
        try connections.follow(try now.addresses())
    }

    /// Ends all watches and connections; calls that are under way fail.
    public func close() async throws(StoreError) {
        feed.stop(.unavailable("it has been closed"))
        connections.close()
    }

    public func currentRevision() async throws(StoreError) -> Revision {
        var request = Etcdserverpb_RangeRequest()
        request.key = keys.mark
        request.countOnly = true
        let revision = try await read(request).revision
        feed.reach(revision)
        return revision
    }

    public func get(_ key: ResourceKey) async throws(StoreError) -> Document? {
        var request = Etcdserverpb_RangeRequest()
        request.key = keys.data(key)
        return try await read(request).response.kvs.first.flatMap(keys.document)
    }

    public func list(kind: String?, after: ResourceKey?, limit: Int) async throws(StoreError) -> Page {
        guard limit > 0 else { throw .invalid("a page has at least one document") }
        guard let range = keys.range(kind: kind, after: after) else {
            return Page(documents: [], revision: try await currentRevision(), hasMore: false)
        }
        var request = Etcdserverpb_RangeRequest()
        request.key = range.start
        request.rangeEnd = range.end
        request.limit = Int64(min(limit, StoreLimits.pageCountMax))
        let (response, revision) = try await read(request)
        return Page(
            documents: response.kvs.compactMap(keys.document), revision: revision, hasMore: response.more)
    }

    public func commit(_ transaction: Transaction) async throws(StoreError) -> Revision {
        try transaction.validate()
        let prepared = EtcdTransaction(transaction, keys: keys)
        let response: Etcdserverpb_TxnResponse
        do throws(EtcdFailure) {
            response = try await connections.transact(prepared.request, repeatable: false)
        } catch {
            guard case .refused(.leaseNotFound) = error else { throw StoreError(error) }
            throw .leaseEnded(try await endedLease(of: transaction))
        }
        let revision = keys.revision(response.header.revision)
        note(revision)
        guard response.succeeded else {
            guard let key = prepared.conflict(in: response) else {
                throw .unavailable("etcd refused a transaction whose conditions hold; check its version")
            }
            throw .conflict(key)
        }
        return revision
    }

    public func watch(after revision: Revision) async -> AsyncThrowingStream<WatchBatch, any Error> {
        do throws(StoreError) {
            var (newest, compacted) = state.withLock { ($0.seen, $0.compacted) }
            if revision > newest { newest = try await currentRevision() }
            guard revision <= newest else {
                throw .invalid("revision \(revision) has not been committed yet; the newest is \(newest)")
            }
            guard revision >= compacted || compacted == .zero else { throw .compacted(oldest: compacted) }
        } catch {
            return AsyncThrowingStream { throw error }
        }
        let history = history
        return feed.hub.watch(after: revision) { try await history.read(after: $0, through: $1) }
    }

    public func compact(through revision: Revision) async throws(StoreError) {
        guard keys.revision(revision) > 0 else { return }
        do throws(EtcdFailure) {
            try await connections.compact(through: keys.revision(revision))
        } catch {
            switch error {
            case .refused(.futureRevision):
                throw .invalid("revision \(revision) has not been committed yet")
            case .refused(.compacted): break
            default: throw StoreError(error)
            }
        }
        state.withLock { $0.compacted = max($0.compacted, revision) }
    }

    /// Reads linearizably; throws when etcd shows less than it has shown before.
    private func read(
        _ request: Etcdserverpb_RangeRequest
    ) async throws(StoreError) -> (response: Etcdserverpb_RangeResponse, revision: Revision) {
        let before = state.withLock { $0.seen }
        let response = try await connections.range(request)
        let revision = keys.revision(response.header.revision)
        guard revision >= before else {
            throw .unavailable(
                """
                etcd is at revision \(revision) and has been at \(before): an older copy of it was put in its place; \
                restart every conductor
                """)
        }
        note(revision)
        return (response, revision)
    }

    private func note(_ revision: Revision) { state.withLock { $0.seen = max($0.seen, revision) } }
}
