import Crypto

extension ChunkDigest {
    /// The digest of `bytes`.
    public init(of bytes: UnsafeRawBufferPointer) {
        self = SHA256.hash(data: bytes).withUnsafeBytes { ChunkDigest(loading: $0) }
    }
}
