/// Hexadecimal text, two lowercase digits a byte.
public enum Hex {
    /// The text of `bytes`.
    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 0xF)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes of `text`, which may have upper or lower case digits; nil when it is not hexadecimal.
    public static func decode(_ text: some StringProtocol) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.count / 2)
        for index in stride(from: 0, to: characters.count, by: 2) {
            guard let high = value(characters[index]), let low = value(characters[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static let digits = Array("0123456789abcdef".utf8)

    static func value(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// A SHA-256 digest (FIPS 180-4): 32 bytes, written as 64 lowercase hexadecimal digits.
public struct Digest: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// The 64 digits.
    public let hex: String

    /// Checks `hex`; throws `InvalidValue` unless it is 64 lowercase hexadecimal digits.
    public init(hex: String) throws(InvalidValue) {
        let isLowerHex = hex.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
        guard hex.utf8.count == 64, isLowerHex else {
            throw InvalidValue("SHA-256 digest", hex, expected: "64 lowercase hexadecimal digits")
        }
        self.hex = hex
    }

    /// The digest made of 32 bytes.
    public init(bytes: some Collection<UInt8>) {
        precondition(bytes.count == 32, "a SHA-256 digest has 32 bytes")
        hex = Hex.encode(bytes)
    }

    /// The 32 bytes.
    public var bytes: [UInt8] { Hex.decode(hex) ?? [] }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(hex: text) } catch { throw decodingError(decoder, error) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hex)
    }

    public static func < (left: Digest, right: Digest) -> Bool { left.hex < right.hex }

    public var description: String { hex }
}
