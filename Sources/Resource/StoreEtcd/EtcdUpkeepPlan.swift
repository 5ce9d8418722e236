import Primitives
import ResourceModel

/// What has to be done to a cluster, given how it is; pure.
enum EtcdUpkeepPlan {
    /// How far the store was at a time.
    struct Sample: Hashable, Sendable {
        var time: Timestamp
        var revision: Revision
    }

    /// A database that is at most this large is left as it is.
    static let sizeMin = ByteCount.mebibytes(64)
    /// From this part of the quota on, in percent, the log warns.
    static let warningPercent: UInt64 = 80
    /// So many entries behind another member's log one is slow. The members are asked one after the other, so that some are
    /// always between the answers.
    static let slowCount: UInt64 = 5000

    /// The revision to compact through, nil: nothing is old enough.
    ///
    /// What is older than `age` goes, and what is more than `countMax` revisions.
    static func compaction(
        _ samples: [Sample], now: Timestamp, current: Revision, age: Duration, countMax: Int
    ) -> Revision? {
        let old = samples.filter { now.since($0.time) >= age }.map(\.revision).max() ?? .zero
        let count = UInt64(countMax)
        let many = current.number > count ? Revision(current.number - count) : .zero
        let through = min(max(old, many), current)
        return through > .zero ? through : nil
    }

    /// The samples that are still of use: those younger than `age`, and the newest of the older ones.
    static func pruned(_ samples: [Sample], now: Timestamp, age: Duration) -> [Sample] {
        let old = samples.filter { now.since($0.time) >= age }.max { $0.time < $1.time }
        return (old.map { [$0] } ?? []) + samples.filter { now.since($0.time) < age }
    }

    /// Whether a member's file has at least twice the bytes that are in use.
    static func needsDefragmentation(_ status: EtcdAdministration.Status) -> Bool {
        status.size > sizeMin && status.size.bytes > status.sizeInUse.bytes * 2
    }

    /// The members that answer, the leader last.
    static func defragmentationOrder(
        _ members: [(member: EtcdAdministration.Member, status: EtcdAdministration.Status?)]
    ) -> [UInt64] {
        let leader = members.compactMap(\.status).compactMap(\.leader).first
        let numbers = members.filter { $0.status != nil }.map(\.member.id)
        return numbers.filter { $0 != leader } + numbers.filter { $0 == leader }
    }

    /// What operators should know; empty: all is well.
    static func warnings(
        _ members: [(member: EtcdAdministration.Member, status: EtcdAdministration.Status?)],
        alarms: [EtcdAdministration.Alarm], quota: ByteCount
    ) -> [EtcdStore.Warning] {
        func name(_ id: UInt64) -> String {
            members.first { $0.member.id == id && !$0.member.name.isEmpty }?.member.name ?? Hex.encode(id)
        }
        let newest = members.compactMap(\.status?.raftIndex).max() ?? 0
        return alarms.map { warning(of: $0, name($0.member)) }
            + members.flatMap { member, status in
                warnings(of: name(member.id), status, newest: newest, quota: quota)
            }
    }

    private static func warning(of alarm: EtcdAdministration.Alarm, _ name: String) -> EtcdStore.Warning {
        switch alarm.kind {
        case .noSpace:
            EtcdStore.Warning(
                .full,
                """
                etcd's member \(name) has reached its quota (alarm NOSPACE) and the cluster takes no \
                writes: compact and defragment it, or raise --quota-backend-bytes, then disarm the alarm
                """)
        case .corrupt:
            EtcdStore.Warning(
                .corrupt,
                """
                etcd's member \(name) has other data than the rest (alarm CORRUPT): take it out of the \
                cluster, delete its data, and add it again
                """)
        }
    }

    private static func warnings(
        of name: String, _ status: EtcdAdministration.Status?, newest: UInt64, quota: ByteCount
    ) -> [EtcdStore.Warning] {
        guard let status else { return [EtcdStore.Warning(.silent, "etcd's member \(name) does not answer")] }
        var warnings: [EtcdStore.Warning] = []
        if !status.isLearner, status.raftIndex + slowCount < newest {
            warnings.append(
                EtcdStore.Warning(
                    .slow,
                    """
                    etcd's member \(name) is \(newest - status.raftIndex) entries behind the others: look at its disk \
                    and at its network
                    """))
        }
        if quota.bytes > 0, status.sizeInUse.bytes * 100 >= quota.bytes * warningPercent {
            warnings.append(
                EtcdStore.Warning(
                    .nearlyFull,
                    """
                    etcd's member \(name) uses \(status.sizeInUse) of its \(quota): at the quota the cluster takes no \
                    more writes; raise --quota-backend-bytes, or find out what grows
                    """))
        }
        return warnings
    }
}

extension Hex {
    fileprivate static func encode(_ number: UInt64) -> String { String(number, radix: 16) }
}
