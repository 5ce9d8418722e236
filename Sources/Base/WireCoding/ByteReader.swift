import Primitives

/// Reads a bounded run of bytes from front to back; every read checks the bounds, none traps.
///
/// A failed read leaves the reader where it was.
public struct ByteReader: Sendable {
    private let source: ArraySlice<UInt8>
    /// How many bytes have been read.
    public private(set) var offset: Int

    /// A reader over `bytes`.
    public init(_ bytes: [UInt8]) { self.init(bytes[...]) }

    /// A reader over `bytes`; offsets count from the slice's start.
    public init(_ bytes: ArraySlice<UInt8>) {
        source = bytes
        offset = 0
    }

    /// How many bytes are left.
    public var remaining: Int { source.count - offset }

    /// Whether all bytes have been read.
    public var isAtEnd: Bool { remaining == 0 }

    /// The next `count` bytes; throws `WireError` when fewer are left or `count` is negative.
    public mutating func bytes(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        let slice = try peek(count)
        offset += count
        return slice
    }

    /// The next `count` bytes without reading them; throws as `bytes` does.
    public func peek(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else {
            throw WireError(offset: offset, .tooShort(needed: count, remaining: remaining))
        }
        let start = source.startIndex + offset
        return source[start..<start + count]
    }

    /// All bytes that are left.
    public mutating func rest() -> ArraySlice<UInt8> {
        let slice = source[(source.startIndex + offset)...]
        offset = source.count
        return slice
    }

    /// Passes over `count` bytes; throws as `bytes` does.
    public mutating func skip(_ count: Int) throws(WireError) { _ = try bytes(count) }

    /// Moves to `newOffset` from the start; throws when that is outside of the bytes.
    public mutating func seek(to newOffset: Int) throws(WireError) {
        guard newOffset >= 0, newOffset <= source.count else {
            throw WireError(offset: offset, .tooShort(needed: newOffset, remaining: source.count))
        }
        offset = newOffset
    }

    /// One byte.
    public mutating func readUInt8() throws(WireError) -> UInt8 { try read(.big) }
    /// Two bytes, network order unless told otherwise.
    public mutating func readUInt16(_ order: ByteOrder = .big) throws(WireError) -> UInt16 { try read(order) }
    /// Four bytes, network order unless told otherwise.
    public mutating func readUInt32(_ order: ByteOrder = .big) throws(WireError) -> UInt32 { try read(order) }
    /// Eight bytes, network order unless told otherwise.
    public mutating func readUInt64(_ order: ByteOrder = .big) throws(WireError) -> UInt64 { try read(order) }

    /// `count` bytes that must be UTF-8 (RFC 3629); throws `WireError` when they are not.
    public mutating func text(_ count: Int) throws(WireError) -> String {
        let slice = try peek(count)
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw WireError(offset: offset, .invalid("the text is not UTF-8"))
        }
        offset += count
        return text
    }

    /// Throws `WireError` unless all bytes have been read.
    public func expectEnd() throws(WireError) {
        guard isAtEnd else { throw WireError(offset: offset, .invalid("\(remaining) bytes after the end")) }
    }

    private mutating func read<Number: FixedWidthInteger & UnsignedInteger>(
        _ order: ByteOrder
    ) throws(WireError) -> Number {
        var number: Number = 0
        let slice = try bytes(Number.bitWidth / 8)
        for (index, byte) in slice.enumerated() {
            switch order {
            case .big: number |= Number(byte) << Number(Number.bitWidth - 8 - 8 * index)
            case .little: number |= Number(byte) << Number(8 * index)
            }
        }
        return number
    }
}

/// In which order the bytes of a number stand.
public enum ByteOrder: Sendable, Hashable {
    /// Most significant first, as on the network.
    case big
    /// Least significant first.
    case little
}

/// Bytes that cannot be what they should be, with the place where that was noticed.
public struct WireError: UserFacingError, Hashable {
    /// How many bytes had been read.
    public let offset: Int
    /// What is wrong there.
    public let reason: Reason

    /// What is wrong.
    public enum Reason: Hashable, Sendable {
        /// Fewer bytes are left than are needed.
        case tooShort(needed: Int, remaining: Int)
        /// More bytes than the limit.
        case tooLong(limit: Int)
        /// A value that may not stand there.
        case invalid(String)
    }

    /// An error at `offset`.
    public init(offset: Int, _ reason: Reason) {
        self.offset = offset
        self.reason = reason
    }

    public var publicMessage: String {
        switch reason {
        case .tooShort(let needed, let remaining):
            "The data ends too early: \(needed) bytes are needed at byte \(offset), \(remaining) are left."
        case .tooLong(let limit): "The data is longer than \(limit) bytes at byte \(offset)."
        case .invalid(let what): "The data is damaged at byte \(offset): \(what)."
        }
    }
}
