import GRPCCore
import Logging
import Primitives
import ResourceModel
import Synchronization

/// Brings calls to a member that takes them: the current one, and the next after it failed.
///
/// All members are asked for their state four times a second. One that does not answer within two seconds loses its
/// calls if another one answers, so that a machine that stands still, or is cut off, holds nobody up; one without a leader
/// gets no new ones. Where the leader has changed, what the new one has taken over is answered at once; calls that are not
/// are broken off.
///
/// The time until the next answer of a member that is silent and takes connections grows: a handshake may take seconds. One
/// whose machine was away is spoken to on a new connection, whose first packet is sent at once.
///
/// Members may come and go. What one that is none any more was asked is given its time to end, but watches move on at once.
final class EtcdConnections: Sendable {
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
    private static let readPatience = Duration.seconds(2)
    private static let reloadInterval = Duration.seconds(5)
    /// The most that are no members any more and have calls under way; the oldest is closed.
    private static let retiredCountMax = 16

    private struct Member {
        let link: EtcdLink
        /// Asks for its state.
        var prober: Task<Void, Never>?
        /// Who leads, as it has seen it last.
        var leader: UInt64 = 0
    }

    private struct State {
        var members: [EtcdAddress: Member]
        var turn: EtcdTurn
        var reach: EtcdReach
        /// Those that are no members any more, until their calls have ended.
        var retired: [EtcdLink] = []
        var cluster: UInt64?
        var credentials: EtcdCredentials?
        var certificateChanges = 0
        /// The members whose first answer, or refusal, is waited for.
        var awaited: Set<EtcdAddress> = []
        var hasAnswered = false
        var isClosed = false

        var links: [EtcdLink] { members.values.map(\.link) }

        /// Whether `link` is a member's still.
        func holds(_ link: EtcdLink) -> Bool { members[link.address]?.link === link }
    }

    /// What ends with a change of the members.
    private struct Ended {
        /// Links whose calls may end.
        let retired: [EtcdLink]
        /// Links whose calls wait for nothing, or are too many.
        let dropped: [EtcdLink]
        let probers: [Task<Void, Never>]
    }

    /// Whether a majority of the members answers, and one that has a leader has done so in the last seconds.
    var isReachable: Bool { state.withLock { $0.reach.isReachable(at: .now) } }

    /// How often other certificates were taken up.
    var certificateChanges: Int { state.withLock { $0.certificateChanges } }

    /// Begins to connect to all members; throws `StoreError.invalid` or `.unavailable`.
    init(_ configuration: EtcdConfiguration, logger: Logger) throws(StoreError) {
        let addresses = try configuration.addresses()
        let credentials = try configuration.tls.map { (tls) throws(StoreError) in try EtcdCredentials(tls) }
        var members: [EtcdAddress: Member] = [:]
        for address in addresses { members[address] = Member(link: try EtcdLink(address, credentials)) }
        self.logger = logger
        tls = configuration.tls
        patience = configuration.patience
        state = Mutex(
            State(
                members: members, turn: EtcdTurn(addresses), reach: EtcdReach(addresses, at: .now),
                credentials: credentials))
        monitor.withLock { $0 = Task { await self.watchOver() } }
        state.withLock { state in
            for (address, member) in state.members { state.members[address]?.prober = prober(of: member.link) }
        }
    }

    /// Breaks everything off; nothing is called any more.
    func close() {
        monitor.withLock { $0.take() }?.cancel()
        let (links, probers) = state.withLock { state in
            state.isClosed = true
            return (state.links + state.retired, state.members.values.compactMap(\.prober))
        }
        for prober in probers { prober.cancel() }
        for link in links { link.close() }
    }

    /// Takes these for the members from now on, the first of them preferred; throws `StoreError.unavailable` when the
    /// certificates are none, and changes nothing then.
    func follow(_ addresses: [EtcdAddress]) throws(StoreError) {
        let ended = try state.withLock { (state) throws(StoreError) -> Ended? in
            guard !state.isClosed, Set(addresses) != Set(state.members.keys) else { return nil }
            var members = state.members.filter { addresses.contains($0.key) }
            for address in addresses where members[address] == nil {
                members[address] = Member(link: try EtcdLink(address, state.credentials))
            }
            for (address, member) in members where member.prober == nil {
                members[address]?.prober = prober(of: member.link)
            }
            let left = state.members.filter { members[$0.key] == nil }
            let now = ContinuousClock.now
            // What one that is silent was asked waits for nothing.
            let answering = left.filter { !state.reach.isSilent($0.key, at: now) }.values.map(\.link)
            let silent = left.filter { state.reach.isSilent($0.key, at: now) }.values.map(\.link)
            let retired = state.retired + answering
            state.retired = retired.suffix(Self.retiredCountMax)
            state.members = members
            state.turn.follow(addresses)
            state.reach.follow(addresses, at: now)
            return Ended(
                retired: answering, dropped: silent + retired.dropLast(Self.retiredCountMax),
                probers: left.values.compactMap(\.prober))
        }
        guard let ended else { return }
        logger.notice("etcd has other members now", metadata: ["members": "\(addresses.map(\.description))"])
        for prober in ended.probers { prober.cancel() }
        for link in ended.retired { link.retire() }
        for link in ended.dropped { link.close() }
    }

    /// Waits until a member has answered, or none is left that takes connections and has not refused; half a minute at most.
    func awaitFirstAnswer() async {
        let end = ContinuousClock.now + Self.openingPatience
        await withTaskGroup(of: Void.self) { group in
            for address in state.withLock({ $0.members.keys }) {
                group.addTask {
                    guard await address.takesConnections(within: Self.connectPatience) else { return }
                    self.state.withLock { _ = $0.awaited.insert(address) }
                }
            }
        }
        while !Task.isCancelled, ContinuousClock.now < end,
            state.withLock({ !$0.hasAnswered && !$0.awaited.isEmpty })
        { try? await Task.sleep(for: .milliseconds(10)) }
    }

