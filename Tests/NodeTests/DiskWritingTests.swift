import Glibc
import ImageChunks
import Primitives
import Testing

@testable import DiskImaging

/// An image of `bytes` in chunks.
private struct CutImage {
    let manifest: ChunkManifest
    let stored: [[UInt8]]

    init(_ bytes: [UInt8], _ directory: TemporaryDirectory) throws {
        let path = directory("cut")
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        var frames: [[UInt8]] = []
        manifest = try ChunkedImage.chunk(file: path) { frames.append($1) }
        stored = frames
    }
}

/// A file system of a few MiB in memory, which goes with the test.
private final class SmallFileSystem {
    let path: String

    init(_ directory: TemporaryDirectory, mebibytes: Int) {
        path = directory("small")
        Shell.run("mkdir \(path) && mount -t tmpfs -o size=\(mebibytes)M muster-test \(path)")
    }

    deinit { Shell.run("umount \(path)") }
}

@Suite struct DiskWritingTests {
    let directory = TemporaryDirectory()

    /// Noise with gaps of all sizes: none, smaller and larger than what is joined, and larger than a buffer.
    private func patchwork(seed: UInt64, tail: Int) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var bytes: [UInt8] = []
        for pages in [1, 16, 17, 300, 3, 0, 40] {
            bytes += (0..<Int.random(in: 1...300, using: &random) * 512).flatMap { _ in
                withUnsafeBytes(of: random.next()) { Array($0) }
            }
            bytes += [UInt8](repeating: 0, count: pages * ChunkLimit.page)
        }
        return bytes + [UInt8](repeating: 7, count: tail)
    }

    @Test(
        "Whatever the gaps, and where nothing is aligned at the end, the disk has the image and zeros between",
        arguments: [(1, 0), (2, 1), (3, 512), (4, 4096), (5, 700)] as [(UInt64, Int)])
    func gaps(seed: UInt64, tail: Int) throws {
        let image = patchwork(seed: seed, tail: tail)
        let cut = try CutImage(image, directory)
        let small = SmallFileSystem(directory, mebibytes: 32)
        for disk in [directory("disk"), "\(small.path)/disk"] {
            Shell.run("head -c \(image.count + 5000) /dev/urandom > \(disk)")
            let writer = try DiskWriter(device: BlockDevice(path: disk), manifest: cut.manifest)
            for (index, frame) in cut.stored.enumerated() {
                #expect(writer.next == index)
                try writer.write(frame)
            }
            try writer.finish(growing: nil)
            Shell.run("cmp -n \(image.count) \(directory("cut")) \(disk)")
        }
    }

    @Test("A disk that cannot make zeros by itself is read, and written where it has to be")
    func zerosByHand() throws {
        Shell.run("head -c 3000000 /dev/urandom > \(directory("disk"))")
        let device = try BlockDevice(path: directory("disk"))
        for range in [4096..<1_500_000, 1_600_001..<1_600_002, 2_000_000..<3_000_000] as [Range<UInt64>] {
            try device.zeroByReading(range)
            try device.zeroByReading(range)
            #expect(try device.firstNonZero(in: range) == nil)
        }
        #expect(try device.firstNonZero(in: 0..<4096) != nil)
        #expect(try device.firstNonZero(in: 1_500_000..<1_600_001) != nil)
        #expect(try device.firstNonZero(in: 1_600_002..<2_000_000) != nil)
        try device.zero(0..<3_000_000)
        #expect(try device.firstNonZero(in: 0..<3_000_000) == nil)
        #expect(device.size == 3_000_000)
    }

    @Test("A disk that fails in the middle is told of, at the latest when all should be there, and has no table")
    func failure() throws {
        let image = patchwork(seed: 6, tail: 0)
        let cut = try CutImage(image, directory)
        let small = SmallFileSystem(directory, mebibytes: 1)
        let disk = "\(small.path)/disk"
        Shell.run("truncate -s \(image.count) \(disk)")
        let writer = try DiskWriter(device: BlockDevice(path: disk), manifest: cut.manifest)
        let full = DiskError.failed(action: "write to", path: disk, errno: ENOSPC)
        #expect(throws: full) {
            for frame in cut.stored { try writer.write(frame) }
            try writer.finish(growing: nil)
        }
        #expect(throws: full) { try writer.resume() }
        Shell.run("cmp -n 512 /dev/zero \(disk)")
    }

    @Test("A damaged chunk between good ones: nothing of it is on the disk, and all before it is")
    func damage() throws {
        let image = patchwork(seed: 7, tail: 0)
        let cut = try CutImage(image, directory)
        Shell.run("head -c \(image.count) /dev/urandom > \(directory("disk"))")
        let writer = try DiskWriter(device: BlockDevice(path: directory("disk")), manifest: cut.manifest)
        for (index, frame) in cut.stored.enumerated() {
            var damaged = frame
            damaged[Int(index * 7919) % frame.count] ^= 0x10
            let error = #expect(throws: DiskError.self) { try writer.write(damaged) }
            #expect(error?.publicMessage.contains("Chunk \(index) ") == true)
            #expect(error?.publicMessage.contains(cut.manifest.chunks[index].blob.description) == true)
            if index % 5 == 0 { #expect(try writer.resume() == index) }
            try writer.write(frame)
        }
        try writer.finish(growing: nil)
        Shell.run("cmp \(directory("cut")) \(directory("disk"))")
    }

    @Test("A writer that is given up lets go of the disk")
    func abandoned() throws {
        let cut = try CutImage(patchwork(seed: 8, tail: 0), directory)
        Shell.run("truncate -s 16M \(directory("disk"))")
        let loop = LoopDevice(file: directory("disk"))
        for _ in 0..<3 {
            let writer = try DiskWriter(device: BlockDevice(path: loop.path), manifest: cut.manifest)
            for frame in cut.stored.dropLast(2) { try writer.write(frame) }
        }
        // Nobody else has it (O_EXCL), and it is not a half-written image that could start.
        let device = try BlockDevice(path: loop.path)
        #expect(try device.firstNonZero(in: 0..<UInt64(GPT.primaryLength)) == nil)
    }
}
