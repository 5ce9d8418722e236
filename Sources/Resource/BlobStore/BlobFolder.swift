import Primitives

/// Reads the files of a `FileBlobStore` that another process may be using, and changes nothing in it.
public struct BlobFolder: Sendable {
    private let directory: String

    /// The store's directory.
    public init(directory: String) { self.directory = directory }

    /// A blob that was read and checked, from its beginning; nil when it is not there or damaged. Throws `.unavailable`.
    public func open(_ digest: Digest) throws(BlobError) -> BlobReading? {
        let path = "\(directory)/blobs/\(digest.hex.prefix(2))/\(digest.hex)"
        guard let file = try OpenFile.reading(path), try file.digest() == digest else { return nil }
        return BlobReading(size: try file.status().size, file: file)
    }

    /// The whole of a blob of at most 64 MiB; nil when it is not there, damaged, or larger.
    public func bytes(_ digest: Digest) throws(BlobError) -> [UInt8]? {
        guard var blob = try open(digest), blob.size <= BlobLimits.wholeReadSizeMax.bytes else { return nil }
        return try blob.next(Int(blob.size))
    }
}

/// A blob that is read in parts, one after the other.
public struct BlobReading: ~Copyable, Sendable {
    /// Its bytes.
    public let size: UInt64
    private let file: OpenFile
    private var offset: UInt64 = 0

    init(size: UInt64, file: consuming OpenFile) {
        self.size = size
        self.file = file
    }

    /// The next bytes, `count` at most; none at the end. Throws `.unavailable` when the disk has lost them.
    public mutating func next(_ count: Int = 1 << 20) throws(BlobError) -> [UInt8] {
        guard let bytes = try file.read(at: offset, count: Int(min(UInt64(count), size - offset))) else {
            throw .unavailable("the disk cannot read \(file.path) any more")
        }
        offset += UInt64(bytes.count)
        return bytes
    }
}
