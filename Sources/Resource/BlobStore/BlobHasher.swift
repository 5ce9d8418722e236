import Crypto

/// SHA-256 (FIPS 180-4) over bytes that come in parts.
struct BlobHasher: Sendable {
    private var hash = SHA256()

    mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

    /// The 32 bytes of the digest.
    func digestBytes() -> [UInt8] { Array(hash.finalize()) }

    /// The 32 bytes of the digest of `bytes`.
    static func digestBytes(of bytes: [UInt8]) -> [UInt8] {
        var hasher = BlobHasher()
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.digestBytes()
    }
}
