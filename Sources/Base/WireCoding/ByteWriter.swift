import Primitives

/// Appends values to bytes, up to a limit.
public struct ByteWriter: Sendable {
    /// What has been written.
    public private(set) var bytes: [UInt8]
    /// The most bytes that may be written.
    public let limit: Int

    /// An empty writer that takes at most `limit` bytes (default: 16 MiB).
    public init(limit: Int = 16 << 20) {
        bytes = []
        self.limit = limit
    }

    /// How many bytes have been written.
    public var count: Int { bytes.count }

    /// Appends `newBytes`; throws `WireError.Reason.tooLong` when that would exceed the limit, and writes nothing.
    public mutating func write(_ newBytes: some Collection<UInt8>) throws(WireError) {
        guard newBytes.count <= limit - bytes.count else {
            throw WireError(offset: bytes.count, .tooLong(limit: limit))
        }
        bytes.append(contentsOf: newBytes)
    }

    /// Appends the UTF-8 bytes of `text`; throws as `write` does.
    public mutating func write(text: String) throws(WireError) { try write(text.utf8) }

    /// Appends `count` zero bytes; throws as `write` does.
    public mutating func writeZeros(_ count: Int) throws(WireError) {
        try write(repeatElement(0, count: max(0, count)))
    }

    /// Appends one byte.
    public mutating func writeUInt8(_ number: UInt8) throws(WireError) { try put(number, .big) }
    /// Appends two bytes, network order unless told otherwise.
    public mutating func writeUInt16(_ number: UInt16, _ order: ByteOrder = .big) throws(WireError) {
        try put(number, order)
    }
    /// Appends four bytes, network order unless told otherwise.
    public mutating func writeUInt32(_ number: UInt32, _ order: ByteOrder = .big) throws(WireError) {
        try put(number, order)
    }
    /// Appends eight bytes, network order unless told otherwise.
    public mutating func writeUInt64(_ number: UInt64, _ order: ByteOrder = .big) throws(WireError) {
        try put(number, order)
    }

    /// Overwrites bytes that have been written, such as a length known only later; throws when they have not.
    public mutating func overwrite(at offset: Int, with newBytes: some Collection<UInt8>) throws(WireError) {
        guard offset >= 0, offset <= bytes.count, newBytes.count <= bytes.count - offset else {
            throw WireError(offset: offset, .tooShort(needed: newBytes.count, remaining: bytes.count - offset))
        }
        bytes.replaceSubrange(offset..<offset + newBytes.count, with: newBytes)
    }

    private mutating func put<Number: FixedWidthInteger & UnsignedInteger>(
        _ number: Number, _ order: ByteOrder
    ) throws(WireError) {
        let width = Number.bitWidth / 8
        try write(
            (0..<width).map { index in
                let shift = order == .big ? Number.bitWidth - 8 - 8 * index : 8 * index
                return UInt8(truncatingIfNeeded: number >> Number(shift))
            })
    }
}
