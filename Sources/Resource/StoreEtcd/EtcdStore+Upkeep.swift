import GRPCCore
import Logging
import Primitives
import ResourceModel
import ServiceLifecycle

extension EtcdStore {
    /// The cluster as it was seen last, and what operators should know.
    public struct Health: Sendable {
        /// The members, each with its state; nil: it does not answer.
        public var members: [(member: EtcdAdministration.Member, status: EtcdAdministration.Status?)] = []
        /// What is wrong; empty: all is well.
        public var warnings: [Warning] = []

        /// As nothing is known of it.
        public init() {}

        init(members: [(member: EtcdAdministration.Member, status: EtcdAdministration.Status?)], warnings: [Warning]) {
            self.members = members
            self.warnings = warnings
        }
    }

    /// Something about the cluster that operators should know.
    public struct Warning: Sendable, Hashable {
        /// What it is about, by a name for programs.
        public enum Problem: String, Sendable, Hashable, CaseIterable {
            /// A member has reached its quota, so that the cluster takes no writes.
            case full
            /// A member has other data than the rest.
            case corrupt
            /// A member does not answer.
            case silent
            /// A member is far behind the others' logs.
            case slow
            /// A member comes near its quota.
            case nearlyFull = "nearly-full"
        }

        /// The sort.
        public var problem: Problem
        /// A sentence, with what to do.
        public var text: String

        init(_ problem: Problem, _ text: String) {
            self.problem = problem
            self.text = text
        }
    }

    /// What operators do to the cluster.
    public var administration: EtcdAdministration { EtcdAdministration(sharing: connections, configuration) }

    /// Keeps the cluster in order until cancelled or shut down, then closes the store.
    ///
    /// Each round it compacts what is older than `historyAge`, says what is wrong, and defragments members whose file is
    /// twice as large as what is in it, one at a time, the leader last; of several conductors one does the latter.
    public func run() async throws {
        await cancelWhenGracefulShutdown {
            var samples: [EtcdUpkeepPlan.Sample] = []
            while !Task.isCancelled {
                self.feed.hub.sendBookmarks()
                await self.keepUp(&samples)
                try? await Task.sleep(for: self.configuration.upkeepInterval)
            }
        }
        try await close()
    }

    private func keepUp(_ samples: inout [EtcdUpkeepPlan.Sample]) async {
        do throws(StoreError) {
            let (now, current) = (clock.now, try await currentRevision())
            samples.append(EtcdUpkeepPlan.Sample(time: now, revision: current))
            let age = configuration.historyAge
            samples = EtcdUpkeepPlan.pruned(samples, now: now, age: age)
            if let through = EtcdUpkeepPlan.compaction(
                samples, now: now, current: current, age: age, countMax: configuration.historyCountMax)
            {
                try await compact(through: through)
            }
            let administration = administration
            let members = try await administration.statuses()
            let alarms = try await administration.alarms()
            note(
                Health(
                    members: members,
                    warnings: EtcdUpkeepPlan.warnings(members, alarms: alarms, quota: configuration.quota)))
            let mayDefragment = alarms.isEmpty && members.allSatisfy { $0.status?.leader != nil }
            if mayDefragment, members.contains(where: { $0.status.map(EtcdUpkeepPlan.needsDefragmentation) ?? false }),
                try await takeTurn()
            {
                logger.notice("etcd is being defragmented")
                try await administration.defragmentAll(where: EtcdUpkeepPlan.needsDefragmentation)
            }
        } catch {
            guard !Task.isCancelled else { return }
            logger.warning("etcd could not be kept in order", metadata: ["error": "\(error)"])
        }
    }

    /// Whether this conductor is the one that does it, for the next two minutes.
    private func takeTurn() async throws(StoreError) -> Bool {
        let lease = try await grantLease(timeToLive: .seconds(120))
        var request = Etcdserverpb_TxnRequest()
        var absent = Etcdserverpb_Compare()
        absent.key = keys.turn
        absent.target = .create
        absent.result = .equal
        absent.createRevision = 0
        request.compare = [absent]
        var put = Etcdserverpb_RequestOp()
        put.requestPut.key = keys.turn
        put.requestPut.lease = lease.number
        request.success = [put]
        let message = request
        let response = try await connections.told { () throws(EtcdFailure) in
            try await connections.transact(message, repeatable: false)
        }
        if !response.succeeded { try await revokeLease(lease) }
        return response.succeeded
    }
}
