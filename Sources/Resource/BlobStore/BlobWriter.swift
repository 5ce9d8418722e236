import Primitives

#if canImport(Glibc)
    import Glibc
#endif

/// Writes one blob in parts; what is not finished leaves nothing behind.
public struct BlobWriter: ~Copyable, Sendable {
    private let store: FileBlobStore
    private let file: OpenFile
    private let sizeMax: ByteCount
    private var hasher = BlobHasher()
    /// How many bytes have been written.
    public private(set) var size: UInt64 = 0

    init(store: FileBlobStore, file: consuming OpenFile, sizeMax: ByteCount) {
        self.store = store
        self.file = file
        self.sizeMax = sizeMax
    }

    /// A finished file has another name by now.
    deinit { unlink(file.path) }

    /// Appends a part; throws `.limitExceeded` when the blob would be too large.
    public mutating func append(_ bytes: [UInt8]) throws(BlobError) {
        guard size + UInt64(bytes.count) <= sizeMax.bytes else {
            throw .limitExceeded("this blob may have at most \(sizeMax)")
        }
        try file.write(bytes)
        bytes.withUnsafeBytes { hasher.update($0) }
        size += UInt64(bytes.count)
    }

    /// Stores the blob and returns its digest; throws `.mismatch`, and stores nothing, when it is not `expected`.
    @discardableResult
    public consuming func finish(expecting expected: Digest? = nil) throws(BlobError) -> Digest {
        let digest = Digest(bytes: hasher.digestBytes())
        if let expected, expected != digest { throw .mismatch(expected: expected, found: digest) }
        if try store.isIntact(digest) { return digest }
        try file.setTime(store.clock.now)
        try file.sync()
        try store.place([digest: file.path])
        return digest
    }
}
