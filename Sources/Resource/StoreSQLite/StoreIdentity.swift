import Primitives

/// Names one history of commits: tells a store that was put back, or begun anew, from the one that was there.
public struct StoreIdentity: Hashable, Sendable, CustomStringConvertible {
    /// A random number from 1 on.
    let number: Int64

    init(_ number: Int64) { self.number = number }

    static func random() -> StoreIdentity { StoreIdentity(Int64.random(in: 1...Int64.max)) }

    /// Reads what `description` gives; nil for any other text.
    public init?(_ text: String) {
        guard text.utf8.count == 16, let number = Int64(text, radix: 16), number > 0 else { return nil }
        self.number = number
    }

    /// 16 hexadecimal digits.
    public var description: String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
