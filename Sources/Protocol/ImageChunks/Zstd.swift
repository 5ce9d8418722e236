import CZstd
import Primitives

/// Compresses chunks into zstd frames (RFC 8878); the same library and the same bytes give the same frame.
public struct ZstdCompressor: ~Copyable {
    /// The level that chunks are stored with.
    public static let level: Int32 = 3

    // SAFETY: the context belongs to this value alone and is freed with it.
    private let context: OpaquePointer

    /// A compressor; it traps when no memory is left.
    public init() {
        guard let context = ZSTD_createCCtx() else { fatalError("out of memory") }
        self.context = context
    }

    deinit { ZSTD_freeCCtx(context) }

    /// One frame of `bytes`, which are at most `ChunkLimit.maximumLength`.
    public func compress(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        precondition(bytes.count <= ChunkLimit.maximumLength, "a chunk is larger than its limit")
        let bound = ZSTD_compressBound(bytes.count)
        return [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            let length = ZSTD_compressCCtx(
                context, buffer.baseAddress, bound, bytes.baseAddress, bytes.count, Self.level)
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

    /// The bytes of one frame; nil unless they are exactly `length` bytes.
    public func decompress(_ frame: UnsafeRawBufferPointer, length: Int) -> [UInt8]? {
        var isWhole = false
        let bytes = [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            let result = ZSTD_decompressDCtx(context, buffer.baseAddress, length, frame.baseAddress, frame.count)
            isWhole = ZSTD_isError(result) == 0 && result == length
            count = isWhole ? length : 0
        }
        return isWhole ? bytes : nil
    }

    /// The bytes of `chunk`, whose stored form is `frame`; throws `ChunkError.corrupted` unless both are what the
    /// manifest says. `index` is for the message.
    public func open(_ frame: [UInt8], as chunk: ImageChunk, index: Int) throws(ChunkError) -> [UInt8] {
        guard frame.count == chunk.storedLength else {
            throw .corrupted(chunk: index, reason: "\(frame.count) bytes instead of \(chunk.storedLength)")
        }
        guard let bytes = frame.withUnsafeBytes({ decompress($0, length: chunk.length) }) else {
            throw .corrupted(chunk: index, reason: "it does not decompress to \(chunk.length) bytes")
        }
        guard bytes.withUnsafeBytes({ ChunkDigest(of: $0) }) == chunk.raw else {
            throw .corrupted(chunk: index, reason: "its digest is not the manifest's")
        }
        return bytes
    }
}
