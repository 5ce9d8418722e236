import GRPCCore
import Logging
import Primitives
import ResourceModel

/// What operators do to an etcd cluster: its members, their state, their alarms.
public final class EtcdAdministration: Sendable {
    /// One member, as the cluster knows it.
    public struct Member: Hashable, Sendable {
        /// etcd's number of it.
        public var id: UInt64
        /// Empty until it has been started for the first time.
        public var name: String
        /// Where other members reach it.
        public var peerURLs: [String]
        /// Where clients reach it; empty until it has been started.
        public var clientURLs: [String]
        /// It follows, but has no vote yet.
        public var isLearner: Bool
    }

    /// How a member is.
    public struct Status: Hashable, Sendable {
        /// The member that answered.
        public var member: UInt64
        /// Its release, for example `3.4.23`.
        public var version: String
        /// Bytes of its database's file.
        public var size: ByteCount
        /// Bytes that are in use in it; the rest goes back with a defragmentation.
        public var sizeInUse: ByteCount
        /// Who leads, as it sees it; nil: nobody.
        public var leader: UInt64?
        /// How far its log is.
        public var raftIndex: UInt64
        /// How many elections there were.
        public var raftTerm: UInt64
        /// It follows, but has no vote yet.
        public var isLearner: Bool
        /// What is wrong with it, in its own words.
        public var errors: [String]
    }

    /// Something that is wrong with the cluster until it is disarmed.
    public struct Alarm: Hashable, Sendable {
        /// What is wrong.
        public enum Kind: Hashable, Sendable {
            /// Its database has reached the quota: the cluster takes no writes.
            case noSpace
            /// Its data are not what the others have.
            case corrupt
        }

        /// The member that raised it.
        public var member: UInt64
        /// What is wrong.
        public var kind: Kind
    }

    private let connections: EtcdConnections
    private let configuration: EtcdConfiguration
    private let ownsConnections: Bool
    private static let defragmentationPatience = Duration.seconds(120)
    private static let connectPatience = Duration.seconds(1)
    /// A machine that is busy, or slow, needs seconds for a handshake.
    private static let statusPatience = Duration.seconds(10)

    /// Begins to connect; throws `StoreError.invalid` or `.unavailable`.
    public init(_ configuration: EtcdConfiguration, logger: Logger) throws(StoreError) {
        connections = try EtcdConnections(configuration, logger: logger)
        self.configuration = configuration
        ownsConnections = true
    }

    /// On the connections of a store, which closes them.
    init(sharing connections: EtcdConnections, _ configuration: EtcdConfiguration) {
        self.connections = connections
        self.configuration = configuration
        ownsConnections = false
    }

    deinit { close() }

    /// Ends the connections, unless they are a store's.
    public func close() { if ownsConnections { connections.close() } }

    /// All members, in the order of their numbers.
    public func members() async throws(StoreError) -> [Member] {
        try await call(repeatable: true) { client in
            try await Etcdserverpb_Cluster.Client(wrapping: client).memberList(
                request: ClientRequest(message: Etcdserverpb_MemberListRequest()), options: EtcdLink.callOptions)
        }.members.map(Member.init).sorted { $0.id < $1.id }
    }

    /// How the member is that answers at this URL; throws `StoreError.unavailable` when none does: at once for one that is
    /// known to be silent, for another when nobody takes connections there within a second, or none answers within ten.
    public func status(of endpoint: String) async throws(StoreError) -> Status {
        let address = try EtcdAddress(endpoint)
        let ask = { @Sendable (client: EtcdLink.Client) async throws -> Etcdserverpb_StatusResponse in
            try await Etcdserverpb_Maintenance.Client(wrapping: client).status(
                request: ClientRequest(message: Etcdserverpb_StatusRequest()), options: EtcdLink.callOptions)
        }
        do throws(EtcdFailure) {
            if let answer = try await connections.ask(address, within: Self.statusPatience, ask) {
                return Status(answer)
            }
        } catch {
            throw StoreError(error)
        }
        guard await address.takesConnections(within: Self.connectPatience) else {
            throw .unavailable("\(endpoint) takes no connections")
        }
        return Status(try await call(endpoint, within: Self.statusPatience, ask))
    }

    /// How each member is; nil: it does not answer.
    public func statuses() async throws(StoreError) -> [(member: Member, status: Status?)] {
        let members = try await members()
        return await withTaskGroup(of: (Int, Status?).self) { group in
            for (index, member) in members.enumerated() {
                group.addTask {
                    guard let url = member.clientURLs.first else { return (index, nil) }
                    return (index, try? await self.status(of: url))
                }
            }
            var found: [Int: Status] = [:]
            for await (index, status) in group { found[index] = status }
            return members.enumerated().map { ($0.element, found[$0.offset]) }
        }
    }

