/// A password, key or token in the clear: it never shows in descriptions, dumps, mirrors or encoded output.
///
/// It can be decoded from a request, but encoding it throws, so that it is neither stored nor answered by mistake.
public struct SecretText: Sendable, Codable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The secret itself; call this only where it is used up.
    public let revealed: String

    /// Wraps a secret.
    public init(_ revealed: String) { self.revealed = revealed }

    public init(from decoder: any Decoder) throws {
        revealed = try decoder.singleValueContainer().decode(String.self)
    }

    /// Always throws `EncodingError.invalidValue`.
    public func encode(to encoder: any Encoder) throws {
        throw EncodingError.invalidValue(
            "<secret>", .init(codingPath: encoder.codingPath, debugDescription: "a secret is never encoded"))
    }

    public var description: String { "<secret>" }
    public var debugDescription: String { "<secret>" }
    public var customMirror: Mirror { Mirror(self, children: [], displayStyle: .struct) }
}

extension SecretText: Equatable {
    /// Takes the same time wherever the first difference is.
    public static func == (left: SecretText, right: SecretText) -> Bool {
        ConstantTime.equal(Array(left.revealed.utf8), Array(right.revealed.utf8))
    }
}

/// Comparison whose time tells nothing about where two values differ.
public enum ConstantTime {
    /// Whether both have the same bytes; only the lengths may be learnt from the time it takes.
    public static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        var difference: UInt8 = 0
        for index in left.indices { difference |= left[index] ^ right[index] }
        return difference == 0
    }
}
