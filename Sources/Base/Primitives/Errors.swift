/// An error with two texts: one for whoever asked, one for the log.
public protocol UserFacingError: Error, CustomStringConvertible {
    /// Says what is wrong and what to do, without secrets or causes inside the system.
    var publicMessage: String { get }
    /// The whole chain of causes, for operators' logs.
    var diagnostic: String { get }
}

extension UserFacingError {
    public var diagnostic: String { publicMessage }
    public var description: String { diagnostic }
}

/// A value that does not have the form it must have.
public struct InvalidValue: UserFacingError, Hashable {
    /// What the value is, for example `MAC address`.
    public let what: String
    /// The value as given, made printable and cut to 80 characters.
    public let value: String
    /// The form that is accepted.
    public let expected: String

    /// An error about `value` as a `what`.
    public init(_ what: String, _ value: String, expected: String) {
        self.what = what
        self.value = value.printable(limit: 80)
        self.expected = expected
    }

    public var publicMessage: String { "'\(value)' is not a valid \(what): expected \(expected)." }
}

extension String {
    /// This text with control characters replaced by `\u{…}` and cut to `limit` characters, safe to print.
    public func printable(limit: Int) -> String {
        var result = ""
        for scalar in unicodeScalars.prefix(limit) {
            let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
            if isControl {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return unicodeScalars.count > limit ? result + "…" : result
    }

    /// Whether every scalar may stand in a name, a label or a serial number: no control characters,
    /// line separators or invisible direction marks.
    public var hasOnlyPrintableScalars: Bool {
        unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 0..<0x20, 0x7F...0x9F, 0x2028, 0x2029, 0x200B...0x200F, 0x202A...0x202E, 0x2066...0x2069, 0xFEFF: false
            default: true
            }
        }
    }
}

func decodingError(_ decoder: any Decoder, _ error: InvalidValue) -> DecodingError {
    .dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: error.publicMessage))
}
