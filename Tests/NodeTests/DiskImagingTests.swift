import AgentProtocol
import DiskImaging
import Glibc
import ImageChunks
import LinuxSystem
import Primitives
import Testing

/// An image of 24 MiB with a GPT: `root` with an ext4 file system, `state` with another.
struct NodeImage {
    let path: String
    let manifest: ChunkManifest
    let stored: [[UInt8]]

    init(_ directory: TemporaryDirectory) throws {
        path = directory("image")
        Shell.run(
            """
            set -e; cd \(directory.path); truncate -s 24M image
            printf 'label: gpt\\nsize=8M, name=root\\nsize=13M, name=state\\n' | sfdisk -q image
            truncate -s 8M root; mkfs.ext4 -q -L root root; truncate -s 13M state; mkfs.ext4 -q -L state state
            head -c 3000000 /dev/urandom > noise
            dd if=root of=image bs=1M seek=1 conv=notrunc,sparse status=none
            dd if=noise of=image bs=1M seek=4 conv=notrunc status=none
            dd if=state of=image bs=1M seek=9 conv=notrunc,sparse status=none
            """)
        var frames: [[UInt8]] = []
        manifest = try ChunkedImage.chunk(file: path) { frames.append($1) }
        stored = frames
    }
}

@Suite struct DiskImagingTests {
    let directory = TemporaryDirectory()

    @Test("An image on a larger, dirty disk: byte for byte the image, the table fitted to the disk")
    func wholeImage() throws {
        let image = try NodeImage(directory)
        Shell.run("head -c 41943040 /dev/urandom > \(directory("disk"))")
        let writer = try DiskWriter(device: BlockDevice(path: directory("disk")), manifest: image.manifest)
        for frame in image.stored { try writer.write(frame) }
        let table = try #require(try writer.finish(growing: StatePartition.name))

        let state = try #require(table.entry(named: "state"))
        #expect(state.number == 2)
        #expect(state.firstSector == 9 << 11)
        #expect((state.lastSector + 1) % 2048 == 0)
        #expect(state.size > .mebibytes(29))
        let verdict = Shell.run("sfdisk --verify \(directory("disk"))")
        #expect(verdict.contains("No errors detected"))
        // Everything behind the table, up to the image's own backup table, is the image.
        Shell.run("cmp -i 17408 -n $((23 * 1048576 - 17408)) \(image.path) \(directory("disk"))")
        #expect(Shell.run("blkid -p -s TYPE -o value -O $((9 << 20)) \(directory("disk"))") == "ext4\n")
    }

    @Test("Each disk gets identifiers of its own, so that two disks with one image can be told apart")
    func identifiers() throws {
        let image = try NodeImage(directory)
        /// The UUIDs (version 4) of the disk and its partitions, as another program reads them.
        func write(_ disk: String, seed: UInt64) throws -> [Substring] {
            Shell.run("truncate -s 40M \(directory(disk))")
            let writer = try DiskWriter(device: BlockDevice(path: directory(disk)), manifest: image.manifest)
            for frame in image.stored { try writer.write(frame) }
            try writer.finish(growing: "state", random: .seeded(seed))
            #expect(Shell.run("sfdisk --verify \(directory(disk))").contains("No errors detected"))
            let pattern = "(label-id: |uuid=)[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}"
            return Shell.run("sfdisk --dump \(directory(disk)) | grep -oE '\(pattern)'").split(separator: "\n")
        }
        let one = try write("one", seed: 1)
        let other = try write("other", seed: 2)
        #expect(Set(one).count == 3 && Set(other).count == 3)
        #expect(Set(one).isDisjoint(with: other))
        #expect(try write("again", seed: 1) == one)
    }

    @Test("Until the end the disk has no partition table, so that half an image never starts")
    func halfAnImage() throws {
        let image = try NodeImage(directory)
        Shell.run("cp \(image.path) \(directory("disk")); truncate -s 30M \(directory("disk"))")
        let writer = try DiskWriter(device: BlockDevice(path: directory("disk")), manifest: image.manifest)
        for frame in image.stored.dropLast() { try writer.write(frame) }
        let start = try #require(SystemFile.bytes(directory("disk"), limit: GPT.primaryLength))
        #expect(start.allSatisfy { $0 == 0 })
    }

    @Test("A damaged chunk leaves the disk alone and may come again; a resume verifies what was written")
    func interruption() throws {
        let image = try NodeImage(directory)
        Shell.run("truncate -s 30M \(directory("disk"))")
        let writer = try DiskWriter(device: BlockDevice(path: directory("disk")), manifest: image.manifest)
        let middle = image.stored.count / 2
        for frame in image.stored[..<middle] { try writer.write(frame) }
        var damaged = image.stored[middle]
        damaged[damaged.count / 2] ^= 0x40
        let error = #expect(throws: DiskError.self) { try writer.write(damaged) }
        #expect(error?.isRetryable == true)
        #expect(try writer.resume() == middle)

        // The disk forgets the last chunk: it is written again.
        let chunk = image.manifest.chunks[middle - 1]
        Shell.run(
            "dd if=/dev/zero of=\(directory("disk")) bs=4096 count=1 seek=\(chunk.offset / 4096) conv=notrunc status=none"
        )
        #expect(try writer.resume() == middle - 1)
        for frame in image.stored[(middle - 1)...] { try writer.write(frame) }
        try writer.finish(growing: "state")
        Shell.run("cmp -i 17408 -n $((23 * 1048576 - 17408)) \(image.path) \(directory("disk"))")
    }

