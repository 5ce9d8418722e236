import AgentProtocol
import HardwareInventory
import Primitives
import Testing

@testable import RoleStorage

/// The plan of a storage pool, without disks.
@Suite struct StoragePlanTests {
    static let owner = try! NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")
    static let other = try! NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b843")
    static let tags = ["muster.pool", "muster.owner=\(owner.raw)"]

    static func disk(
        _ name: String, serial: String, bears signatures: [DiskSignature]? = [], use: ObservedDisk.Use? = nil,
        size: ByteCount = .gibibytes(8), change: (inout InventoryReport.Disk) -> Void = { _ in }
    ) -> ObservedDisk {
        var disk = InventoryReport.Disk(
            name: name, path: "/dev/\(name)", serial: serial, size: size, isRotational: false, bus: "virtio")
        change(&disk)
        return ObservedDisk(disk: disk, signatures: signatures, use: use)
    }

    static let system = disk(
        "vda", serial: "S0", bears: [DiskSignature(type: "gpt", usage: "partitions")], use: .system)
    static let blank = [disk("vdb", serial: "S1"), disk("vdc", serial: "S2")]
    static let all = DataDisks(pool: "data", all: true)

    static func plan(
        _ disks: [ObservedDisk], _ wanted: DataDisks = all, lvm: VolumeReport = VolumeReport(),
        claims: Set<MemberID> = []
    ) -> StoragePlan {
        var random = SeededRandom(seed: 1)
        return StoragePlan.make(
            for: StoragePoolItem(owner: owner, disks: wanted), disks: disks, lvm: lvm, claims: claims, random: &random)
    }

    static func group(_ tags: [String] = tags, name: String = "data") -> VolumeGroup {
        VolumeGroup(uuid: "G", name: name, tags: tags, size: .gibibytes(8), free: .gibibytes(8))
    }

    static func member(_ uuid: String, _ path: String, group: String? = "G", isMissing: Bool = false) -> PhysicalVolume
    {
        PhysicalVolume(
            uuid: uuid, path: path, groupUUID: group, groupName: group == nil ? nil : "data", size: .gibibytes(8),
            isMissing: isMissing)
    }

    static let lvmMember = DiskSignature(type: "LVM2_member", usage: "raid", uuid: "M1")

    @Test("Blank disks make a pool; the system's own is left out without a word")
    func blankDisks() throws {
        let plan = Self.plan([Self.system] + Self.blank)
        #expect(plan.refusals.isEmpty && plan.problems.isEmpty && plan.steps.count == 3)
        guard case .makeMember(let disk, let uuid) = plan.steps[0] else {
            Issue.record("no member is made first")
            return
        }
        #expect(disk.name == "vdb" && uuid.split(separator: "-").map(\.count) == [6, 4, 4, 4, 4, 4, 6])
        #expect(plan.steps[2] == .createPool("data", tags: Self.tags, paths: ["/dev/vdb", "/dev/vdc"]))
    }

    @Test(
        "Each signature is refused by name",
        arguments: [
            (DiskSignature(type: "ext4", usage: "filesystem", label: "photos"), "a file system (ext4) 'photos'"),
            (DiskSignature(type: "linux_raid_member", usage: "raid", label: "node:0"), "an mdraid member 'node:0'"),
            (DiskSignature(type: "LVM2_member", usage: "raid", uuid: "FOREIGN"), "an LVM physical volume"),
            (DiskSignature(type: "gpt", usage: "partitions"), "a partition table (gpt)"),
            (DiskSignature(type: "dos", usage: "partitions"), "a partition table (dos)"),
            (DiskSignature(type: "swap", usage: "other"), "swap space"),
            (DiskSignature(type: "crypto_LUKS", usage: "crypto"), "an encrypted container (crypto_LUKS)"),
            (DiskSignature(type: "ceph_bluestore", usage: "other"), "a signature (ceph_bluestore)"),
        ])
    func signatures(_ signature: DiskSignature, _ words: String) {
        let plan = Self.plan([Self.disk("vdc", serial: "VB3", bears: [signature])])
        #expect(plan.steps.isEmpty)
        #expect(plan.refusals.count == 1)
        #expect(plan.refusals[0].text.hasPrefix("vdc (serial VB3) bears \(words). "), "\(plan.refusals)")
        #expect(plan.refusals[0].text.contains("wipefs --all /dev/vdc"))
        #expect(plan.problems == ["No disk can be taken for the pool 'data'."])
    }

    @Test("One disk with a signature keeps no blank one from being taken")
    func others() {
        let used = Self.disk(
            "vdd", serial: "S3",
            bears: [DiskSignature(type: "ext4", usage: "filesystem"), DiskSignature(type: "gpt", usage: "partitions")])
        let plan = Self.plan(Self.blank + [used])
        #expect(plan.steps.last == .createPool("data", tags: Self.tags, paths: ["/dev/vdb", "/dev/vdc"]))
        #expect(plan.refusals[0].text.contains("a file system (ext4) and a partition table (gpt)"))
    }

    @Test("What cannot be read, is mounted, or is part of something is refused; never taken for blank")
    func inUse() {
        let disks = [
            Self.disk("vdb", serial: "S1", bears: nil), Self.disk("vdc", serial: "S2", use: .mounted("/srv")),
            Self.disk("vdd", serial: "S3", use: .held(["md0"])), Self.disk("vde", serial: "S4", use: .mounted("swap")),
            Self.disk("vdf", serial: "S5") { $0.contents.isAmbiguous = true },
        ]
        let plan = Self.plan(disks)
        #expect(plan.steps.isEmpty && plan.refusals.count == 5)
        for (refusal, words) in zip(
            plan.refusals, ["cannot be read", "mounted at /srv", "part of md0", "swap space", "not clear"])
        {
            #expect(refusal.text.contains(words), "\(refusal)")
        }
    }

