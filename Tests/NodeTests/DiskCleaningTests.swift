import AgentProtocol
import DiskImaging
import Glibc
import HardwareInventory
import Primitives
import TestSupport
import Testing

@testable import DiskImaging

@Suite struct DiskCleaningTests {
    private let directory = TemporaryDirectory()
    private let cleaner = DiskCleaner { try BlockProbe.contents($0) }

    /// A file of `size` MiB full of noise, with what `script` puts on it (`$disk`).
    private func disk(_ size: Int, _ script: String) -> String {
        let path = directory("disk")
        Shell.run("set -e; disk=\(path); head -c \(size << 20) /dev/urandom > $disk; \(script)")
        return path
    }

    @Test("Signatures of the disk and inside its partitions are gone, and read back as gone")
    func quick() throws {
        let path = disk(
            40,
            """
            printf 'label: gpt\\nsize=12M, name=a\\nsize=20M, name=b\\n' | sfdisk -q $disk
            truncate -s 12M a; mkfs.ext4 -q -L old a; dd if=a of=$disk bs=1M seek=1 conv=notrunc status=none; rm a
            """.replacing("truncate -s 12M a", with: "cd \(directory.path); truncate -s 12M a"))
        #expect(try BlockProbe.contents(path).findings() == ["a gpt partition table", "ext4 'old' in partition 1"])
        let result = try cleaner.clean(path, serial: "S1", method: .quick)
        #expect(result.found == ["a gpt partition table", "ext4 'old' in partition 1"])
        #expect(!result.isDiscarded)
        #expect(try BlockProbe.contents(path).isEmpty)
        #expect(Shell.run("blkid -p \(path); echo $?").contains("2"))
        // Also at the partition's old place: nothing resurfaces when the same table is made again.
        #expect(Shell.run("blkid -p -O $((1 << 20)) -S $((12 << 20)) \(path); echo $?").contains("2"))
        // Quick means quick: what lies between the ends is still there.
        #expect(
            Shell.run("cmp -n 4096 -i $((18 << 20)):0 \(path) /dev/zero && echo zero || echo data").contains("data"))
    }

    @Test("Overwriting leaves no byte, and reads every one back")
    func overwrite() throws {
        let path = disk(10, "mkfs.ext4 -q -F -L x $disk 8M")
        let result = try cleaner.clean(path, serial: nil, method: .overwrite)
        #expect(result.found == ["ext4 'x'"])
        #expect(result.readBack == .mebibytes(10))
        #expect(Shell.run("cmp -n $((10 << 20)) \(path) /dev/zero && echo zero") == "zero\n")
    }

    @Test(
        "A disk with sectors of 4096 bytes is emptied like others, and no image is written to it",
        .enabled(if: geteuid() == 0))
    func largeSectors() throws {
        let path = disk(24, ":")
        let loop = LoopDevice(file: path, sectorSize: 4096)
        Shell.run(
            """
            printf 'label: gpt\\nsize=12M\\n' | sfdisk -q \(loop.path); cd \(directory.path)
            truncate -s 12M a; mkfs.ext4 -q -L old a; dd if=a of=\(loop.path) bs=1M seek=1 conv=notrunc,fsync status=none; rm a
            """)
        let before = try BlockProbe.contents(loop.path).findings()
        #expect(before == ["a gpt partition table", "ext4 'old' in partition 1"])
        #expect(throws: DiskError.sectorSize(path: loop.path, found: 4096)) { try BlockDevice(path: loop.path) }
        for method in [CleanMethod.quick, .overwrite] {
            let result = try cleaner.clean(loop.path, serial: nil, method: method)
            #expect(result.found == (method == .quick ? before : []))
            #expect(try BlockProbe.contents(loop.path).isEmpty)
        }
        #expect(Shell.run("cmp -n $((24 << 20)) \(path) /dev/zero && echo zero") == "zero\n")
    }

    @Test("A disk that still shows something afterwards has failed")
    func notEmpty() throws {
        let path = disk(9, ":")
        let stubborn = DiskCleaner { _ in
            InventoryReport.DiskContents(signature: InventoryReport.Signature(type: "LVM2_member"))
        }
        #expect(throws: DiskError.notEmpty(path: path, found: ["LVM2_member"])) {
            try stubborn.clean(path, serial: nil, method: .quick)
        }
    }

    @Test("What is no NVMe disk says so and names the way out")
    func format() throws {
        let path = disk(9, ":")
        let error = #expect(throws: DiskError.self) { try cleaner.clean(path, serial: nil, method: .format) }
        #expect(error?.publicMessage.contains("Choose the method 'overwrite'") == true)
        #expect(Shell.run("cmp -n 4096 \(path) /dev/zero && echo zero || echo data").contains("data"), "it was touched")
    }

    @Test("An order that is taken back stops between two steps")
    func withdrawn() throws {
        let path = disk(9, ":")
        #expect(throws: CancellationError.self) {
            try cleaner.clean(path, serial: nil, method: .overwrite, isWanted: { false })
        }
    }

    @Test("The ends of disk and partitions, merged, inside the disk")
    func ends() {
        let mebibyte: UInt64 = 1 << 20
        func partition(_ start: UInt64, _ size: UInt64) -> InventoryReport.Partition {
            InventoryReport.Partition(number: 1, start: start * mebibyte, size: .mebibytes(size))
        }
        func ends(_ size: UInt64, _ partitions: [InventoryReport.Partition]) -> [Range<UInt64>] {
            DiskCleaner.ends(of: size * mebibyte, partitions: partitions).map {
                $0.lowerBound / mebibyte..<$0.upperBound / mebibyte
            }
        }
        #expect(ends(100, []) == [0..<4, 96..<100])
        #expect(ends(6, []) == [0..<6])
        #expect(ends(100, [partition(1, 49)]) == [0..<5, 46..<50, 96..<100])
        // A table that lies about the size of the disk leads nowhere beyond it.
        #expect(ends(100, [partition(90, 5000), partition(200, 10)]) == [0..<4, 90..<94, 96..<100])
    }
}
