import AgentProtocol
import Glibc
import HardwareInventory
import LinuxSystem
import NodeAgent
import Primitives

/// The storage role: pools of the node's data disks, each an LVM volume group, adopted and never made anew.
///
/// Nothing is ever destroyed: a pool that the view does not name any more stays and is reported.
public actor StorageRole: RoleModule {
    /// How long what a disk said of itself is good.
    static let healthInterval: Duration = .seconds(600)
    /// How long disks are asked in one round; the others are asked in the next.
    static let healthPatience: Duration = .seconds(10)

    public nonisolated let role = Role.storage
    public nonisolated let itemKinds: Set<String> = [StoragePoolItem.kind]

    private let directory: String
    private let commands: VolumeCommands
    private let disks: @Sendable () -> [ObservedDisk]
    private let health: @Sendable (String) -> DiskHealth
    private let clock: any WallClock
    private var items: [StoragePoolItem] = []
    private var unreadable: [String] = []
    private var healthUntil = ContinuousClock.now
    private var healths: [String: (at: Timestamp, DiskHealth)] = [:]
    private var facts = StorageFacts(pools: [])
    private var figures: [MetricsReport.Sample] = []

    /// A role that keeps its files in `directory` on the state partition.
    public init(directory: String = "/state/muster/storage", clock: any WallClock = SystemWallClock()) {
        self.init(
            directory: directory, commands: VolumeCommands(backups: "\(directory)/lvm"),
            disks: { DiskObservation.read() }, health: { DiskHealth.ask($0) }, clock: clock)
    }

    init(
        directory: String, commands: VolumeCommands, disks: @escaping @Sendable () -> [ObservedDisk],
        health: @escaping @Sendable (String) -> DiskHealth, clock: any WallClock
    ) {
        self.directory = directory
        self.commands = commands
        self.disks = disks
        self.health = health
        self.clock = clock
    }

    public func apply(_ items: [String: NodeView.Item]) -> NodeStatusReport.RoleStatus {
        (self.items, unreadable) = Self.read(items)
        return work(isAllowedToChange: true)
    }

    public func check() -> NodeStatusReport.RoleStatus { work(isAllowedToChange: false) }

    public func metrics() -> [MetricsReport.Sample] { figures }

    /// The pools that `items` hold, by key, and what cannot be read.
    static func read(_ items: [String: NodeView.Item]) -> ([StoragePoolItem], [String]) {
        var pools: [StoragePoolItem] = []
        var problems: [String] = []
        for (key, item) in items.sorted(by: { $0.key < $1.key }) {
            guard let pool = try? item.decode(StoragePoolItem.self) else {
                problems.append("'\(key.printable(limit: 80))' is not a pool that this agent understands; upgrade it.")
                continue
            }
            pools.append(pool)
        }
        if pools.count > StorageFacts.Limit.pools {
            problems.append("\(pools.count) pools are too many; \(StorageFacts.Limit.pools) are made.")
        }
        return (Array(pools.prefix(StorageFacts.Limit.pools)), problems)
    }

    // MARK: Work

    private var claimsPath: String { "\(directory)/members.json" }

    private func work(isAllowedToChange: Bool) -> NodeStatusReport.RoleStatus {
        var findings = StorageFindings(unreadable: unreadable, asked: items.map(\.disks.pool))
        var claims = MemberClaims.load(claimsPath)
        do throws(SystemError) {
            var lvm = try commands.report()
            var observed = disks()
            for item in items {
                var plan = plan(item, observed, lvm, claims)
                if isAllowedToChange, !plan.steps.isEmpty {
                    do throws(SystemError) {
                        try execute(plan.steps, &claims)
                    } catch {
                        findings.poolProblems.append(error.publicMessage)
                    }
                    lvm = try commands.report()
                    observed = disks()
                    plan = self.plan(item, observed, lvm, claims)
                }
                findings.add(plan)
            }
            findings.leftover(lvm)
            healthUntil = ContinuousClock.now + Self.healthPatience
            facts = describe(findings.groups, lvm, observed, claims)
            figures = figures(facts)
        } catch {
            findings.poolProblems.append(error.publicMessage)
        }
        return findings.status(facts: facts, now: clock.now)
    }

    private func plan(
        _ item: StoragePoolItem, _ observed: [ObservedDisk], _ lvm: VolumeReport, _ claims: MemberClaims
    ) -> StoragePlan {
        var random = SystemRandomNumberGenerator()
        return StoragePlan.make(
            for: item, disks: observed, lvm: lvm, claims: Set(claims.members.keys), random: &random)
    }

    private func execute(_ steps: [StorageStep], _ claims: inout MemberClaims) throws(SystemError) {
        for step in steps {
            if case .makeMember(let disk, let uuid) = step {
                // The disk may have been written to, or its name given to another, since it was looked at.
                let now = disks().first { $0.disk.path == disk.path }
                guard let now, now.disk.serial == disk.serial, now.signatures == [], now.use == nil else {
                    throw SystemError("take \(StoragePlan.name(disk))", errno: 0, detail: "it has just changed")
                }
                guard claims.members.count < MemberClaims.countMax else {
                    throw SystemError("take \(StoragePlan.name(disk))", errno: 0, detail: "too many disks were taken")
                }
                claims.members[uuid] = MemberClaims.Claim(serial: disk.serial, model: disk.model)
                guard SystemFile.makeDirectory(directory) else {
                    throw SystemError("make \(directory)", errno: errno)
                }
                try claims.store(claimsPath)
            }
            try commands.execute(step)
        }
    }

    // MARK: Facts

    private func describe(
        _ groups: [VolumeGroup], _ lvm: VolumeReport, _ observed: [ObservedDisk], _ claims: MemberClaims
    ) -> StorageFacts {
        StorageFacts(
            pools: groups.map { group in
                let members = lvm.members.filter { $0.groupUUID == group.uuid }.map { volume in
                    member(volume, observed, claims)
                }
                return StorageFacts.Pool(name: group.name, size: group.size, free: group.free, members: members)
            })
    }

    private func member(
        _ volume: PhysicalVolume, _ observed: [ObservedDisk], _ claims: MemberClaims
    ) -> StorageFacts.Member {
        let disk = observed.first { $0.signatures?.contains { $0.uuid == volume.uuid } == true }?.disk
        let claim = claims.members[volume.uuid]
        guard !volume.isMissing, let disk else {
            return StorageFacts.Member(
                uuid: volume.uuid, serial: claim?.serial, model: claim?.model, size: volume.size,
                isMissing: volume.isMissing, health: .unknown)
        }
        let health = health(of: disk.path, serial: disk.serial)
        return StorageFacts.Member(
            uuid: volume.uuid, path: disk.path, serial: disk.serial, model: disk.model, size: disk.size,
            health: health.verdict, notes: health.notes)
    }

    private func figures(_ facts: StorageFacts) -> [MetricsReport.Sample] {
        var known: [String: DiskHealth] = [:]
        var errors: [String: UInt64] = [:]
        for member in facts.pools.flatMap(\.members) {
            guard let path = member.path else { continue }
            known[path] = healths[key(path, member.serial)]?.1
            errors[path] = path.split(separator: "/").last.flatMap { DiskObservation.errorCount(String($0)) }
        }
        return StorageFigures.samples(facts, known, errors: errors)
    }

    private func key(_ path: String, _ serial: String?) -> String { "\(path) \(serial ?? "")" }

    /// What the disk said of itself, at most `healthInterval` ago.
    private func health(of path: String, serial: String?) -> DiskHealth {
        let now = clock.now
        let key = key(path, serial)
        if let known = healths[key], now.since(known.at) < Self.healthInterval, now >= known.at { return known.1 }
        guard ContinuousClock.now < healthUntil else {
            return healths[key]?.1 ?? DiskHealth(notes: ["it was not asked yet"])
        }
        let new = health(path)
        if healths.count >= 1024 { healths = [:] }
        healths[key] = (now, new)
        return new
    }
}
