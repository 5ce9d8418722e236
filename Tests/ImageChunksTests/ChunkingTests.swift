import Glibc
import ImageChunks
import Primitives
import Testing

@Suite struct ChunkingTests {
    let directory = TemporaryDirectory()

    @Test("What is cut comes together again, whatever the image", arguments: UInt64(1)...12)
    func reassembly(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var image: [UInt8] = []
        for part in 0..<Int.random(in: 1...10, using: &random) {
            let length = Int.random(in: 1...200_000, using: &random) * 8
            if Bool.random(using: &random) {
                image += [UInt8](repeating: 0, count: length)
            } else {
                image += randomBytes(length, seed: seed &* 31 &+ UInt64(part))
            }
        }
        let cut = try CutImage(image, directory: directory)
        #expect(try cut.reassembled() == image)
        #expect(cut.manifest.imageSize == UInt64(image.count))
        #expect(cut.manifest.chunks.allSatisfy { $0.length <= ChunkLimit.maximumLength })
        #expect(try ChunkManifest(decoding: cut.manifest.encoded()) == cut.manifest)
    }

    @Test("A few changed bytes send less than 2 % of an image again, an inserted page too")
    func changes() throws {
        let image = randomBytes(64 << 20, seed: 7)
        let first = try CutImage(image, directory: directory)
        let average = Int(first.manifest.dataSize) / first.manifest.chunks.count
        #expect((48 << 10...96 << 10).contains(average))

        var changed = image
        for offset in [100, 20_000_001, 33_000_000, 60_000_000] { changed[offset] ^= 0xFF }
        let second = try CutImage(changed, directory: directory)
        #expect(second.newBytes(since: first) * 50 < first.storedBytes)
        #expect(second.newBytes(since: first) > 0)

        var inserted = image
        inserted.insert(contentsOf: randomBytes(ChunkLimit.page, seed: 8), at: 5000 * ChunkLimit.page)
        let third = try CutImage(inserted, directory: directory)
        #expect(third.newBytes(since: first) * 50 < first.storedBytes)
    }

    @Test("Zero pages are in no chunk, and a hole is as good as zeros")
    func zeros() throws {
        let data = randomBytes(8 * ChunkLimit.page, seed: 3)
        let gap = [UInt8](repeating: 0, count: 3 << 20)
        let cut = try CutImage(gap + data + gap + data + gap, directory: directory)
        #expect(cut.manifest.dataSize == UInt64(2 * data.count))
        #expect(cut.manifest.chunks.first?.offset == UInt64(gap.count))
        #expect(Set(cut.manifest.chunks.map(\.raw)).count * 2 == cut.manifest.chunks.count)

        let sparse = directory.file("sparse", [])
        let descriptor = open(sparse, O_WRONLY)
        for offset in [gap.count, 2 * gap.count + data.count] {
            #expect(pwrite(descriptor, data, data.count, offset) == data.count)
        }
        #expect(ftruncate(descriptor, 3 * gap.count + 2 * data.count) == 0)
        close(descriptor)
        #expect(try ChunkedImage.chunk(file: sparse) { _, _ in } == cut.manifest)
    }

    @Test("An empty image, one of zeros and one that ends inside a page")
    func edges() throws {
        #expect(try CutImage([], directory: directory).manifest.chunks.isEmpty)
        #expect(try CutImage([UInt8](repeating: 0, count: 10_000), directory: directory).manifest.chunks.isEmpty)
        let odd: [UInt8] = randomBytes(ChunkLimit.page, seed: 1) + [1, 2, 3]
        let cut = try CutImage(odd, directory: directory)
        #expect(try cut.reassembled() == odd)
    }

    @Test("An image that is not there is named with the reason")
    func missing() {
        #expect(throws: ChunkError.unreadable(path: "/nonexistent/image", errno: ENOENT)) {
            try ChunkedImage.chunk(file: "/nonexistent/image") { _, _ in }
        }
    }

    @Test("A damaged chunk is refused, wherever the damage is, and both digests are named")
    func corruption() throws {
        let cut = try CutImage(randomBytes(1 << 20, seed: 9), directory: directory)
        let decompressor = ZstdDecompressor()
        let chunk = cut.manifest.chunks[0]
        for offset in stride(from: 0, to: cut.stored[0].count, by: 997) {
            var damaged = cut.stored[0]
            damaged[offset] ^= 1
            let found = damaged.withUnsafeBytes { ChunkDigest(of: $0) }.digest
            let reason = "its digest is \(found) instead of \(chunk.blob)"
            #expect(throws: ChunkError.corrupted(chunk: 0, reason: reason)) {
                try decompressor.opened(damaged, as: chunk, index: 0)
            }
        }
        let frame = cut.stored[0]
        #expect(throws: ChunkError.self) { try decompressor.opened(cut.stored[1], as: chunk, index: 0) }
        #expect(throws: ChunkError.self) { try decompressor.opened(Array(frame.dropLast()), as: chunk, index: 0) }
        #expect(throws: ChunkError.self) { try decompressor.opened([], as: chunk, index: 0) }
    }

    @Test("Unpacking that goes wrong is noticed by the frame's checksum")
    func checksum() throws {
        let bytes = randomBytes(ChunkLimit.page, seed: 11)
        let frame = bytes.withUnsafeBytes { ZstdCompressor().compress($0) }
        // The last four bytes are the checksum; a frame of noise holds it as it is in front of that.
        #expect(unpacked(frame, length: bytes.count) == bytes)
        for offset in [frame.count / 2, frame.count - 1] {
            var damaged = frame
            damaged[offset] ^= 1
            #expect(unpacked(damaged, length: bytes.count) == nil)
        }
    }

    @Test("A frame that swells beyond its announced length is stopped, one that falls short too")
    func bomb() {
        let frame = [UInt8](repeating: 0, count: ChunkLimit.maximumLength).withUnsafeBytes {
            ZstdCompressor().compress($0)
        }
        #expect(frame.count < 100)
        #expect(unpacked(frame, length: 4096) == nil)
        #expect(unpacked(frame, length: ChunkLimit.maximumLength + 4096) == nil)
        #expect(unpacked(frame, length: ChunkLimit.maximumLength) != nil)
    }

    private func unpacked(_ frame: [UInt8], length: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0xFF, count: length)
        let isWhole = bytes.withUnsafeMutableBytes { target in
            frame.withUnsafeBytes { ZstdDecompressor().decompress($0, into: target) }
        }
        return isWhole ? bytes : nil
    }
}
