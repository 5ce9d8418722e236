import Primitives

/// The form in which chunks travel: the chunk's index in the manifest (32 bits), the stored length (32 bits), both big
/// endian, then the stored form.
public enum ChunkFrame {
    /// Bytes before the stored form.
    public static let headerLength = 8

    /// The bytes before the stored form of chunk `index`.
    public static func header(index: Int, storedLength: Int) -> [UInt8] {
        func bytes(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
        return bytes(index) + bytes(storedLength)
    }
}

/// Takes a stream of frames apart as it arrives, and accepts only the frames that the manifest lets come next.
///
/// Holds at most one frame and what was given last: take all frames out before more bytes are given.
public struct ChunkFrameDecoder: Sendable {
    private let manifest: ChunkManifest
    private var buffer: [UInt8] = []
    private var start = 0
    /// The index of the chunk that comes next.
    public private(set) var next: Int

    /// A decoder for the stream that begins with chunk `next` of `manifest`.
    public init(manifest: ChunkManifest, next: Int) {
        self.manifest = manifest
        self.next = next
    }

    /// Whether every chunk has come.
    public var isComplete: Bool { next == manifest.chunks.count }

    /// Adds bytes that have arrived.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// Adds bytes that have arrived.
    public mutating func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    /// The stored form of the next chunk, nil until it has come whole. Throws `ChunkError` for a frame that is not due;
    /// the stream is then of no more use. Let go of the bytes before more are given: they are not a copy.
    public mutating func take() throws(ChunkError) -> (index: Int, stored: ArraySlice<UInt8>)? {
        guard buffer.count - start >= ChunkFrame.headerLength else { return nil }
        let (index, length) = buffer.withUnsafeBytes { raw in
            (
                UInt32(bigEndian: raw.loadUnaligned(fromByteOffset: start, as: UInt32.self)),
                UInt32(bigEndian: raw.loadUnaligned(fromByteOffset: start + 4, as: UInt32.self))
            )
        }
        guard !isComplete, index == UInt32(next) else { throw .unexpectedFrame(expected: next, found: index) }
        let expected = manifest.chunks[next].storedLength
        guard length == UInt32(expected) else {
            throw .frameLength(chunk: next, expected: expected, found: length)
        }
        guard buffer.count - start >= ChunkFrame.headerLength + expected else { return nil }
        let body = start + ChunkFrame.headerLength
        let stored = buffer[body..<(body + expected)]
        start = body + expected
        next += 1
        return (next - 1, stored)
    }
}
