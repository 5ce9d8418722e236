import AgentProtocol
import HardwareInventory
import Primitives

/// The identifier of an LVM physical volume, as LVM writes it: `xxxxxx-xxxx-xxxx-xxxx-xxxx-xxxx-xxxxxx`.
typealias MemberID = String

/// One change towards a pool.
enum StorageStep: Hashable, Sendable {
    /// Makes a blank disk a physical volume with an identifier that is written down before.
    case makeMember(InventoryReport.Disk, MemberID)
    /// Makes the volume group of these physical volumes, with its marks.
    case createPool(String, tags: [String], paths: [String])
    /// Takes further physical volumes in.
    case extendPool(String, paths: [String])
}

/// Why something that is asked for is not taken.
struct StorageRefusal: Hashable, Sendable {
    /// The kernel's name of the disk; nil when no disk fits, or more than one.
    var disk: String?
    /// One sentence or two: why, and what to do.
    var text: String
}

/// What is to be done for one pool, and what stands in the way.
struct StoragePlan: Hashable, Sendable {
    /// The changes, in order.
    var steps: [StorageStep] = []
    /// What is asked for and not taken.
    var refusals: [StorageRefusal] = []
    /// Why the pool itself is not as it should be; one sentence each.
    var problems: [String] = []
    /// The pool as it is; nil when there is none or it is not ours.
    var group: VolumeGroup?
}

extension StoragePlan {
    /// The mark of every pool that this role has made.
    static let tag = "muster.pool"
    /// The mark of a pool's node.
    static func ownerTag(_ owner: NodeID) -> String { "\(ownerPrefix)\(owner.raw)" }
    static let ownerPrefix = "muster.owner="
    /// The smallest disk that is taken.
    static let diskSizeMin = ByteCount.mebibytes(512)

    /// The plan for `item` on a node with these `disks` and volume groups; `claims` are the members that this role has
    /// begun to make. Pure.
    ///
    /// Only blank disks are taken; what bears any signature, is in use or cannot be read is refused by name. Nothing is
    /// ever taken out of a pool.
    static func make(
        for item: StoragePoolItem, disks: [ObservedDisk], lvm: VolumeReport, claims: Set<MemberID>,
        random: inout some RandomNumberGenerator
    ) -> StoragePlan {
        var plan = StoragePlan()
        let name = item.disks.pool
        guard (try? DNSLabel(name, as: "pool name")) != nil else {
            plan.problems.append("'\(name.printable(limit: 80))' cannot name a pool.")
            return plan
        }
        let groups = lvm.groups.filter { $0.name == name }
        guard groups.count < 2 else {
            plan.problems.append(
                "There are \(groups.count) volume groups named '\(name)'; rename all but one: vgrename.")
            return plan
        }
        if let group = groups.first {
            if let problem = foreign(group, item.owner) {
                plan.problems.append(problem)
                return plan
            }
            plan.group = group
        }
        let members = plan.group.map { group in lvm.members.filter { $0.groupUUID == group.uuid } } ?? []
        let missing = members.filter(\.isMissing)
        let wanted = selection(item.disks, among: disks, &plan.refusals)
        var paths: [String] = []
        for observed in wanted where !isMember(observed, of: members) {
            if let volume = orphan(observed, lvm, claims) {
                paths.append(volume.path)
            } else if let refusal = refusal(of: observed, lvm) {
                plan.refusals.append(StorageRefusal(disk: observed.disk.name, text: refusal))
            } else if missing.isEmpty {
                plan.steps.append(.makeMember(observed.disk, memberID(&random)))
                paths.append(observed.disk.path)
            }
        }
        guard missing.isEmpty else {
            plan.problems.append(
                "\(missing.count) of \(members.count) disks of the pool '\(name)' are missing; nothing is changed "
                    + "until they are back.")
            plan.steps = []
            return plan
        }
        guard !paths.isEmpty else {
            if plan.group == nil { plan.problems.append("No disk can be taken for the pool '\(name)'.") }
            return plan
        }
        plan.steps.append(
            plan.group == nil
                ? .createPool(name, tags: [tag, ownerTag(item.owner)], paths: paths)
                : .extendPool(name, paths: paths))
        return plan
    }

    /// Why a group of the pool's name is not this node's pool.
    private static func foreign(_ group: VolumeGroup, _ owner: NodeID) -> String? {
        guard group.tags.contains(tag) else {
            return "There is a volume group '\(group.name)' that Muster did not make; rename it (vgrename) or give the "
                + "pool another name."
        }
        guard let other = group.tags.first(where: { $0.hasPrefix(ownerPrefix) }), other != ownerTag(owner) else {
            return nil
        }
        return
            "The pool '\(group.name)' on these disks was made for another node, \(other.dropFirst(ownerPrefix.count)). "
            + "To keep its data and use it here: vgchange --deltag \(other) --addtag \(ownerTag(owner)) \(group.name)"
    }

    // MARK: Disks