    /// Adds a member without a vote, which is then to be started with `--initial-cluster-state existing`.
    ///
    /// Throws `StoreError.invalid` when the cluster refuses, for example because a member is down.
    public func addLearner(peerURLs: [String]) async throws(StoreError) -> Member {
        var request = Etcdserverpb_MemberAddRequest()
        request.peerUrls = peerURLs
        request.isLearner = true
        let message = request
        let response = try await call(repeatable: false) { client in
            try await Etcdserverpb_Cluster.Client(wrapping: client).memberAdd(
                request: ClientRequest(message: message), options: EtcdLink.callOptions)
        }
        return Member(response.member)
    }

    /// Gives a learner its vote; throws `StoreError.invalid` until it has caught up with the leader.
    public func promote(_ member: UInt64) async throws(StoreError) {
        var request = Etcdserverpb_MemberPromoteRequest()
        request.id = member
        let message = request
        _ = try await call(repeatable: false) { client in
            try await Etcdserverpb_Cluster.Client(wrapping: client).memberPromote(
                request: ClientRequest(message: message), options: EtcdLink.callOptions)
        }
    }

    /// Takes a member out of the cluster; it ends by itself and its data are of no more use.
    ///
    /// Throws `StoreError.invalid` when the rest would be no quorum.
    public func remove(_ member: UInt64) async throws(StoreError) {
        var request = Etcdserverpb_MemberRemoveRequest()
        request.id = member
        let message = request
        _ = try await call(repeatable: false) { client in
            try await Etcdserverpb_Cluster.Client(wrapping: client).memberRemove(
                request: ClientRequest(message: message), options: EtcdLink.callOptions)
        }
    }

    /// Has another member lead; throws `StoreError.unavailable` when there is no leader to do so.
    public func moveLeader(to member: UInt64) async throws(StoreError) {
        let all = try await statuses()
        guard let leader = all.compactMap(\.status).compactMap(\.leader).first,
            let url = all.first(where: { $0.member.id == leader })?.member.clientURLs.first
        else { throw .unavailable("etcd has no leader now; try again") }
        guard leader != member else { return }
        var request = Etcdserverpb_MoveLeaderRequest()
        request.targetID = member
        let message = request
        _ = try await call(url, within: configuration.patience) { client in
            try await Etcdserverpb_Maintenance.Client(wrapping: client).moveLeader(
                request: ClientRequest(message: message), options: EtcdLink.callOptions)
        }
    }

    /// Gives back what a member's database does not use; the member answers nothing meanwhile.
    public func defragment(_ endpoint: String) async throws(StoreError) {
        _ = try await call(endpoint, within: Self.defragmentationPatience) { client in
            try await Etcdserverpb_Maintenance.Client(wrapping: client).defragment(
                request: ClientRequest(message: Etcdserverpb_DefragmentRequest()), options: EtcdLink.callOptions)
        }
    }

    /// Defragments the members that `isMeant`, one after the other and the leader last, each only while all others answer.
    ///
    /// Throws `StoreError.unavailable` when one does not; those before it are done.
    public func defragmentAll(where isMeant: (Status) -> Bool = { _ in true }) async throws(StoreError) {
        let order = EtcdUpkeepPlan.defragmentationOrder(try await statuses())
        for member in order {
            let now = try await statuses()
            if let silent = now.first(where: { $0.status?.leader == nil }) {
                throw .unavailable(
                    "member \(silent.member.name) of etcd does not answer, and no other one is defragmented meanwhile")
            }
            guard let found = now.first(where: { $0.member.id == member }), let status = found.status,
                let url = found.member.clientURLs.first, isMeant(status)
            else { continue }
            try await defragment(url)
        }
    }

    /// The alarms that are raised.
    public func alarms() async throws(StoreError) -> [Alarm] {
        var request = Etcdserverpb_AlarmRequest()
        request.action = .get
        let message = request
        return try await call(repeatable: true) { client in
            try await Etcdserverpb_Maintenance.Client(wrapping: client).alarm(
                request: ClientRequest(message: message), options: EtcdLink.callOptions)
        }.alarms.compactMap(Alarm.init)
    }

    /// Disarms an alarm: the cluster takes writes again, until its cause is found again.
    public func disarm(_ alarm: Alarm) async throws(StoreError) {
        var request = Etcdserverpb_AlarmRequest()
        request.action = .deactivate
        request.memberID = alarm.member
        request.alarm = alarm.kind == .noSpace ? .nospace : .corrupt
        let message = request
        _ = try await call(repeatable: true) { client in
            try await Etcdserverpb_Maintenance.Client(wrapping: client).alarm(
                request: ClientRequest(message: message), options: EtcdLink.callOptions)
        }
    }

