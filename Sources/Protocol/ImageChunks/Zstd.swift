import CZstd
import Primitives

/// Compresses chunks into zstd frames (RFC 8878) with a checksum of their content (XXH64); the same library and the same
/// bytes give the same frame.
public struct ZstdCompressor: ~Copyable {
    /// The level that chunks are stored with.
    public static let level: Int32 = 3

    // SAFETY: the context belongs to this value alone and is freed with it.
    private let context: OpaquePointer

    /// A compressor; it traps when no memory is left.
    public init() {
        guard let context = ZSTD_createCCtx() else { fatalError("out of memory") }
        self.context = context
        for (parameter, value) in [(ZSTD_c_compressionLevel, Self.level), (ZSTD_c_checksumFlag, 1)] {
            precondition(ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)) == 0, "zstd knows no checksum")
        }
    }

    deinit { ZSTD_freeCCtx(context) }

    /// One frame of `bytes`, which are at most `ChunkLimit.maximumLength`.
    public func compress(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        precondition(bytes.count <= ChunkLimit.maximumLength, "a chunk is larger than its limit")
        let bound = ZSTD_compressBound(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            let length = ZSTD_compress2(context, buffer.baseAddress, bound, bytes.baseAddress, bytes.count)
            precondition(ZSTD_isError(length) == 0, "zstd failed within its own bound")
            count = length
        }
    }
}

/// Decompresses chunks without ever writing more than was announced.
public struct ZstdDecompressor: ~Copyable {
    // SAFETY: the context belongs to this value alone and is freed with it.
    private let context: OpaquePointer

    /// A decompressor; it traps when no memory is left.
    public init() {
        guard let context = ZSTD_createDCtx() else { fatalError("out of memory") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Unpacks one frame to `target`; false unless it is exactly as many bytes as the target, and has them whole.
    public func decompress(_ frame: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
        let result = ZSTD_decompressDCtx(context, target.baseAddress, target.count, frame.baseAddress, frame.count)
        return ZSTD_isError(result) == 0 && result == target.count
    }

    /// Unpacks `chunk`, whose stored form is `frame`, to `target`, which has the chunk's length. Throws
    /// `ChunkError.corrupted` unless the frame is what the manifest says; `index` is for the message.
    ///
    /// The digest that is checked is that of the stored form: its bytes are fewer, and nothing is unpacked that the
    /// manifest does not name. That the unpacking went well is for the frame's own checksum to say.
    public func open(
        _ frame: UnsafeRawBufferPointer, as chunk: ImageChunk, index: Int, into target: UnsafeMutableRawBufferPointer
    ) throws(ChunkError) {
        precondition(target.count == chunk.length, "the target does not have the chunk's length")
        guard frame.count == chunk.storedLength else {
            throw .corrupted(chunk: index, reason: "\(frame.count) bytes instead of \(chunk.storedLength)")
        }
        let found = ChunkDigest(of: frame)
        guard found == chunk.stored else {
            throw .corrupted(chunk: index, reason: "its digest is \(found.digest) instead of \(chunk.blob)")
        }
        guard decompress(frame, into: target) else {
            throw .corrupted(
                chunk: index, reason: "it does not decompress to \(chunk.length) bytes with their checksum")
        }
    }
}