    /// The disks that the item is about, each once; says what it names and cannot have.
    private static func selection(
        _ wanted: DataDisks, among disks: [ObservedDisk], _ refusals: inout [StorageRefusal]
    ) -> [ObservedDisk] {
        let usual = disks.filter { unusable($0) == nil }
        guard !wanted.all else { return usual }
        var chosen: [ObservedDisk] = []
        for match in wanted.matches {
            let fitting = (match.namesOne ? disks : usual).filter { match.fits($0.disk) }
            if fitting.isEmpty { refusals.append(StorageRefusal(text: "No disk fits (\(match)).")) }
            if match.namesOne, fitting.count > 1 {
                let list = fitting.prefix(16).map { name($0.disk) }.joined(separator: ", ")
                let text = "(\(match)) fits \(fitting.count) disks, none is taken: \(list)."
                refusals.append(StorageRefusal(text: text))
                continue
            }
            for disk in fitting where !chosen.contains(where: { $0.disk.name == disk.disk.name }) {
                if let why = unusable(disk) {
                    let text = "\(name(disk.disk)) \(why); take it out of dataDisks."
                    refusals.append(StorageRefusal(disk: disk.disk.name, text: text))
                } else {
                    chosen.append(disk)
                }
            }
        }
        return chosen.sorted { $0.disk.name < $1.disk.name }
    }

    /// Why a disk is never taken, whatever is on it.
    private static func unusable(_ observed: ObservedDisk) -> String? {
        let disk = observed.disk
        if observed.use == .system { return "is the disk that this node runs from" }
        if disk.isRemovable { return "is removable" }
        if disk.isReadOnly { return "is read-only" }
        if disk.size < diskSizeMin { return "is smaller than \(diskSizeMin)" }
        return nil
    }

    private static func isMember(_ observed: ObservedDisk, of members: [PhysicalVolume]) -> Bool {
        guard let found = observed.signatures, found.count == 1, found[0].type == "LVM2_member" else { return false }
        return members.contains { $0.uuid == found[0].uuid && !$0.isMissing }
    }

    /// The physical volume on the disk, when this role made it and was interrupted before it was in a pool.
    private static func orphan(
        _ observed: ObservedDisk, _ lvm: VolumeReport, _ claims: Set<MemberID>
    ) -> PhysicalVolume? {
        guard let found = observed.signatures, found.count == 1, let uuid = found[0].uuid, claims.contains(uuid) else {
            return nil
        }
        return lvm.members.first { $0.uuid == uuid && $0.groupUUID == nil && $0.path == observed.disk.path }
    }

    /// Why a disk is not blank.
    private static func refusal(of observed: ObservedDisk, _ lvm: VolumeReport) -> String? {
        let name = name(observed.disk)
        switch observed.use {
        case .mounted("swap"): return "\(name) is in use as swap space; take it out of dataDisks."
        case .mounted(let point): return "\(name) is mounted at \(point); take it out of dataDisks."
        case .system, .held, nil: break
        }
        guard let signatures = observed.signatures else {
            return "\(name) cannot be read; replace it or take it out of dataDisks."
        }
        let remedy =
            "If nothing on it is needed, wipe it on the node (wipefs --all \(observed.disk.path)); else take it out of "
            + "dataDisks."
        if !signatures.isEmpty {
            let all = signatures.prefix(8).map { describe($0, lvm) }.joined(separator: " and ")
            return "\(name) bears \(all). \(remedy)"
        }
        if case .held(let holders) = observed.use {
            return "\(name) is part of \(holders.prefix(4).joined(separator: ", ")); take it out of dataDisks."
        }
        if !observed.disk.contents.isEmpty { return "\(name) has contents that are not clear. \(remedy)" }
        return nil
    }

    /// For example `vdc (serial VB0003)`.
    static func name(_ disk: InventoryReport.Disk) -> String {
        let serial = (disk.serial ?? disk.wwn ?? disk.idPath)?.printable(limit: 80)
        return serial.map { "\(disk.name) (serial \($0))" } ?? disk.name
    }

    private static func describe(_ signature: DiskSignature, _ lvm: VolumeReport) -> String {
        let label = signature.label.map { " '\($0)'" } ?? ""
        switch (signature.type, signature.usage) {
        case ("linux_raid_member", _): return "an mdraid member\(label)"
        case ("LVM2_member", _):
            let group = lvm.members.first { $0.uuid == signature.uuid }?.groupName
            return group.map { "a physical volume of the volume group '\($0)'" } ?? "an LVM physical volume"
        case ("swap", _): return "swap space\(label)"
        case (let type, "partitions"): return "a partition table (\(type))"
        case (let type, "crypto"): return "an encrypted container (\(type))\(label)"
        case (let type, "filesystem"): return "a file system (\(type))\(label)"
        case (let type, _): return "a signature (\(type))\(label)"
        }
    }

    /// 32 random characters of those that LVM allows, in its grouping.
    static func memberID(_ random: inout some RandomNumberGenerator) -> MemberID {
        let letters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
        return [6, 4, 4, 4, 4, 4, 6].map { count in
            String((0..<count).map { _ in letters[Int.random(in: 0..<letters.count, using: &random)] })
        }.joined(separator: "-")
    }
}
