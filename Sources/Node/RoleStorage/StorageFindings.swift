import AgentProtocol
import Primitives

/// What came of looking at all pools, and the conditions that it makes.
struct StorageFindings: Hashable, Sendable {
    var unreadable: [String]
    /// The names of the pools that are asked for.
    var asked: [String]
    var poolProblems: [String] = []
    var refusals: [StorageRefusal] = []
    var leftovers: [String] = []
    /// The pools that are there, by name.
    var groups: [VolumeGroup] = []

    init(unreadable: [String], asked: [String]) {
        self.unreadable = unreadable
        self.asked = asked
    }

    mutating func add(_ plan: StoragePlan) {
        poolProblems += plan.problems
        refusals += plan.refusals
        if !plan.steps.isEmpty {
            poolProblems.append("\(plan.steps.count) steps are left to do; they are done within seconds.")
        }
        if let group = plan.group { groups.append(group) }
    }

    /// Notes the pools that this role made and that nobody asks for any more.
    mutating func leftover(_ lvm: VolumeReport) {
        for group in lvm.groups where group.tags.contains(StoragePlan.tag) && !asked.contains(group.name) {
            leftovers.append("The pool '\(group.name)' is not asked for any more; it stays with its data.")
            groups.append(group)
        }
    }

    /// The most disks that have a check of their own.
    static let refusedCountMax = 16

    /// The disks that are refused, each once, and what tells of them in a few words.
    private var refused: (disks: [StorageRefusal], problems: [String]) {
        var seen: Set<String> = []
        let disks = refusals.filter { refusal in refusal.disk.map { seen.insert($0).inserted } ?? false }
        var problems = refusals.filter { $0.disk == nil }.map(\.text)
        if !disks.isEmpty {
            let names = disks.prefix(Self.refusedCountMax).compactMap(\.disk).joined(separator: ", ")
            let more = disks.count > Self.refusedCountMax ? " and \(disks.count - Self.refusedCountMax) more" : ""
            problems.append("\(disks.count) disks are not taken, see the check of each: \(names)\(more).")
        }
        return (Array(disks.prefix(Self.refusedCountMax)), problems)
    }

    /// The role's state. It is ready when each pool that is asked for is there with all its disks; a disk that was
    /// refused or is failing is told, and keeps the rest of the pool from nothing.
    func status(facts: StorageFacts, now: Timestamp) -> NodeStatusReport.RoleStatus {
        func condition(_ type: String, _ problems: [String], _ fine: String) -> Condition {
            let message = problems.isEmpty ? fine : problems.joined(separator: " ").printable(limit: 2000)
            return Condition(type: type, isTrue: problems.isEmpty, message: message, since: now)
        }
        let members = facts.pools.flatMap { pool in pool.members.map { (pool: pool.name, $0) } }
        let missing = members.filter { $0.1.isMissing }.map { pool, member in
            let disk = member.serial.map { "serial \($0)" } ?? "physical volume \(member.uuid)"
            return "The disk \(disk) of the pool '\(pool)' is missing: look at its cabling, or replace it."
        }
        let failing = members.filter { $0.1.health == .failing }.map { _, member in
            let disk = member.serial.map { "serial \($0)" } ?? member.path ?? member.uuid
            return "The disk \(disk) is failing: \(member.notes.joined(separator: ", ")). Move its data and replace it."
        }
        let pools = asked.isEmpty ? "No pool is asked for." : "There: \(asked.sorted().joined(separator: ", "))."
        var conditions = [
            condition("PoolReady", unreadable + poolProblems + missing, pools),
            condition("DisksClaimed", refused.problems, "Every disk that is asked for is in its pool."),
            condition("DisksHealthy", failing, "No disk says that it is failing."),
        ]
        conditions += refused.disks.map { condition("DiskClaimed/\($0.disk ?? "")", [$0.text], "") }
        if !leftovers.isEmpty { conditions.append(condition("PoolsAskedFor", leftovers, "")) }
        return NodeStatusReport.RoleStatus(
            role: .storage, isReady: conditions[0].isTrue, conditions: conditions,
            facts: RoleFacts(storage: facts))
    }
}

/// The figures of pools.
enum StorageFigures {
    /// At most 500 samples, the pools' own first. `healths` and `errors` are by path.
    static func samples(_ facts: StorageFacts, _ healths: [String: DiskHealth], errors: [String: UInt64])
        -> [MetricsReport.Sample]
    {
        var samples: [MetricsReport.Sample] = []
        func add(_ name: String, _ labels: [String: String], _ value: Double?, isCounter: Bool = false) {
            guard let value else { return }
            samples.append(
                MetricsReport.Sample(name: "muster_storage_\(name)", labels: labels, value: value, isCounter: isCounter)
            )
        }
        for pool in facts.pools {
            let labels = ["pool": pool.name]
            add("pool_size_bytes", labels, Double(pool.size.bytes))
            add("pool_free_bytes", labels, Double(pool.free.bytes))
            add("pool_members", labels, Double(pool.members.count))
            add("pool_members_missing", labels, Double(pool.members.count { $0.isMissing }))
        }
        for pool in facts.pools {
            for member in pool.members where !member.isMissing {
                let path = member.path ?? ""
                let labels = ["pool": pool.name, "device": path, "serial": member.serial ?? ""]
                let health = healths[path]
                if member.health == .good || member.health == .failing {
                    add("disk_healthy", labels, member.health == .good ? 1 : 0)
                }
                add("disk_temperature_celsius", labels, health?.temperature.map(Double.init))
                add("disk_power_on_hours_total", labels, health?.powerOnHours.map(Double.init), isCounter: true)
                add("disk_media_errors_total", labels, health?.mediaErrors.map(Double.init), isCounter: true)
                add("disk_life_used_percent", labels, health?.percentUsed.map(Double.init))
                add("disk_io_errors_total", labels, errors[path].map(Double.init), isCounter: true)
            }
        }
        return Array(samples.prefix(500))
    }
}
