import GRPCCore
import Logging
import Primitives
import ResourceModel
import Synchronization

/// Brings calls to a member that takes them: the current one, and the next after it failed.
///
/// All members are asked for their state four times a second. One that does not answer within two seconds loses its
/// calls, so that a machine that stands still, or is cut off, holds nobody up; one without a leader gets no new ones.
/// Where the leader has changed, what the new one has taken over is answered at once; calls that are not are broken off.
///
/// A member that was silent is spoken to on a new connection each time, whose first packet is sent at once. The time until
/// its answer grows with each connection that it takes and does not answer on: a handshake may take seconds.
final class EtcdConnections: Sendable {
    let links: [EtcdLink]
    let patience: Duration
    private let tls: EtcdTLS?
    private let logger: Logger
    private let state: Mutex<State>
    private let monitor = Mutex<Task<Void, Never>?>(nil)

    private static let sweepInterval = Duration.milliseconds(100)
    private static let probeInterval = Duration.milliseconds(250)
    private static let takeoverTime = Duration.milliseconds(500)
    /// How long a machine may take to take a connection.
    private static let connectPatience = Duration.seconds(1)
    /// How long a member that has taken one may take until its first answer, when a store is opened.
    private static let openingPatience = Duration.seconds(30)
    private static let suspicion = Duration.seconds(1)
    private static let readPatience = Duration.seconds(2)
    private static let reloadInterval = Duration.seconds(5)

    private struct State {
        var current = 0
        /// Until when each member is only asked when there is no better one.
        var suspects: [EtcdLink.Instant?]
        /// Who leads, as each member has seen it last.
        var leaders: [UInt64]
        var cluster: UInt64?
        var credentials: EtcdCredentials?
        var certificateChanges = 0
        var reach: EtcdReach
        /// The members whose first answer, or refusal, is waited for.
        var awaited: Set<Int> = []
        var hasAnswered = false
    }

    /// Whether a majority of the members answers, and one that has a leader has done so in the last seconds.
    var isReachable: Bool { state.withLock { $0.reach.isReachable(at: .now) } }

    /// How often other certificates were taken up.
    var certificateChanges: Int { state.withLock { $0.certificateChanges } }

    /// Begins to connect to all members; throws `StoreError.invalid` or `.unavailable`.
    init(_ configuration: EtcdConfiguration, logger: Logger) throws(StoreError) {
        let addresses = try configuration.addresses()
        var credentials: EtcdCredentials?
        if let tls = configuration.tls { credentials = try EtcdCredentials(tls) }
        var links: [EtcdLink] = []
        for address in addresses { links.append(try EtcdLink(address, credentials)) }
        self.links = links
        self.logger = logger
        tls = configuration.tls
        patience = configuration.patience
        state = Mutex(
            State(
                suspects: Array(repeating: nil, count: links.count), leaders: Array(repeating: 0, count: links.count),
                credentials: credentials, reach: EtcdReach(members: links.count, at: .now)))
        monitor.withLock { $0 = Task { await self.watchOver() } }
    }

    /// Breaks everything off; nothing is called any more.
    func close() {
        monitor.withLock { $0.take() }?.cancel()
        for link in links { link.close() }
    }

    /// Waits until a member has answered, or none is left that takes connections and has not refused; half a minute at most.
    func awaitFirstAnswer() async {
        let end = ContinuousClock.now + Self.openingPatience
        await withTaskGroup(of: Void.self) { group in
            for (index, link) in links.enumerated() {
                group.addTask {
                    guard await link.address.takesConnections(within: Self.connectPatience) else { return }
                    self.state.withLock { _ = $0.awaited.insert(index) }
                }
            }
        }
        while !Task.isCancelled, ContinuousClock.now < end,
            state.withLock({ !$0.hasAnswered && !$0.awaited.isEmpty })
        { try? await Task.sleep(for: .milliseconds(10)) }
    }

    /// The member that is asked now.
    var current: EtcdLink {
        let now = ContinuousClock.now
        return state.withLock { state in
            if let until = state.suspects[state.current], until > now {
                // The first without a stain, else the one whose stain is oldest.
                let best = links.indices.min { left, right in
                    let (left, right) = (state.suspects[left], state.suspects[right])
                    return (left.map { max($0, now) } ?? now) < (right.map { max($0, now) } ?? now)
                }
                state.current = best ?? state.current
            }
            return links[state.current]
        }
    }

    /// Has the next calls go elsewhere, if there is anybody better.
    func demote(_ link: EtcdLink) {
        guard let index = links.firstIndex(where: { $0 === link }) else { return }
        let until = ContinuousClock.now + Self.suspicion
        state.withLock { $0.suspects[index] = until }
    }