    @Test("Removable, read-only and small disks and the system's are never taken, not even by name")
    func unusable() {
        let disks = [
            Self.system, Self.disk("sdb", serial: "S1") { $0.isRemovable = true },
            Self.disk("sdc", serial: "S2") { $0.isReadOnly = true },
            Self.disk("sdd", serial: "S3", size: .mebibytes(100)),
        ]
        #expect(Self.plan(disks).steps.isEmpty && Self.plan(disks).refusals.isEmpty)
        let named = DataDisks(matches: ["S0", "S1", "S2", "S3"].map { DataDisks.Match(serial: $0) })
        let plan = Self.plan(disks, named)
        #expect(plan.steps.isEmpty && plan.refusals.count == 4)
        #expect(plan.refusals[0].text.contains("vda (serial S0) is the disk that this node runs from"))
        let sorts = DataDisks(matches: [DataDisks.Match(isRotational: false)])
        #expect(Self.plan(disks, sorts).refusals.map(\.text) == ["No disk fits (not rotational)."])
    }

    @Test("A match that is about one disk and fits two takes none and lists them; one about a sort takes all")
    func matches() {
        let twins = [Self.disk("vdb", serial: "SAME"), Self.disk("vdc", serial: "SAME")]
        let plan = Self.plan(twins, DataDisks(matches: [DataDisks.Match(serial: "SAME")]))
        #expect(plan.steps.isEmpty)
        #expect(
            plan.refusals.map(\.text) == [
                "(serial SAME) fits 2 disks, none is taken: vdb (serial SAME), vdc (serial SAME)."
            ])
        let sort = Self.plan(twins, DataDisks(matches: [DataDisks.Match(bus: "virtio", sizeMin: .gibibytes(1))]))
        #expect(sort.steps.count == 3)
        let large = Self.plan(twins, DataDisks(matches: [DataDisks.Match(sizeMin: .gibibytes(9))]))
        #expect(large.refusals.map(\.text) == ["No disk fits (at least 9 GiB)."])
    }

    @Test("A pool that is there is adopted: no step; a new blank disk extends it")
    func adoption() {
        let first = Self.disk("vdb", serial: "S1", bears: [Self.lvmMember])
        let lvm = VolumeReport(groups: [Self.group()], members: [Self.member("M1", "/dev/vdb")])
        let same = Self.plan([Self.system, first], lvm: lvm)
        #expect(same.steps.isEmpty && same.problems.isEmpty && same.refusals.isEmpty && same.group?.name == "data")
        let more = Self.plan([Self.system, first, Self.blank[1]], lvm: lvm)
        #expect(more.steps.count == 2 && more.steps.last == .extendPool("data", paths: ["/dev/vdc"]))
    }

    @Test("A member that was made before an interruption is taken in; the same without our note is refused")
    func interrupted() {
        let half = Self.disk("vdb", serial: "S1", bears: [Self.lvmMember])
        let lvm = VolumeReport(members: [Self.member("M1", "/dev/vdb", group: nil)])
        let plan = Self.plan([half], lvm: lvm, claims: ["M1"])
        #expect(plan.steps == [.createPool("data", tags: Self.tags, paths: ["/dev/vdb"])])
        let foreign = Self.plan([half], lvm: lvm)
        #expect(foreign.steps.isEmpty && foreign.refusals[0].text.contains("an LVM physical volume"))
    }

    @Test("A group of somebody else, of another node, or of a name that two have is not touched")
    func foreignGroups() {
        let lvm = { (groups: [VolumeGroup]) in
            VolumeReport(groups: groups, members: [Self.member("M1", "/dev/vdb")])
        }
        let disks = [Self.disk("vdb", serial: "S1", bears: [Self.lvmMember]), Self.blank[1]]
        let stranger = Self.plan(disks, lvm: lvm([Self.group([])]))
        #expect(stranger.steps.isEmpty && stranger.group == nil)
        #expect(stranger.problems[0].contains("that Muster did not make"))
        let neighbour = Self.plan(
            disks, lvm: lvm([Self.group(["muster.pool", "muster.owner=\(Self.other.raw)"])]))
        #expect(neighbour.steps.isEmpty && neighbour.group == nil)
        #expect(
            neighbour.problems[0].contains(
                "vgchange --deltag muster.owner=\(Self.other.raw) --addtag muster.owner=\(Self.owner.raw) data"))
        let twice = Self.plan(disks, lvm: lvm([Self.group(), Self.group()]))
        #expect(twice.steps.isEmpty && twice.problems[0].contains("2 volume groups"))
        let bad = Self.plan(disks, DataDisks(pool: "-rf", all: true))
        #expect(bad.steps.isEmpty && bad.problems == ["'-rf' cannot name a pool."])
    }

    @Test("While a member is missing nothing is changed, and that is said")
    func missing() {
        let lvm = VolumeReport(
            groups: [Self.group()],
            members: [Self.member("M1", "/dev/vdb"), Self.member("M2", "[unknown]", isMissing: true)])
        let plan = Self.plan([Self.disk("vdb", serial: "S1", bears: [Self.lvmMember]), Self.blank[1]], lvm: lvm)
        #expect(plan.steps.isEmpty && plan.group != nil)
        #expect(plan.problems[0].contains("1 of 2 disks of the pool 'data' are missing"))
    }
}
