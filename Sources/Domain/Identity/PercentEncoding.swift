/// Percent-encoding as signatures of requests need it: what may stand as it is, stands as it is (RFC 3986 section 2.3).
extension String {
    /// Every byte but those of unreserved characters as `%` and two upper-case digits.
    var percentEncoded: String {
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(utf8.count)
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                text.append(byte)
            default: text += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 0xF)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Whether this comes first by its bytes, which is the order of code points.
    func isBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}

extension StringProtocol {
    /// The text that this encodes, as a form has it when `plusIsSpace`; nil when a `%` is without its digits or the bytes
    /// are no UTF-8.
    func percentDecoded(plusIsSpace: Bool = false) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(utf8.count)
        var digits: [UInt8]?
        for byte in utf8 {
            if var open = digits {
                guard let value = byte.hexValue else { return nil }
                open.append(value)
                digits = open.count < 2 ? open : nil
                if open.count == 2 { bytes.append(open[0] << 4 | open[1]) }
            } else if byte == UInt8(ascii: "%") {
                digits = []
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
            }
        }
        return digits == nil ? String(validating: bytes, as: UTF8.self) : nil
    }
}

extension UInt8 {
    fileprivate var hexValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