    /// Notes that a majority has carried something out.
    func noteWork() { state.withLock { $0.reach.noteWork(at: .now) } }

    /// Throws when the member that answered is of another cluster than the first that did.
    func check(_ header: Etcdserverpb_ResponseHeader) throws(StoreError) {
        let isRight = state.withLock { state in
            state.cluster = state.cluster ?? header.clusterID
            return state.cluster == header.clusterID
        }
        guard isRight else {
            throw .unavailable("the end points of etcd are of different clusters; check their list")
        }
    }

    /// Calls a member, and another one when it has certainly done nothing.
    ///
    /// A call that is `repeatable` is also made again when nobody knows whether it was done. Once the time is over, throws
    /// `.notDone`, or `.unknown` for one that is not repeatable. One attempt may take all the time when the call `isLong`,
    /// else two seconds where it can be repeated.
    func call<Result: Sendable>(
        repeatable: Bool, isLong: Bool = false, _ body: @escaping @Sendable (EtcdLink.Client) async throws -> Result
    ) async throws(EtcdFailure) -> Result {
        let end = ContinuousClock.now + patience
        var attempts = 0
        while true {
            let link = current
            let failure: EtcdFailure
            do {
                let limit = repeatable && !isLong ? min(end, ContinuousClock.now + Self.readPatience) : end
                return try await link.call(until: limit, body)
            } catch {
                failure = error
            }
            switch failure {
            case .refused: throw failure
            case .unknown where !repeatable: throw failure
            case .unknown, .notDone: demote(link)
            }
            attempts += 1
            guard !Task.isCancelled, ContinuousClock.now < end else {
                throw repeatable ? .notDone(failure.words) : failure
            }
            if attempts >= links.count { try? await Task.sleep(for: .milliseconds(50)) }
        }
    }

    private func watchOver() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                while !Task.isCancelled {
                    for link in self.links { link.breakOffOverdue(now: ContinuousClock.now) }
                    try? await Task.sleep(for: Self.sweepInterval)
                }
            }
            for index in links.indices {
                group.addTask {
                    while !Task.isCancelled {
                        await self.probe(index)
                        try? await Task.sleep(for: Self.probeInterval)
                    }
                }
            }
            guard let tls else { return }
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: Self.reloadInterval)
                    self.reload(tls)
                }
            }
        }
    }

    private func probe(_ index: Int) async {
        let link = links[index]
        if state.withLock({ $0.reach.isSilent(index, at: .now) }) {
            guard await link.address.takesConnections(within: Self.connectPatience) else { return demote(link) }
            link.reset("the member does not answer")
        }
        let patience = state.withLock { $0.reach.patience(of: index, at: .now) }
        do throws(EtcdFailure) {
            let status = try await link.call(until: ContinuousClock.now + patience) { client in
                try await Etcdserverpb_Maintenance.Client(wrapping: client).status(
                    request: ClientRequest(message: Etcdserverpb_StatusRequest()), options: EtcdLink.callOptions)
            }
            state.withLock { $0.hasAnswered = true }
            if status.leader == 0 || status.isLearner {
                state.withLock { $0.reach.note(index, hasLeader: false, at: .now) }
                demote(link)
            } else {
                await note(leader: status.leader, of: index)
            }
        } catch {
            guard !Task.isCancelled else { return }
            demote(link)
            guard case .unknown(let why) = error else {
                state.withLock { _ = $0.awaited.remove(index) }
                return
            }
            logger.info("a member of etcd does not answer", metadata: ["cause": "\(why)"])
            state.withLock { $0.reach.noteSilence(index, at: .now) }
            link.reset("the member does not answer")
        }
    }

    private func note(leader: UInt64, of index: Int) async {
        let known = state.withLock { state in
            defer { (state.suspects[index], state.leaders[index]) = (nil, leader) }
            state.reach.note(index, hasLeader: true, at: .now)
            return state.leaders[index]
        }
        guard known != 0, known != leader else { return }
        let moment = ContinuousClock.now
        try? await Task.sleep(for: Self.takeoverTime)
        links[index].breakOff(begunBefore: moment)
    }

    /// Takes up certificates that have changed; those that cannot be used change nothing.
    private func reload(_ tls: EtcdTLS) {
        do throws(StoreError) {
            let found = try EtcdCredentials(tls)
            guard state.withLock({ $0.credentials != found }) else { return }
            for link in links { try link.use(found) }
            state.withLock { state in
                state.credentials = found
                state.certificateChanges += 1
            }
            logger.notice("etcd is spoken to with the new certificates")
        } catch {
            logger.warning("the certificates for etcd cannot be used", metadata: ["error": "\(error)"])
        }
    }
}
