import Primitives

/// How an identifier is written inside a token: those of the usual forms as the bytes that they stand for.
enum IdentifierForm: UInt8 {
    /// UTF-8, after its length.
    case text = 0
    /// 32 lowercase hexadecimal digits, as 16 bytes: a UUID without dashes.
    case hex16 = 1
    /// 64 lowercase hexadecimal digits, as 32 bytes: a user whose identifier is a digest.
    case hex32 = 2
    /// 22 characters of base64, as 16 bytes: an audit identifier.
    case base64 = 3
}

/// Writes the bytes of a token's payload.
struct PayloadWriter {
    private(set) var bytes: [UInt8] = []

    init() { bytes.reserveCapacity(128) }

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    /// Big-endian.
    mutating func sixteen(_ value: UInt16) {
        bytes.append(UInt8(truncatingIfNeeded: value >> 8))
        bytes.append(UInt8(truncatingIfNeeded: value))
    }

    /// LEB128.
    mutating func unsigned(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// LEB128 of the zigzag form, so that small negative numbers are short too.
    mutating func signed(_ value: Int64) { unsigned(UInt64(bitPattern: value << 1 ^ value >> 63)) }

    mutating func identifier(_ text: String) {
        let size = text.utf8.count
        if size == 32 || size == 64, let raw = LowerHex.decode(text.utf8) {
            bytes.append((size == 32 ? IdentifierForm.hex16 : .hex32).rawValue)
            bytes += raw
        } else if size == 22, let raw = Base64.urlSafe.decode(text.utf8) {
            bytes.append(IdentifierForm.base64.rawValue)
            bytes += raw
        } else {
            bytes.append(IdentifierForm.text.rawValue)
            unsigned(UInt64(size))
            bytes += text.utf8
        }
    }

    mutating func list(_ texts: [String]) {
        unsigned(UInt64(texts.count))
        for text in texts { identifier(text) }
    }
}

/// Reads the bytes of a token's payload; whatever they are, it reads no further than their end.
struct PayloadReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    mutating func byte() -> UInt8? {
        guard position < bytes.count else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func sixteen() -> UInt16? {
        guard let high = byte(), let low = byte() else { return nil }
        return UInt16(high) << 8 | UInt16(low)
    }

    mutating func unsigned() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard let next = byte() else { return nil }
            // The tenth byte holds the one bit that is left.
            guard shift < 63 || next <= 1 else { return nil }
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 { return value }
        }
        return nil
    }

    mutating func signed() -> Int64? {
        unsigned().map { Int64(bitPattern: $0 >> 1) ^ -Int64(bitPattern: $0 & 1) }
    }

    mutating func identifier() -> String? {
        switch byte().flatMap(IdentifierForm.init) {
        case .hex16: return take(16).map { LowerHex.encode($0) }
        case .hex32: return take(32).map { LowerHex.encode($0) }
        case .base64: return take(16).map { Base64.urlSafe.encode($0) }
        case .text:
            guard let size = unsigned(), size <= UInt64(bytes.count), let raw = take(Int(size)) else { return nil }
            return String(validating: raw, as: UTF8.self)
        case nil: return nil
        }
    }

    mutating func list() -> [String]? {
        guard let count = unsigned(), count <= UInt64(TokenPayload.listCountMax) else { return nil }
        var texts: [String] = []
        for _ in 0..<count {
            guard let text = identifier() else { return nil }
            texts.append(text)
        }
        return texts
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= bytes.count - position else { return nil }
        defer { position += count }
        return bytes[position..<position + count]
    }
}

/// Hexadecimal text for identifiers: only lowercase digits are read, so that each text comes back as it was.
private enum LowerHex {
    static func decode(_ text: String.UTF8View) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        var high: UInt8?
        for character in text {
            let value: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = character - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }

    static func encode(_ bytes: ArraySlice<UInt8>) -> String {
        func digit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value }
        return String(unsafeUninitializedCapacity: bytes.count * 2) { text in
            var position = 0
            for byte in bytes {
                text[position] = digit(byte >> 4)
                text[position + 1] = digit(byte & 0xF)
                position += 2
            }
            return position
        }
    }
}