    /// Mends a cluster that has reached its quota: forgets all history, defragments the members one after the other, and
    /// disarms the alarms of no space. Readers that were behind list anew.
    ///
    /// Throws `StoreError.quotaExceeded` when the documents alone need nearly all of the quota; the alarms stand then.
    public func makeRoom() async throws(StoreError) {
        var request = Etcdserverpb_RangeRequest()
        request.key = EtcdKeys(prefix: configuration.prefix).mark
        request.countOnly = true
        let current = try await connections.range(request).header.revision
        do throws(EtcdFailure) {
            try await connections.compact(through: current, physically: true)
        } catch {
            guard case .refused(.compacted) = error else { throw StoreError(error) }
        }
        try await defragmentAll()
        let sizes = try await statuses().compactMap(\.status).map(\.size.bytes)
        guard sizes.allSatisfy({ $0 * 100 < configuration.quota.bytes * EtcdUpkeepPlan.warningPercent }) else {
            throw .quotaExceeded
        }
        for alarm in try await alarms() where alarm.kind == .noSpace { try await disarm(alarm) }
    }

    /// Writes a copy of the database, as of one moment, to the file `path`, for `etcdctl snapshot restore`.
    ///
    /// The file appears whole or not at all, mode 0600. Throws `StoreError.unavailable` or `.diskFull`.
    public func snapshot(to path: String) async throws(StoreError) {
        let file = try SnapshotFile(path)
        do throws(EtcdFailure) {
            try await connections.current.call(until: ContinuousClock.now + .seconds(600)) { client in
                try await Etcdserverpb_Maintenance.Client(wrapping: client).snapshot(
                    request: ClientRequest(message: Etcdserverpb_SnapshotRequest()), options: EtcdLink.callOptions
                ) { response in
                    for try await part in response.messages {
                        do throws(StoreError) { try file.append(part.blob) } catch {
                            throw EtcdFailure.refused(.other(error))
                        }
                    }
                }
            }
        } catch {
            throw StoreError(error)
        }
        try file.finish()
    }

    private func call<Result: Sendable>(
        repeatable: Bool, _ body: @escaping @Sendable (EtcdLink.Client) async throws -> Result
    ) async throws(StoreError) -> Result {
        do throws(EtcdFailure) {
            return try await connections.call(repeatable: repeatable, body)
        } catch {
            throw StoreError(error)
        }
    }

    /// Calls one member, on a connection of its own that nothing else can break off.
    private func call<Result: Sendable>(
        _ endpoint: String, within limit: Duration,
        _ body: @escaping @Sendable (EtcdLink.Client) async throws -> Result
    ) async throws(StoreError) -> Result {
        let credentials = try configuration.tls.map { (tls) throws(StoreError) in try EtcdCredentials(tls) }
        let link = try EtcdLink(try EtcdAddress(endpoint), credentials)
        defer { link.close() }
        let end = ContinuousClock.now + limit
        let overdue = Task {
            try? await Task.sleep(until: end)
            link.breakOffOverdue(now: end)
        }
        defer { overdue.cancel() }
        do throws(EtcdFailure) {
            return try await link.call(until: end, body)
        } catch {
            throw StoreError(error)
        }
    }
}

extension EtcdAdministration.Member {
    init(_ member: Etcdserverpb_Member) {
        self.init(
            id: member.id, name: member.name, peerURLs: member.peerUrls, clientURLs: member.clientUrls,
            isLearner: member.isLearner)
    }
}

extension EtcdAdministration.Status {
    init(_ status: Etcdserverpb_StatusResponse) {
        self.init(
            member: status.header.memberID, version: status.version,
            size: ByteCount(bytes: UInt64(max(0, status.dbSize))),
            sizeInUse: ByteCount(bytes: UInt64(max(0, status.dbSizeInUse))),
            leader: status.leader == 0 ? nil : status.leader, raftIndex: status.raftIndex, raftTerm: status.raftTerm,
            isLearner: status.isLearner, errors: status.errors)
    }
}

extension EtcdAdministration.Alarm {
    init?(_ alarm: Etcdserverpb_AlarmMember) {
        switch alarm.alarm {
        case .nospace: self.init(member: alarm.memberID, kind: .noSpace)
        case .corrupt: self.init(member: alarm.memberID, kind: .corrupt)
        default: return nil
        }
    }
}
