import Glibc
import ImageChunks
import Primitives
import Testing

/// A directory that goes with the test.
final class TemporaryDirectory {
    let path: String

    init() {
        var template = Array("/tmp/muster-chunks-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit {
        for name in names { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    private var names: [String] = []

    /// Writes `bytes` to a new file and returns its path.
    func file(_ name: String, _ bytes: [UInt8]) -> String {
        names.append(name)
        let descriptor = open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        #expect(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        return "\(path)/\(name)"
    }
}

/// Random bytes that depend on `seed` alone; `count` is a multiple of 8.
func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        let words = UnsafeMutableRawPointer(buffer.baseAddress!).assumingMemoryBound(to: UInt64.self)
        var state = seed
        var index = 0
        while index < count / 8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            words[index] = state ^ state &>> 33
            index &+= 1
        }
        filled = count
    }
}

/// An image cut into chunks, with what would be stored.
struct CutImage {
    var manifest: ChunkManifest
    var stored: [[UInt8]] = []

    init(_ bytes: [UInt8], directory: TemporaryDirectory) throws {
        var frames: [[UInt8]] = []
        manifest = try ChunkedImage.chunk(file: directory.file("image", bytes)) { frames.append($1) }
        stored = frames
    }

    /// The image put together again.
    func reassembled() throws -> [UInt8] {
        let decompressor = ZstdDecompressor()
        var bytes = [UInt8](repeating: 0, count: Int(manifest.imageSize))
        for (index, chunk) in manifest.chunks.enumerated() {
            let raw = try decompressor.opened(stored[index], as: chunk, index: index)
            bytes.replaceSubrange(Int(chunk.offset)..<Int(chunk.end), with: raw)
        }
        return bytes
    }

    /// Stored bytes of this image that `old` does not have.
    func newBytes(since old: CutImage) -> Int {
        let known = Set(old.manifest.chunks.map(\.raw))
        return manifest.chunks.filter { !known.contains($0.raw) }.reduce(0) { $0 + $1.storedLength }
    }

    var storedBytes: Int { manifest.chunks.reduce(0) { $0 + $1.storedLength } }
}

extension ZstdDecompressor {
    /// The bytes of `chunk`, whose stored form is `frame`.
    func opened(_ frame: [UInt8], as chunk: ImageChunk, index: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: chunk.length)
        try bytes.withUnsafeMutableBytes { target in
            try frame.withUnsafeBytes { try open($0, as: chunk, index: index, into: target) }
        }
        return bytes
    }
}
