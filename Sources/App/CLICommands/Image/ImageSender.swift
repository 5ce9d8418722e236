import ClientSDK
import FleetContract
import Glibc
import ImageChunks
import NIOCore
import Primitives

/// Cuts an image and sends the conductor those chunks that it lacks, then the manifest.
struct ImageSender {
    let client: FleetClient
    let terminal: Terminal
    let file: String

    /// Bytes of one request; a chunk more may come.
    private static let batchSize = 16 << 20

    struct Result {
        var manifest: Digest
        var chunkCount: Int
        var sentCount: Int
        var storedBytes: UInt64
        var sentBytes: UInt64
    }

    /// Sends what is missing; the image is read once to find its chunks, and once more where chunks are missing.
    func send() async throws -> Result {
        let size = try TextFile.size(file)
        var screen = SendScreen(terminal: terminal)
        let manifest = try ChunkedImage.chunk(file: file) { chunk, _ in
            screen.show("reading", done: chunk.end, total: size)
        }
        screen.end()
        let blobs = manifest.chunks.map(\.blob)
        let missing = Set(try await client.missingBlobs(Array(Set(blobs))))
        let total = manifest.chunks.filter { missing.contains($0.blob) }.reduce(0) { $0 + UInt64($1.storedLength) }
        var rest = missing
        var sentBytes: UInt64 = 0
        var batch: [(digest: Digest, bytes: [UInt8])] = []
        var batchSize = 0
        let reader = try ChunkReader(path: file)
        for chunk in manifest.chunks where rest.remove(chunk.blob) != nil {
            let frame = try reader.frame(of: chunk)
            batch.append((chunk.blob, frame))
            batchSize += frame.count
            guard batchSize >= Self.batchSize else { continue }
            try await client.storeBlobs(batch)
            sentBytes += UInt64(batchSize)
            screen.show("sending", done: sentBytes, total: total)
            (batch, batchSize) = ([], 0)
        }
        if !batch.isEmpty { try await client.storeBlobs(batch) }
        sentBytes += UInt64(batchSize)
        screen.end()
        let encoded = manifest.encoded()
        let digest = manifest.digest
        if try await !client.missingBlobs([digest]).isEmpty {
            try await client.storeBlob(digest, length: UInt64(encoded.count), BufferParts(bytes: encoded))
        }
        return Result(
            manifest: digest, chunkCount: manifest.chunks.count, sentCount: missing.count,
            storedBytes: manifest.chunks.reduce(0) { $0 + UInt64($1.storedLength) }, sentBytes: sentBytes)
    }
}

/// Reads chunks of an image again and compresses them as they were.
final class ChunkReader {
    private let path: String
    // SAFETY: the descriptor is closed once, with this object.
    private let descriptor: Int32

    init(path: String) throws {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        self.path = path
        guard descriptor >= 0 else {
            throw TextFile.Unreadable(path: path, why: "cannot be read: \(String(cString: strerror(errno)))")
        }
    }

    deinit { close(descriptor) }

    /// The stored form of a chunk; throws `Failure` when the file was changed in between.
    func frame(of chunk: ImageChunk) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: chunk.length)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done, Int(chunk.offset) + done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            done += count
        }
        let frame = bytes.withUnsafeBytes { ZstdCompressor().compress($0) }
        guard done == bytes.count, frame.withUnsafeBytes({ ChunkDigest(of: $0) }) == chunk.stored else {
            throw Failure(message: "\(path) was changed while it was read; push it again when it is finished.")
        }
        return frame
    }
}

/// Bytes in parts of 1 MiB.
struct BufferParts: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let bytes: [UInt8]

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ArraySlice<UInt8>

        mutating func next() async -> ByteBuffer? {
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(1 << 20) }
            return ByteBuffer(bytes: rest.prefix(1 << 20))
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: bytes[...]) }
}

/// Shows how far a transfer is, on terminals only.
struct SendScreen {
    let terminal: Terminal
    private var percent = -1

    init(terminal: Terminal) { self.terminal = terminal }

    mutating func show(_ what: String, done: UInt64, total: UInt64) {
        guard terminal.isInteractive, total > 0 else { return }
        let now = Int(done * 100 / total)
        guard now != percent else { return }
        percent = now
        terminal.redraw("\(what) \(ProgressBar.text(percent: now))  \(ByteCount(bytes: done))")
    }

    mutating func end() {
        if percent >= 0 { terminal.redraw("") }
        percent = -1
    }
}
