import Primitives

/// A SHA-256 digest (FIPS 180-4) in 32 bytes without indirection, for lists of many.
public struct ChunkDigest: Hashable, Sendable {
    let words: (UInt64, UInt64, UInt64, UInt64)

    /// The digest that the first 32 of `bytes` are.
    init(loading bytes: UnsafeRawBufferPointer) {
        words = (
            bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self).bigEndian,
            bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian,
            bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self).bigEndian,
            bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self).bigEndian
        )
    }

    /// The digest as text for names and messages.
    public var digest: Digest {
        let values = [words.0, words.1, words.2, words.3]
        return Digest(
            bytes: values.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } })
    }

    public static func == (left: ChunkDigest, right: ChunkDigest) -> Bool {
        left.words.0 == right.words.0 && left.words.1 == right.words.1 && left.words.2 == right.words.2
            && left.words.3 == right.words.3
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}
