/// The identifier of one resource of type `Subject`: 1 to 63 characters of `a-z`, `0-9`, `-` and `.`.
///
/// The phantom type keeps a disk's identifier from being passed where a node's is meant.
public struct ID<Subject>: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// The text as stored and sent.
    public let raw: String

    /// Checks `raw`; throws `InvalidValue` when a character or the length is not allowed.
    public init(_ raw: String) throws(InvalidValue) {
        let allowed = raw.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "-"), UInt8(ascii: "."): true
            default: false
            }
        }
        guard allowed, (1...63).contains(raw.utf8.count) else {
            throw InvalidValue("identifier", raw, expected: "1 to 63 of a-z, 0-9, '-' and '.'")
        }
        self.raw = raw
    }

    /// A random identifier in the form of a UUID version 4 (RFC 9562 section 5.4), drawn from `generator`.
    public static func random(using generator: inout some RandomNumberGenerator) -> ID {
        ID(unchecked: UUIDText.random(using: &generator))
    }

    private init(unchecked raw: String) { self.raw = raw }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(text) } catch { throw decodingError(decoder, error) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(raw)
    }

    public static func < (left: ID, right: ID) -> Bool { left.raw < right.raw }

    public var description: String { raw }
}

/// Makes UUID texts without Foundation.
public enum UUIDText {
    /// A version 4 UUID (RFC 9562 section 5.4) as 36 lowercase characters.
    public static func random(using generator: inout some RandomNumberGenerator) -> String {
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return format(bytes)
    }

    /// The canonical text of 16 bytes in network order.
    public static func format(_ bytes: [UInt8]) -> String {
        precondition(bytes.count == 16, "a UUID has 16 bytes")
        let hex = Hex.encode(bytes)
        var parts: [Substring] = []
        var rest = hex[...]
        for length in [8, 4, 4, 4, 12] {
            parts.append(rest.prefix(length))
            rest = rest.dropFirst(length)
        }
        return parts.joined(separator: "-")
    }
}

/// How often a specification has been changed; an order made for an older generation is refused.
public struct Generation: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// Counts from 1; 0 is "never".
    public var number: UInt64

    /// A generation with the given number.
    public init(_ number: UInt64) { self.number = number }

    /// The generation after this one.
    public var next: Generation { Generation(number + 1) }

    public init(from decoder: any Decoder) throws {
        number = try decoder.singleValueContainer().decode(UInt64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }

    public static func < (left: Generation, right: Generation) -> Bool { left.number < right.number }

    public var description: String { String(number) }
}

/// The store's logical clock: each commit has a higher revision than the one before.
public struct Revision: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// Counts from 1 for the first commit; 0 is the empty store.
    public var number: UInt64

    /// A revision with the given number.
    public init(_ number: UInt64) { self.number = number }

    /// The state before any commit.
    public static let zero = Revision(0)

    public init(from decoder: any Decoder) throws {
        number = try decoder.singleValueContainer().decode(UInt64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }

    public static func < (left: Revision, right: Revision) -> Bool { left.number < right.number }

    public var description: String { String(number) }
}
