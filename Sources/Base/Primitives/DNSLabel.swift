/// One label of a domain name (RFC 1123 section 2.1): 1 to 63 of `a-z`, `0-9` and `-`, with no `-` at either end.
///
/// Names that people give have this form, so that they can stand in host names, boot scripts, file names and URLs.
public struct DNSLabel: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// The label.
    public let text: String

    /// Checks `text`; throws `InvalidValue` that calls it a `what`.
    public init(_ text: some StringProtocol, as what: String = "name") throws(InvalidValue) {
        let isAllowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
            default: false
            }
        }
        guard isAllowed, (1...63).contains(text.utf8.count), !text.hasPrefix("-"), !text.hasSuffix("-") else {
            throw InvalidValue(
                what, String(text), expected: "1 to 63 of a-z, 0-9 and '-', with no '-' at the start or the end")
        }
        self.text = String(text)
    }

    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        do { try self.init(text) } catch { throw decodingError(decoder, error) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }

    public static func < (left: DNSLabel, right: DNSLabel) -> Bool { left.text < right.text }

    public var description: String { text }
}
