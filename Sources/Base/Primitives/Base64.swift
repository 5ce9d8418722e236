/// Base64 without padding (RFC 4648), in one of its two alphabets.
///
/// Only the one canonical text of some bytes is decoded: no padding, white space or stray last bits.
public struct Base64: Sendable {
    /// The alphabet of MIME, with `+` and `/` (RFC 4648 section 4).
    public static let standard = Base64(last: "+/")
    /// The alphabet for URLs and file names, with `-` and `_` (RFC 4648 section 5).
    public static let urlSafe = Base64(last: "-_")

    private let digits: [UInt8]
    /// The value of each character; `none`, a bit that no value has, for what is not in the alphabet.
    private let values: [UInt8]
    private static let none: UInt8 = 0x80

    private init(last: String) {
        digits = Array(("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + last).utf8)
        var values = [UInt8](repeating: Self.none, count: 256)
        for (value, digit) in digits.enumerated() { values[Int(digit)] = UInt8(value) }
        self.values = values
    }

    /// The text of `bytes`.
    public func encode(_ bytes: some Sequence<UInt8>) -> String {
        // One copy, and all that follows is of one type: this is on the way of every request.
        let bytes = Array(bytes)
        let size = (bytes.count * 4 + 2) / 3
        return String(unsafeUninitializedCapacity: size) { text in
            var bits: UInt32 = 0
            var count: UInt32 = 0
            var end = 0
            for byte in bytes {
                bits = bits << 8 | UInt32(byte)
                count += 8
                while count >= 6 {
                    count -= 6
                    text[end] = digits[Int(bits >> count & 0x3F)]
                    end += 1
                }
            }
            if count > 0 { text[end] = digits[Int(bits << (6 - count) & 0x3F)] }
            return size
        }
    }

    /// The bytes of `text`; nil when it is not the text that `encode` gives for some bytes.
    public func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        let text = Array(text)
        guard text.count % 4 != 1 else { return nil }
        var bits: UInt32 = 0
        var count: UInt32 = 0
        var wrong: UInt8 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: text.count * 3 / 4) { bytes, end in
            for character in text {
                let value = values[Int(character)]
                wrong |= value
                bits = bits << 6 | UInt32(value)
                count += 6
                if count >= 8 {
                    count -= 8
                    bytes[end] = UInt8(truncatingIfNeeded: bits >> count)
                    end += 1
                }
            }
        }
        return wrong & Self.none == 0 && bits & (1 << count - 1) == 0 ? bytes : nil
    }
}
