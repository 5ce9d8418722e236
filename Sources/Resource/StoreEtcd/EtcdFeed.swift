import GRPCCore
import Logging
import Primitives
import ResourceModel
import Synchronization

/// The one watch over the store's prefix, from which all watches of this process are fed.
///
/// It asks for no progress notifications: members before 3.4.25 may send one before the events that it speaks of. What it
/// has reached is the revision of the last event it was sent. Where etcd's revision has moved without an event (somebody
/// else uses the cluster), the mark is written anew, and its event tells.
final class EtcdFeed: Sendable {
    let hub: WatchHub
    private let connections: EtcdConnections
    private let keys: EtcdKeys
    private let writeMark: @Sendable () async throws(StoreError) -> Void
    private let logger: Logger
    private let state: Mutex<State>

    private struct State {
        /// All events up to here have been published; it is an event's revision.
        var position: Revision
        /// The revision that somebody waits for.
        var wanted = Revision.zero
        var isNudging = false
        var task: Task<Void, Never>?
        var nudge: Task<Void, Never>?
    }

    /// A feed that begins with the event at `start`, which there is.
    init(
        startingAt start: Revision, connections: EtcdConnections, keys: EtcdKeys, queueMax: Int, logger: Logger,
        writeMark: @escaping @Sendable () async throws(StoreError) -> Void
    ) {
        hub = WatchHub(at: start, queueMax: queueMax)
        state = Mutex(State(position: start))
        self.connections = connections
        self.keys = keys
        self.logger = logger
        self.writeMark = writeMark
    }

    /// The revision of the last event.
    var position: Revision { state.withLock { $0.position } }

    func start() { state.withLock { $0.task = Task { await self.follow() } } }

    func stop(_ error: StoreError) {
        let tasks = state.withLock { [$0.task, $0.nudge] }
        for task in tasks { task?.cancel() }
        hub.end(error)
    }

    /// Makes sure that the watch comes to `revision`, which etcd has, though none of its events may be the store's.
    func reach(_ revision: Revision) {
        state.withLock { state in
            state.wanted = max(state.wanted, revision)
            guard state.wanted > state.position, !state.isNudging else { return }
            state.isNudging = true
            state.nudge = Task { await self.nudge() }
        }
    }

    private func nudge() async {
        var pause = Duration.milliseconds(100)
        while !Task.isCancelled {
            // Nearly always the event is on its way.
            try? await Task.sleep(for: pause)
            let isReached = state.withLock { state in
                if state.position >= state.wanted { state.isNudging = false }
                return !state.isNudging
            }
            if isReached { return }
            do throws(StoreError) { try await writeMark() } catch {
                logger.debug("the mark cannot be written", metadata: ["error": "\(error)"])
                if case .inUse = error { return endHistory() }
            }
            pause = min(pause * 2, .seconds(2))
        }
    }

    /// Somebody has begun another history of the store, whose revisions this one would count wrongly.
    private func endHistory() {
        logger.error("another history of the store has begun: restart this conductor")
        stop(.unavailable("another history of the store has begun; restart every conductor"))
    }

    private func follow() async {
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled {
            let start = position
            do {
                try await watch(after: start)
                throw EtcdFailure.unknown("the member ended the watch")
            } catch {
                guard !Task.isCancelled else { return }
                if case .compacted(let oldest) = error as? StoreError { await skip(to: oldest) }
                logger.info("the watch over etcd is opened anew", metadata: ["error": "\(Self.words(error))"])
            }
            if position > start { pause = .milliseconds(50) }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    private static func words(_ error: any Error) -> String { (error as? EtcdFailure)?.words ?? "\(error)" }

    private func watch(after position: Revision) async throws {
        try await connections.requireHistory(after: position, keys)
        let link = connections.current
        do {
            try await link.watch(keys.everything, after: position, keys: keys) { batches in
                for batch in batches {
                    self.state.withLock { $0.position = max($0.position, batch.revision) }
                    self.hub.publish(batch)
                }
                return true
            }
        } catch {
            connections.demote(link)
            throw error
        }
    }

    /// What is between the watch's place and the history that is left is lost to all readers: they list anew.
    private func skip(to oldest: Revision) async {
        logger.warning("the history that the watch over etcd had to resume from is gone")
        state.withLock { $0.position = max($0.position, oldest) }
        hub.interrupt(.compacted(oldest: oldest), resumingAt: oldest)
    }
}

extension EtcdLink {
    /// Follows `range` after a revision until `take` returns false, the connection breaks or the task is cancelled.
    ///
    /// Throws `StoreError.compacted` when the member says that a part of it is gone.
    func watch(
        _ range: EtcdKeys.Range, after position: Revision, keys: EtcdKeys, until deadline: Instant? = nil,
        _ take: @escaping @Sendable ([WatchBatch]) -> Bool
    ) async throws {
        let address = address
        let outcome = try await call(until: deadline) { client -> StoreError? in
            try await Etcdserverpb_Watch.Client(wrapping: client).watch(
                metadata: Self.needsLeader, options: Self.callOptions
            ) { writer in
                var request = Etcdserverpb_WatchRequest()
                request.createRequest.key = range.start
                request.createRequest.rangeEnd = range.end
                request.createRequest.startRevision = keys.revision(position) + 1
                request.createRequest.fragment = true
                try await writer.write(request)
                // The end of what is written would end the watch.
                while !Task.isCancelled { try await Task.sleep(for: .seconds(3600)) }
            } onResponse: { response in
                var assembly = WatchAssembly(after: position, keys: keys)
                for try await message in response.messages {
                    if message.canceled {
                        guard message.compactRevision == 0 else {
                            return .compacted(oldest: keys.revision(message.compactRevision))
                        }
                        throw EtcdFailure.notDone(
                            "\(address) refuses the watch: \(message.cancelReason.printable(limit: 200))")
                    }
                    let batches = assembly.take(message)
                    if !batches.isEmpty, !take(batches) { return nil }
                }
                throw EtcdFailure.unknown("\(address) ended the watch")
            }
        }
        if let outcome { throw outcome }
    }
}
