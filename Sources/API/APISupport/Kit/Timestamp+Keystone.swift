import Primitives

extension Timestamp {
    /// As OpenStack's identity API writes times: UTC with six digits of fraction, `2026-11-23T19:13:53.000000Z`.
    public var keystone: String {
        let fraction = ((millisecondsSinceEpoch % 1000) + 1000) % 1000
        let digits = String(fraction)
        let milliseconds = String(repeating: "0", count: 3 - digits.count) + digits
        return "\(description.dropLast()).\(milliseconds)000Z"
    }

    /// Parses `2026-11-23T19:13:53`, with or without fractions of a second, `Z` or an offset of hours; throws `InvalidValue`.
    public init(keystone text: String) throws(InvalidValue) {
        let wrong = InvalidValue("time", text, expected: "UTC, such as 2026-11-23T19:13:53.000000Z")
        guard text.utf8.count <= 40, text.utf8.count >= 19 else { throw wrong }
        var rest = Substring(text)
        let whole = rest.prefix(19)
        rest = rest.dropFirst(19)
        var milliseconds: Int64 = 0
        if rest.first == "." {
            let digits = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
            guard (1...9).contains(digits.count), let number = Int64((digits + "00").prefix(3)) else { throw wrong }
            milliseconds = number
            rest = rest.dropFirst(digits.count + 1)
        }
        let offset: Int64
        switch rest {
        case "", "Z", "z": offset = 0
        default:
            let parts = rest.dropFirst().split(separator: ":", omittingEmptySubsequences: false)
            guard let sign = rest.first, sign == "+" || sign == "-", parts.count == 2,
                parts.allSatisfy({ $0.count == 2 }),
                let hours = Int64(parts[0]), let minutes = Int64(parts[1]), hours < 24, minutes < 60
            else { throw wrong }
            offset = (sign == "+" ? 1 : -1) * (hours * 60 + minutes) * 60_000
        }
        let base = try Timestamp(rfc3339: "\(whole)Z")
        self.init(millisecondsSinceEpoch: base.millisecondsSinceEpoch + milliseconds - offset)
    }
}