    /// The member that is asked now.
    var current: EtcdLink {
        state.withLock { state in
            let address = state.turn.member(at: .now)
            guard let member = state.members[address] else { preconditionFailure("the turn is of a member") }
            return member.link
        }
    }

    /// Has the next calls go elsewhere, if there is anybody better.
    func demote(_ link: EtcdLink) {
        state.withLock { state in
            guard state.holds(link) else { return }
            state.turn.noteFailure(of: link.address, at: .now)
        }
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
    /// else two seconds where it can be repeated on another member.
    func call<Result: Sendable>(
        repeatable: Bool, isLong: Bool = false, _ body: @escaping @Sendable (EtcdLink.Client) async throws -> Result
    ) async throws(EtcdFailure) -> Result {
        let end = ContinuousClock.now + patience
        var attempts = 0
        while true {
            let link = current
            let failure: EtcdFailure
            do {
                let now = ContinuousClock.now
                let isShort = repeatable && !isLong && state.withLock { $0.reach.hasOther(than: link.address, at: now) }
                let limit = isShort ? min(end, now + Self.readPatience) : end
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
            if attempts >= state.withLock({ $0.members.count }) { try? await Task.sleep(for: .milliseconds(50)) }
        }
    }

    /// Calls this member and no other, again after it was broken off for another one's sake; nil: it is none of them.
    func ask<Result: Sendable>(
        _ member: EtcdAddress, within limit: Duration,
        _ body: @escaping @Sendable (EtcdLink.Client) async throws -> Result
    ) async throws(EtcdFailure) -> Result? {
        let end = ContinuousClock.now + limit
        var isSecond = false
        while true {
            let (link, isSilent) = state.withLock {
                ($0.members[member]?.link, $0.reach.isSilent(member, at: .now))
            }
            guard let link else { return nil }
            guard !isSilent else { throw .notDone("\(member) does not answer") }
            do { return try await link.call(until: end, body) } catch {
                guard case .unknown = error, !isSecond, !Task.isCancelled else { throw error }
                isSecond = true
            }
        }
    }

    private func watchOver() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                while !Task.isCancelled {
                    self.sweep()
                    try? await Task.sleep(for: Self.sweepInterval)
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

    private func sweep() {
        let (links, done) = state.withLock { state in
            let done = state.retired.filter(\.isIdle)
            state.retired.removeAll(where: { link in done.contains { $0 === link } })
            return (state.links + state.retired, done)
        }
        for link in links { link.breakOffOverdue(now: ContinuousClock.now) }
        for link in done { link.close() }
    }

    private func prober(of link: EtcdLink) -> Task<Void, Never> {
        Task {
            while !Task.isCancelled {
                await self.probe(link)
                try? await Task.sleep(for: Self.probeInterval)
            }
        }
    }

    private func probe(_ link: EtcdLink) async {
        let member = link.address
        if state.withLock({ $0.reach.isSilent(member, at: .now) }) {
            guard await member.takesConnections(within: Self.connectPatience) else {
                state.withLock { $0.reach.noteAbsence(member) }
                return demote(link)
            }
            if state.withLock({ $0.reach.noteReturn(member) }) { link.reset("the member was away") }
        }
        let patience = state.withLock { $0.reach.patience(of: member, at: .now) }
        do throws(EtcdFailure) {
            let status = try await link.call(until: ContinuousClock.now + patience) { client in
                try await Etcdserverpb_Maintenance.Client(wrapping: client).status(
                    request: ClientRequest(message: Etcdserverpb_StatusRequest()), options: EtcdLink.callOptions)
            }
            await note(status, of: link)
        } catch {
            guard !Task.isCancelled else { return }
            demote(link)
            guard case .unknown(let why) = error else {
                state.withLock { _ = $0.awaited.remove(member) }
                return
            }
            logger.info("a member of etcd does not answer", metadata: ["cause": "\(why)"])
            let isGivenUp = state.withLock { state in
                defer { state.reach.noteSilence(member, at: .now) }
                return state.reach.givesUp(member, at: .now)
            }
            if isGivenUp { link.reset("the member does not answer") }
        }
    }

    private func note(_ status: Etcdserverpb_StatusResponse, of link: EtcdLink) async {
        let (member, isOfUse) = (link.address, status.leader != 0 && !status.isLearner)
        let known = state.withLock { state -> UInt64 in
            state.hasAnswered = true
            guard state.holds(link) else { return 0 }
            state.reach.note(member, hasLeader: status.leader != 0, isLearner: status.isLearner, at: .now)
            guard isOfUse else { return 0 }
            state.turn.noteSuccess(of: member)
            defer { state.members[member]?.leader = status.leader }
            return state.members[member]?.leader ?? 0
        }
        guard isOfUse else { return demote(link) }
        guard known != 0, known != status.leader else { return }
        let moment = ContinuousClock.now
        try? await Task.sleep(for: Self.takeoverTime)
        link.breakOff(begunBefore: moment)
    }

    /// Takes up certificates that have changed; those that cannot be used change nothing.
    private func reload(_ tls: EtcdTLS) {
        do throws(StoreError) {
            let found = try EtcdCredentials(tls)
            let isNew = try state.withLock { (state) throws(StoreError) -> Bool in
                guard state.credentials != found else { return false }
                for link in state.links { try link.use(found) }
                state.credentials = found
                state.certificateChanges += 1
                return true
            }
            if isNew { logger.notice("etcd is spoken to with the new certificates") }
        } catch {
            logger.warning("the certificates for etcd cannot be used", metadata: ["error": "\(error)"])
        }
    }
}
