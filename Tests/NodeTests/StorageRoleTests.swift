import AgentProtocol
import Glibc
import HardwareInventory
import LinuxSystem
import Primitives
import Synchronization
import Testing

@testable import RoleStorage

/// Always the same time, so that two equal states are equal.
private struct StoppedClock: WallClock {
    let now = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)
}

/// The storage role with lvm2 on loop devices. Device mapper is not needed: no volume is activated.
@Suite struct StorageRoleTests {
    /// Loop devices over files of a folder, as disks.
    private final class Disks: @unchecked Sendable {
        // SAFETY: the folder is a constant text, and the devices have a lock.
        let directory = TemporaryDirectory()
        private let devices = Mutex<[(path: String, serial: String)]>([])

        var paths: [String] { devices.withLock { $0.map(\.path) } }

        func add(_ serial: String, _ prepare: (_ file: String) -> String = { _ in "true" }) {
            let file = directory(serial)
            Shell.run("truncate -s 600M \(file)")
            Shell.run(prepare(file))
            attach(serial)
        }

        func attach(_ serial: String) {
            let path = Shell.run("losetup --find --show \(directory(serial))").prefix { $0 != "\n" }
            devices.withLock { $0.append((String(path), serial)) }
        }

        func detach(_ serial: String) {
            devices.withLock { devices in
                for device in devices where device.serial == serial { Shell.run("losetup --detach \(device.path)") }
                devices.removeAll { $0.serial == serial }
            }
        }

        func observe() -> [ObservedDisk] {
            devices.withLock(\.self).map { path, serial in
                let name = String(path.split(separator: "/").last ?? "")
                let sectors = SystemFile.number("/sys/block/\(name)/size") ?? 0
                return DiskObservation.read(
                    InventoryReport.Disk(
                        name: name, path: path, serial: serial, size: ByteCount(bytes: UInt64(sectors) * 512)))
            }
        }

        /// A role that sees these disks and no others, like one that was just started.
        func role(_ health: @escaping @Sendable (String) -> DiskHealth = { _ in DiskHealth(verdict: .none) })
            -> StorageRole
        {
            var commands = VolumeCommands(backups: directory("lvm"))
            commands.devices = { self.paths }
            commands.hasDeviceMapper = false
            return StorageRole(
                directory: directory("state"), commands: commands, disks: { self.observe() }, health: health,
                clock: StoppedClock())
        }

        deinit {
            for (path, _) in devices.withLock(\.self) { Shell.run("losetup --detach \(path)") }
        }
    }

    private static let owner = try! NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")

    private static func items(_ pool: String, _ serials: [String]? = nil) throws -> [String: NodeView.Item] {
        let disks = DataDisks(
            pool: pool, all: serials == nil, matches: (serials ?? []).map { DataDisks.Match(serial: $0) })
        return [
            "pool-\(pool)": try NodeView.Item(
                kind: StoragePoolItem.kind, generation: Generation(1),
                encoding: StoragePoolItem(owner: owner, disks: disks))
        ]
    }

    /// A digest of the first and the last 16 MiB, where all that names a disk's contents is.
    private static func ends(_ path: String) -> String {
        Shell.run("for skip in 0 584; do dd if=\(path) bs=1M skip=$skip count=16 status=none; done | sha256sum")
    }

    /// The texts of disks that are refused.
    private static func refusals(_ status: NodeStatusReport.RoleStatus) -> [String] {
        status.conditions.filter { $0.type.hasPrefix("DiskClaimed/") && !$0.isTrue }.map(\.message)
    }

    private static func message(_ status: NodeStatusReport.RoleStatus, _ type: String) -> String? {
        status.conditions.first { $0.type == type && !$0.isTrue }?.message
    }

    @Test("Blank disks become a pool, which is adopted by the next agent, extended, and never destroyed")
    func life() async throws {
        let pool = "mt\(getpid())life"
        let disks = Disks()
        disks.add("S1")
        disks.add("S2")
        let first = disks.role()
        let made = await first.apply(try Self.items(pool, ["S1", "S2"]))
        #expect(made.isReady && made.conditions.allSatisfy(\.isTrue), "\(made.conditions)")
        let facts = try #require(made.facts?.storage?.pools.first)
        #expect(facts.name == pool && facts.members.compactMap(\.serial).sorted() == ["S1", "S2"])
        #expect(facts.size == facts.free && facts.size > .mebibytes(1100))
        let before = disks.paths.map(Self.ends)
        #expect(await first.check() == made)
        let second = disks.role()
        let adopted = await second.apply(try Self.items(pool, ["S1", "S2"]))
        #expect(adopted.isReady && adopted.facts == made.facts)
        #expect(disks.paths.map(Self.ends) == before, "an adopted pool is not written to")
        disks.add("S3")
        let offered = await second.check()
        #expect(offered == adopted, "a disk that is not asked for is left alone")
        let extended = await second.apply(try Self.items(pool))
        #expect(extended.isReady && extended.facts?.storage?.pools.first?.members.count == 3, "\(extended.conditions)")
        let names = await second.metrics().filter { $0.name == "muster_storage_pool_members" }
        #expect(names.map(\.value) == [3])
        let dropped = await second.apply([:])
        #expect(dropped.isReady)
        #expect(Self.message(dropped, "PoolsAskedFor")?.contains("it stays with its data") == true)
        #expect(dropped.facts?.storage?.pools.map(\.name) == [pool])
        #expect(await disks.role().apply(try Self.items(pool)).facts == extended.facts)
    }

