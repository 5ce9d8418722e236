import AgentProtocol
import FoundationEssentials
import Glibc
import LinuxSystem
import Primitives
import Testing

@testable import HardwareInventory

@Suite struct InventoryTests {
    let directory = TemporaryDirectory()

    @Test("This machine: processors, memory, disks with their contents, within a second")
    func thisMachine() throws {
        let clock = ContinuousClock()
        var report: InventoryReport?
        let time = clock.measure {
            report = HardwareCollector(agentVersion: "test").collect(now: Timestamp(millisecondsSinceEpoch: 1))
        }
        let found = try #require(report)
        print("inventory: \(time), \(found.disks.count) disks, \(found.nics.count) interfaces")
        #expect(found.cpu.threads >= 1 && found.cpu.cores >= 1 && !found.cpu.architecture.isEmpty)
        #expect(found.memory.total > .mebibytes(64))
        #expect(found.kernelVersion == Machine.kernelVersion)
        #expect(found.disks.allSatisfy { !$0.name.hasPrefix("loop") && !$0.name.hasPrefix("zram") })
        #expect(found.disks.allSatisfy { $0.size.bytes == sysfsSize($0.name) })
        #expect(time < .seconds(5))
        #expect(try JSONDecoder().decode(InventoryReport.self, from: JSONEncoder().encode(found)) == found)
    }

    private func sysfsSize(_ name: String) -> UInt64 {
        UInt64(clamping: SystemFile.number("/sys/class/block/\(name)/size") ?? 0) * 512
    }

    @Test("File systems, swap, LVM and RAID members, partitions: what libblkid knows by looking")
    func contents() throws {
        Shell.run(
            """
            set -e; cd \(directory.path); truncate -s 16M ext4 empty swap parts dos
            mkfs.ext4 -q -L data -U 11111111-2222-3333-4444-555555555555 ext4; mkswap -q -L pages swap
            printf 'label: gpt\\nsize=2M, name=one\\nsize=10M, name=two\\n' | sfdisk -q parts
            dd if=ext4 of=parts bs=1M seek=3 count=10 conv=notrunc status=none
            printf 'label: dos\\ndos1: size=4M, type=83\\ndos2: size=8M, type=5\\ndos5: size=2M, type=83\\n' | sfdisk -q dos
            """)
        #expect(try BlockProbe.contents(directory("empty")).isEmpty)
        let ext4 = try #require(try BlockProbe.contents(directory("ext4")).signature)
        #expect(
            ext4
                == InventoryReport.Signature(
                    usage: "filesystem", type: "ext4", label: "data", uuid: "11111111-2222-3333-4444-555555555555"))
        #expect(try BlockProbe.contents(directory("swap")).signature?.type == "swap")

        let parts = try BlockProbe.contents(directory("parts"))
        #expect(parts.partitionTable == "gpt" && parts.signature == nil && parts.partitionTableUUID?.count == 36)
        #expect(parts.partitions.map(\.name) == ["one", "two"])
        #expect(parts.partitions.map(\.number) == [1, 2])
        #expect(parts.partitions[1].start == 3 << 20 && parts.partitions[1].size == .mebibytes(10))
        #expect(parts.partitions[0].signature == nil && parts.partitions[1].signature?.label == "data")

