import Primitives

/// The list of an image's data chunks in disk order.
///
/// Canonical form, integers big endian: the bytes `MCHK`, version (16 bits), zero (16 bits), image size (64), total
/// bytes of data (64), number of chunks (32); then 80 bytes a chunk: offset (64), length (32), stored length (32),
/// SHA-256 of the data (32 bytes), SHA-256 of the stored form (32 bytes). One manifest has exactly one such form.
public struct ChunkManifest: Hashable, Sendable {
    /// The version that this program writes.
    public static let schemaVersion: UInt16 = 1
    /// The most bytes of a canonical form.
    public static let encodedLengthMax = headerLength + ChunkLimit.chunkCount * entryLength

    static let headerLength = 28
    static let entryLength = 80
    private static let magic: UInt32 = 0x4D43_484B

    /// The image's length in bytes.
    public let imageSize: UInt64
    /// The runs of data, ascending and apart from each other.
    public let chunks: [ImageChunk]
    /// The sum of the chunks' lengths.
    public let dataSize: UInt64

    /// A manifest; throws `ChunkError` when the chunks overlap, are out of order, or a limit is passed.
    public init(imageSize: UInt64, chunks: [ImageChunk]) throws(ChunkError) {
        guard imageSize <= ChunkLimit.imageSize else {
            throw .limit(what: "image size", found: imageSize, limit: ChunkLimit.imageSize)
        }
        try Self.check(count: chunks.count)
        var end: UInt64 = 0
        var total: UInt64 = 0
        for (index, chunk) in chunks.enumerated() {
            try Self.check(chunk, index, after: end, imageSize: imageSize)
            end = chunk.end
            total += UInt64(chunk.length)
        }
        self.imageSize = imageSize
        self.chunks = chunks
        dataSize = total
    }

    /// Throws `ChunkError.limit` for more chunks than an image may have.
    static func check(count: Int) throws(ChunkError) {
        guard count <= ChunkLimit.chunkCount else {
            throw .limit(what: "number of chunks", found: UInt64(count), limit: UInt64(ChunkLimit.chunkCount))
        }
    }

    private static func check(
        _ chunk: ImageChunk, _ index: Int, after end: UInt64, imageSize: UInt64
    ) throws(ChunkError) {
        func refuse(_ reason: String) -> ChunkError { .malformedManifest(reason: "chunk \(index) \(reason)") }
        let page = UInt64(ChunkLimit.page)
        guard chunk.length >= 1, chunk.length <= ChunkLimit.maximumLength else { throw refuse("has a bad length") }
        guard chunk.storedLength >= 1, chunk.storedLength <= ChunkLimit.maximumStoredLength else {
            throw refuse("has a bad stored length")
        }
        guard chunk.offset % page == 0, chunk.offset <= imageSize else { throw refuse("has a bad offset") }
        guard chunk.offset >= end else { throw refuse("overlaps the one before") }
        guard chunk.end <= imageSize else { throw refuse("ends beyond the image") }
        guard UInt64(chunk.length) % page == 0 || chunk.end == imageSize else { throw refuse("ends inside a page") }
    }

    /// The canonical form.
    public func encoded() -> [UInt8] {
        let length = Self.headerLength + chunks.count * Self.entryLength
        return [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            bytes.put(Self.magic, 0)
            bytes.put(Self.schemaVersion, 4)
            bytes.put(UInt16(0), 6)
            bytes.put(imageSize, 8)
            bytes.put(dataSize, 16)
            bytes.put(UInt32(chunks.count), 24)
            var at = Self.headerLength
            for chunk in chunks {
                bytes.put(chunk.offset, at)
                bytes.put(UInt32(chunk.length), at + 8)
                bytes.put(UInt32(chunk.storedLength), at + 12)
                bytes.put(chunk.raw, at + 16)
                bytes.put(chunk.stored, at + 48)
                at += Self.entryLength
            }
            count = length
        }
    }

    /// The SHA-256 of the canonical form: the manifest's name.
    public var digest: Digest { encoded().withUnsafeBytes { ChunkDigest(of: $0) }.digest }

    /// Reads a canonical form; throws `ChunkError` for any other bytes.
    public init(decoding bytes: [UInt8]) throws(ChunkError) {
        guard bytes.count >= Self.headerLength else { throw .malformedManifest(reason: "it is too short") }
        guard bytes.count <= Self.encodedLengthMax else {
            throw .limit(what: "manifest", found: UInt64(bytes.count), limit: UInt64(Self.encodedLengthMax))
        }
        let size = bytes.get(UInt64.self, 8)
        let dataSize = bytes.get(UInt64.self, 16)
        let count = Int(bytes.get(UInt32.self, 24))
        guard bytes.get(UInt32.self, 0) == Self.magic else { throw .malformedManifest(reason: "it is no manifest") }
        let version = bytes.get(UInt16.self, 4)
        guard version == Self.schemaVersion else { throw .unknownVersion(version) }
        guard bytes.get(UInt16.self, 6) == 0 else { throw .malformedManifest(reason: "a reserved field is set") }
        guard count <= ChunkLimit.chunkCount, bytes.count == Self.headerLength + count * Self.entryLength else {
            throw .malformedManifest(reason: "its length does not fit \(count) chunks")
        }
        var chunks: [ImageChunk] = []
        chunks.reserveCapacity(count)
        bytes.withUnsafeBytes { raw in
            for index in 0..<count {
                let entry = UnsafeRawBufferPointer(
                    rebasing: raw[(Self.headerLength + index * Self.entryLength)...].prefix(Self.entryLength))
                chunks.append(ImageChunk(entry: entry))
            }
        }
        try self.init(imageSize: size, chunks: chunks)
        guard dataSize == self.dataSize else { throw .malformedManifest(reason: "its total does not add up") }
    }

    /// Reads a canonical form that must have the digest `name`; throws `ChunkError` otherwise.
    public init(decoding bytes: [UInt8], named name: Digest) throws(ChunkError) {
        let found = bytes.withUnsafeBytes { ChunkDigest(of: $0) }.digest
        guard found == name else { throw .manifestMismatch(expected: name, found: found) }
        try self.init(decoding: bytes)
    }
}

extension ImageChunk {
    fileprivate init(entry: UnsafeRawBufferPointer) {
        self.init(
            offset: UInt64(bigEndian: entry.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
            length: Int(UInt32(bigEndian: entry.loadUnaligned(fromByteOffset: 8, as: UInt32.self))),
            raw: ChunkDigest(loading: UnsafeRawBufferPointer(rebasing: entry[16..<48])),
            stored: ChunkDigest(loading: UnsafeRawBufferPointer(rebasing: entry[48..<80])),
            storedLength: Int(UInt32(bigEndian: entry.loadUnaligned(fromByteOffset: 12, as: UInt32.self))))
    }
}

extension UnsafeMutableRawBufferPointer {
    fileprivate func put(_ value: some FixedWidthInteger, _ offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: type(of: value))
    }

    fileprivate func put(_ digest: ChunkDigest, _ offset: Int) {
        put(digest.words.0, offset)
        put(digest.words.1, offset + 8)
        put(digest.words.2, offset + 16)
        put(digest.words.3, offset + 24)
    }
}

extension [UInt8] {
    fileprivate func get<Value: FixedWidthInteger>(_ type: Value.Type, _ offset: Int) -> Value {
        withUnsafeBytes { Value(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }
}