    @Test("A resume asks the disk, not the memory in front of it")
    func lostOnTheDisk() throws {
        let image = try NodeImage(directory)
        Shell.run("truncate -s 30M \(directory("disk"))")
        let loop = LoopDevice(file: directory("disk"))
        let writer = try DiskWriter(device: BlockDevice(path: loop.path), manifest: image.manifest)
        let middle = image.stored.count / 2
        for frame in image.stored[..<middle] { try writer.write(frame) }
        #expect(try writer.resume() == middle)
        let chunk = image.manifest.chunks[middle - 1]
        Shell.run(
            "dd if=/dev/zero of=\(directory("disk")) bs=4096 count=1 seek=\(chunk.offset / 4096) conv=notrunc status=none"
        )
        #expect(try writer.resume() == middle - 1)
    }

    @Test("A disk that is too small says what it has and what is needed")
    func tooSmall() throws {
        let image = try NodeImage(directory)
        Shell.run("truncate -s 20M \(directory("disk"))")
        let error = #expect(throws: DiskError.self) {
            try DiskWriter(device: BlockDevice(path: directory("disk")), manifest: image.manifest)
        }
        #expect(error?.publicMessage.contains("has 20 MiB, the image needs 24 MiB") == true)
        #expect(throws: DiskError.notADisk(path: "/dev/null")) { try BlockDevice(path: "/dev/null") }
        #expect(throws: DiskError.self) { try BlockDevice(path: "/dev/no-such-disk") }
    }

    @Test("On a block device: nobody else has it, and the state partition is written through its file system")
    func blockDevice() throws {
        let image = try NodeImage(directory)
        Shell.run("truncate -s 40M \(directory("disk"))")
        let loop = LoopDevice(file: directory("disk"))
        do {
            let writer = try DiskWriter(device: BlockDevice(path: loop.path), manifest: image.manifest)
            #expect(throws: DiskError.inUse(path: loop.path)) { try BlockDevice(path: loop.path) }
            for frame in image.stored { try writer.write(frame) }
            try writer.finish(growing: "state")
        }
        Shell.run("dd if=\(directory("disk")) of=\(directory("part")) bs=1M skip=9 count=13 status=none")
        let partition = LoopDevice(file: directory("part"))
        let files = [
            StateFile(path: "muster/hostname", content: "net-1\n"),
            StateFile(path: "muster/agent.json", content: "{}", mode: 0o600),
        ]
        try StatePartition.write(files, device: partition.path)
        try StatePartition.write(files, device: partition.path)
        let listing = Shell.run("debugfs -R 'ls -p /muster' \(directory("part")) 2>/dev/null")
        #expect(listing.contains("/100600/0/0/agent.json/2/"))
        #expect(listing.contains("/100644/0/0/hostname/6/"))
        #expect(SystemFile.names(in: "/run").allSatisfy { !$0.hasPrefix("muster-state-") })
    }

    @Test(
        "Files lead nowhere but below the partition",
        arguments: ["../etc/passwd", "/etc/passwd", "a/../../b", "", "a//b", "a/./b", "a\nb", "1/2/3/4/5/6/7/8/9"])
    func filePaths(path: String) {
        #expect(throws: DiskError.filePath(path)) {
            try StatePartition.write([StateFile(path: path, content: "")], device: "/dev/null")
        }
    }

    @Test("A partition table with any flipped bit is refused")
    func damagedTable() throws {
        Shell.run("truncate -s 4M \(directory("t")); printf 'label: gpt\\nname=state\\n' | sfdisk -q \(directory("t"))")
        let bytes = try #require(SystemFile.bytes(directory("t"), limit: GPT.primaryLength))
        #expect(try GPT(primary: bytes).entries.map(\.name) == ["state"])
        var random = SeededRandom(seed: 5)
        for round in 0..<40 {
            var damaged = bytes
            let place = round % 2 == 0 ? 512..<604 : 1024..<GPT.primaryLength
            damaged[Int.random(in: place, using: &random)] ^= UInt8(1 << (round % 8))
            #expect(throws: GPTError.self) { try GPT(primary: damaged) }
        }
        #expect(throws: GPTError.self) { try GPT(primary: []) }
    }

    @Test("Partition devices are named as the kernel names them")
    func names() {
        #expect(BlockDevice.partitionPath(disk: "/dev/vda", number: 5) == "/dev/vda5")
        #expect(BlockDevice.partitionPath(disk: "/dev/nvme0n1", number: 5) == "/dev/nvme0n1p5")
    }
}
