import Glibc
import Primitives
import struct Crypto.SHA256

/// Writes one large blob piece by piece; what is not finished is removed.
public struct BlobWriter: ~Copyable {
    private let store: BlobStore
    private let path: String
    private let file: FileDescriptor
    private let sizeMax: ByteCount
    private var hash = SHA256()
    private var size: UInt64 = 0

    init(store: BlobStore, path: String, file: consuming FileDescriptor, sizeMax: ByteCount) {
        self.store = store
        self.path = path
        self.file = file
        self.sizeMax = sizeMax
    }

    /// After `finish` the name is gone already.
    deinit { unlink(path) }

    /// Adds bytes; throws `BlobError.tooLarge` beyond the limit.
    public mutating func append(_ bytes: [UInt8]) throws(BlobError) {
        size += UInt64(bytes.count)
        guard size <= sizeMax.bytes else { throw .tooLarge(Int(sizeMax.bytes)) }
        hash.update(data: bytes)
        try file.write(bytes)
    }

    /// Makes the blob durable under its digest; throws `.mismatch` and stores nothing unless that is `expected`.
    @discardableResult
    public consuming func finish(expecting expected: Digest?) throws(BlobError) -> Digest {
        let digest = Digest(bytes: Array(hash.finalize()))
        if let expected, expected != digest { throw .mismatch(expected: expected, found: digest) }
        try file.sync()
        try store.finish(path, as: digest)
        return digest
    }
}
