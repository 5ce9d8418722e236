import ImageChunks
import Primitives
import Testing

@Suite struct ManifestTests {
    static func digest(_ byte: UInt8) -> ChunkDigest { [byte].withUnsafeBytes { ChunkDigest(of: $0) } }

    static func chunk(_ offset: UInt64, _ length: Int, stored: Int = 100) -> ImageChunk {
        ImageChunk(
            offset: offset, length: length, raw: digest(1), stored: digest(2), storedLength: stored)
    }

    @Test("A manifest has one form, and its digest is the form's")
    func form() throws {
        let manifest = try ChunkManifest(imageSize: 1 << 20, chunks: [Self.chunk(0, 4096), Self.chunk(8192, 8192)])
        let bytes = manifest.encoded()
        #expect(bytes.count == 28 + 2 * 80)
        #expect(Array(bytes.prefix(4)) == Array("MCHK".utf8))
        #expect(try ChunkManifest(decoding: bytes, named: manifest.digest) == manifest)
        #expect(manifest.dataSize == 12_288)
        #expect(Self.digest(0).digest.hex == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
    }

    @Test(
        "Chunks that overlap, hang over, lie askew or are too long are refused",
        arguments: [
            [chunk(4096, 4096), chunk(0, 4096)], [chunk(0, 8192), chunk(4096, 4096)], [chunk(100, 4096)],
            [chunk(0, 100), chunk(4096, 4096)], [chunk(0, 0)], [chunk(0, 1 << 20)], [chunk(1 << 20, 4096)],
            [chunk(0, 4096, stored: 0)], [chunk(0, 4096, stored: 1 << 20)], [chunk(UInt64.max - 4095, 4096)],
        ])
    func refused(chunks: [ImageChunk]) {
        #expect(throws: ChunkError.self) { try ChunkManifest(imageSize: 1 << 20, chunks: chunks) }
    }

    @Test("Any bytes are either a manifest or an error", arguments: UInt64(0)..<200)
    func total(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let manifest = try ChunkManifest(imageSize: 1 << 20, chunks: [Self.chunk(0, 4096), Self.chunk(8192, 8192)])
        var bytes = manifest.encoded()
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        if seed % 4 == 0 { bytes.removeLast(Int.random(in: 1...bytes.count, using: &random)) }
        do throws(ChunkError) {
            #expect(try ChunkManifest(decoding: bytes).encoded() == bytes)
        } catch {
            #expect(!error.publicMessage.isEmpty)
        }
        #expect(throws: ChunkError.self) { try ChunkManifest(decoding: bytes + [0]) }
    }

    @Test("A newer version says so, a huge count allocates nothing")
    func versions() throws {
        var bytes = try ChunkManifest(imageSize: 0, chunks: []).encoded()
        bytes[5] = 2
        #expect(throws: ChunkError.unknownVersion(2)) { try ChunkManifest(decoding: bytes) }
        bytes[5] = 1
        bytes.replaceSubrange(24..<28, with: [0xFF, 0xFF, 0xFF, 0xFF])
        #expect(throws: ChunkError.self) { try ChunkManifest(decoding: bytes) }
        let other = Self.digest(5).digest
        #expect(throws: ChunkError.self) { try ChunkManifest(decoding: bytes, named: other) }
    }
}

@Suite struct ChunkFrameTests {
    let manifest: ChunkManifest
    let stream: [UInt8]

    init() throws {
        let manifest = try ChunkManifest(
            imageSize: 1 << 20,
            chunks: (0..<20).map { ManifestTests.chunk(UInt64($0) * 8192, 4096, stored: 50 + $0 * 13) })
        self.manifest = manifest
        stream = manifest.chunks.indices.flatMap { index in
            let length = manifest.chunks[index].storedLength
            return ChunkFrame.header(index: index, storedLength: length)
                + [UInt8](repeating: UInt8(index), count: length)
        }
    }

    @Test("Frames come out whole however the stream is cut", arguments: UInt64(0)..<20)
    func pieces(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var decoder = ChunkFrameDecoder(manifest: manifest, next: 0)
        var rest = stream[...]
        var seen: [Int] = []
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...300, using: &random))
            rest = rest.dropFirst(piece.count)
            decoder.append(Array(piece))
            while let (index, stored) = try decoder.take() {
                #expect(Array(stored) == [UInt8](repeating: UInt8(index), count: 50 + index * 13))
                seen.append(index)
            }
        }
        #expect(seen == Array(0..<20))
        #expect(decoder.isComplete)
    }

    @Test("A stream that begins elsewhere, lies about a length or goes on for too long is refused")
    func wrong() throws {
        var later = ChunkFrameDecoder(manifest: manifest, next: 3)
        later.append(stream)
        #expect(throws: ChunkError.unexpectedFrame(expected: 3, found: 0)) { try later.take() }

        var lying = ChunkFrameDecoder(manifest: manifest, next: 0)
        lying.append(ChunkFrame.header(index: 0, storedLength: 0x7FFF_FFFF))
        #expect(throws: ChunkError.frameLength(chunk: 0, expected: 50, found: 0x7FFF_FFFF)) { try lying.take() }

        var over = ChunkFrameDecoder(manifest: manifest, next: 0)
        over.append(stream + ChunkFrame.header(index: 20, storedLength: 1))
        #expect(throws: ChunkError.unexpectedFrame(expected: 20, found: 20)) {
            while try over.take() != nil {}
        }
    }
}
