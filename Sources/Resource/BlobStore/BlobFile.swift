import Primitives

/// An open blob.
public final class BlobFile: Sendable {
    /// Its name.
    public let digest: Digest
    /// Its bytes.
    public let size: UInt64
    private let file: OpenFile

    init(digest: Digest, size: UInt64, file: consuming OpenFile) {
        self.digest = digest
        self.size = size
        self.file = file
    }

    /// At most `count` bytes (64 MiB at most) from `offset`; fewer only at the end.
    public func read(at offset: UInt64, count: Int) throws(BlobError) -> [UInt8] {
        guard count >= 0, count <= Int(BlobLimits.wholeReadSizeMax.bytes) else {
            throw .limitExceeded("a read of \(count) bytes; read at most \(BlobLimits.wholeReadSizeMax) at once")
        }
        guard offset < size else { return [] }
        return try file.read(at: offset, count: Int(min(UInt64(count), size - offset)))
    }
}