    @Test(
        "What a disk bears is found by looking, and keeps it from being taken; not one byte of it is changed",
        arguments: [
            ("ext4", "a file system (ext4) 'photos'", "mkfs.ext4 -q -F -L photos"),
            ("swap", "swap space", "mkswap -q"),
            ("gpt", "a partition table (gpt)", "printf 'label: gpt\\nsize=10M\\n' | sfdisk -q"),
            ("dos", "a partition table (dos)", "printf 'label: dos\\nsize=10M\\n' | sfdisk -q"),
            (
                "luks", "an encrypted container (crypto_LUKS)",
                "printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 -d -"
            ),
        ])
    func signatures(_ name: String, _ words: String, _ command: String) async throws {
        let disks = Disks()
        disks.add("USED-\(name)") { "\(command) \($0)" }
        let before = Self.ends(disks.paths[0])
        let status = await disks.role().apply(try Self.items("mt\(getpid())\(name)"))
        #expect(!status.isReady)
        #expect(
            Self.refusals(status).first?.contains("(serial USED-\(name)) bears \(words).") == true,
            "\(status.conditions)")
        #expect(Self.ends(disks.paths[0]) == before)
    }

    @Test("A member of somebody else's RAID and of somebody else's volume group")
    func foreign() async throws {
        let group = "mt\(getpid())theirs"
        let disks = Disks()
        disks.add("RAID")
        disks.add("LVM")
        // What mdadm writes for a member of 'node:0' (version 1.2): it needs md in the kernel to do so itself.
        Shell.run(Self.raidMember(disks.directory("RAID")))
        Shell.run(
            "export LVM_SUPPRESS_FD_WARNINGS=1; lvm vgcreate --driverloaded n --devices \(disks.paths[1]) \(group) "
                + "\(disks.paths[1])")
        let status = await disks.role().apply(try Self.items("mt\(getpid())ours"))
        let messages = Self.refusals(status)
        try #require(messages.count == 2, "\(status.conditions)")
        #expect(messages[0].contains("(serial RAID) bears an mdraid member 'node:0'."))
        #expect(messages[1].contains("(serial LVM) bears a physical volume of the volume group '\(group)'."))
        #expect(
            Self.message(status, "DisksClaimed")?.hasPrefix("2 disks are not taken, see the check of each: ") == true)
        let same = await disks.role().apply(try Self.items(group))
        #expect(Self.message(same, "PoolReady")?.contains("that Muster did not make") == true)
    }

    /// Writes the superblock of an mdraid member, version 1.2, at 4 KiB: magic, version, UUID, name, and its checksum.
    private static func raidMember(_ file: String) -> String {
        """
        python3 - \(file) <<'END'
        import struct, sys
        block = bytearray(256)
        struct.pack_into("<IIII", block, 0, 0xa92b4efc, 1, 0, 0)
        block[16:32] = bytes(range(1, 17))
        block[32:38] = b"node:0"
        struct.pack_into("<I", block, 72, 1)
        struct.pack_into("<Q", block, 128, 2048)
        struct.pack_into("<Q", block, 144, 8)
        total = sum(struct.unpack("<64I", block))
        struct.pack_into("<I", block, 216, (total & 0xffffffff) + (total >> 32) & 0xffffffff)
        with open(sys.argv[1], "r+b") as disk:
            disk.seek(4096)
            disk.write(block)
        END
        """
    }

    @Test("A member that is gone is named by its serial number; nothing is changed until it is back")
    func missing() async throws {
        let pool = "mt\(getpid())gone"
        let disks = Disks()
        disks.add("S1")
        disks.add("S2")
        let role = disks.role()
        let whole = await role.apply(try Self.items(pool))
        #expect(whole.isReady, "\(whole.conditions)")
        disks.detach("S2")
        disks.add("S3")
        let lame = await role.apply(try Self.items(pool))
        #expect(!lame.isReady)
        #expect(
            Self.message(lame, "PoolReady")?.contains("The disk serial S2 of the pool '\(pool)' is missing") == true)
        #expect(lame.facts?.storage?.pools.first?.members.filter(\.isMissing).map(\.serial) == ["S2"])
        #expect(await role.metrics().first { $0.name == "muster_storage_pool_members_missing" }?.value == 1)
        disks.detach("S3")
        disks.attach("S2")
        let healed = await role.apply(try Self.items(pool, ["S1", "S2"]))
        #expect(healed.isReady && healed.facts?.storage?.pools.first?.members.count == 2, "\(healed.conditions)")
    }

    @Test("A disk that says that it is failing is told, and asked again only after a while")
    func failing() async throws {
        let disks = Disks()
        disks.add("S1")
        let asked = Atomic(0)
        let count: @Sendable () -> Void = { asked.add(1, ordering: .relaxed) }
        let role = disks.role { _ in
            count()
            return DiskHealth(verdict: .failing, notes: ["its medium is read-only"], temperature: 51)
        }
        let status = await role.apply(try Self.items("mt\(getpid())fail"))
        #expect(status.isReady, "a failing disk still serves")
        #expect(Self.message(status, "DisksHealthy")?.contains("serial S1 is failing: its medium is read-only") == true)
        _ = await role.check()
        #expect(asked.load(ordering: .relaxed) == 1)
        let samples = await role.metrics()
        #expect(samples.first { $0.name == "muster_storage_disk_healthy" }?.value == 0)
        #expect(samples.first { $0.name == "muster_storage_disk_temperature_celsius" }?.value == 51)
    }

    @Test("Without lvm2 the role says so")
    func withoutLVM() async throws {
        let directory = TemporaryDirectory()
        let role = StorageRole(
            directory: directory("state"), commands: VolumeCommands(program: "/nowhere/lvm", backups: directory("b")),
            disks: { [] }, health: { _ in DiskHealth() }, clock: StoppedClock())
        let status = await role.apply(try Self.items("data"))
        let message = Self.message(status, "PoolReady") ?? ""
        #expect(!status.isReady && message.contains("run lvm: it is not installed"), "\(message)")
    }
}