        let dos = try BlockProbe.contents(directory("dos"))
        #expect(dos.partitionTable == "dos" && dos.partitions.map(\.number) == [1, 2, 5])
        #expect(throws: SystemError.self) { try BlockProbe.contents(directory("missing")) }
    }

    @Test("A disk's true serial number and name, bus by bus")
    func identity() {
        let none: DiskIdentity.Lookup = { _ in nil }
        func serial(_ facts: [String: String]) -> String? { DiskIdentity.serial({ facts[$0] }, none) }
        #expect(serial(["ID_SERIAL": "VB0001"]) == "VB0001")
        #expect(serial(["ID_SERIAL": "LABDISK_SATA0002", "ID_SERIAL_SHORT": "SATA0002"]) == "SATA0002")
        #expect(
            serial(["ID_SERIAL": "35000c5", "ID_SERIAL_SHORT": "5000c5", "ID_SCSI_SERIAL": "SCSI0004"]) == "SCSI0004")
        #expect(DiskIdentity.serial(none) { $0 == "serial" ? "VB0001" : nil } == "VB0001")
        #expect(DiskIdentity.wwn({ $0 == "ID_WWN" ? "0x5000" : nil }, none) == "0x5000")
        #expect(DiskIdentity.bus("vda", none) == "virtio" && DiskIdentity.bus("nvme0n1", none) == "nvme")
        #expect(DiskIdentity.bus("sda") { $0 == "ID_BUS" ? "ata" : nil } == "ata")
    }

    @Test("Two sockets of two cores with two threads each")
    func processors() {
        let cpuinfo = (0..<8).map { index in
            """
            processor\t: \(index)
            vendor_id\t: GenuineIntel
            model name\t: Xeon  Test
            physical id\t: \(index / 4)
            core id\t\t: \(index / 2 % 2)
            flags\t\t: fpu vmx lm avx2 zzz

            """
        }.joined(separator: "\n")
        let cpu = ProcessorFacts.parse(cpuinfo, architecture: "x86_64")
        #expect(cpu.sockets == 2 && cpu.cores == 4 && cpu.threads == 8)
        #expect(cpu.model == "Xeon  Test" && cpu.flags == ["avx2", "lm", "vmx"])
        #expect(ProcessorFacts.parse("", architecture: "x86_64").threads == 0)
    }

    @Test("Memory modules from SMBIOS; any bytes are read to an end")
    func memoryModules() {
        var body = [UInt8](repeating: 0, count: 0x28)
        body.replaceSubrange(0..<2, with: [17, 0x28])
        body.replaceSubrange(0x0C..<0x0E, with: [0x00, 0x20])
        body.replaceSubrange(0x10..<0x11, with: [1])
        body.replaceSubrange(0x15..<0x17, with: [0x80, 0x0C])
        body[0x18] = 2
        let table = [0, 4, 0, 0, 0, 0] + body + Array("DIMM 0\0S123\0\0".utf8) + [127, 4, 0, 0, 0, 0]
        #expect(
            MemoryModules.parse(table) == [
                InventoryReport.Memory.Module(slot: "DIMM 0", size: .gibibytes(8), speed: 3200, serial: "S123")
            ])
        var random = SeededRandom(seed: 4)
        for _ in 0..<500 {
            var damaged = table
            for _ in 0..<3 {
                damaged[Int.random(in: 0..<table.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            _ = MemoryModules.parse(Array(damaged.prefix(Int.random(in: 0...table.count, using: &random))))
        }
    }

    @Test("A report keeps within its limits, however it comes into being")
    func limits() throws {
        let disk = InventoryReport.Disk(
            name: "sd\u{1B}[2J", path: "/dev/sda", serial: String(repeating: "x", count: 500), size: .gibibytes(1))
        let report = InventoryReport(
            agentVersion: "1\n2", collectedAt: Timestamp(millisecondsSinceEpoch: 0), kernelVersion: "6.1",
            system: InventoryReport.System(vendor: "a\u{202E}b", firmwareMode: .bios),
            cpu: InventoryReport.CPU(architecture: "x86_64", sockets: 1, cores: 1, threads: 1),
            memory: InventoryReport.Memory(total: .gibibytes(1)), disks: Array(repeating: disk, count: 300), nics: [])
        #expect(report.agentVersion == "1?2" && report.system.vendor == "a?b")
        #expect(report.disks.count == 256 && report.omissions == ["300 disks found, the first 256 kept"])
        #expect(report.disks[0].name == "sd?[2J" && report.disks[0].serial?.count == 128)
        var json = String(decoding: try JSONEncoder().encode(report), as: UTF8.self)
        json = json.replacing("\"6.1\"", with: "\"6\\u0007\"")
        #expect(try JSONDecoder().decode(InventoryReport.self, from: Data(json.utf8)).kernelVersion == "6?")
    }
}
