/// A number of bytes.
public struct ByteCount: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// The count.
    public var bytes: UInt64

    /// A count of `bytes`.
    public init(bytes: UInt64) { self.bytes = bytes }

    /// `count` × 1024 bytes.
    public static func kibibytes(_ count: UInt64) -> ByteCount { ByteCount(bytes: count << 10) }
    /// `count` × 1024² bytes.
    public static func mebibytes(_ count: UInt64) -> ByteCount { ByteCount(bytes: count << 20) }
    /// `count` × 1024³ bytes.
    public static func gibibytes(_ count: UInt64) -> ByteCount { ByteCount(bytes: count << 30) }

    public init(from decoder: any Decoder) throws {
        bytes = try decoder.singleValueContainer().decode(UInt64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(bytes)
    }

    public static func < (left: ByteCount, right: ByteCount) -> Bool { left.bytes < right.bytes }

    /// With a binary unit and at most one decimal, for example `8 GiB` or `1.5 MiB`.
    public var description: String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        var tenths = bytes
        var unit = 0
        var scale: UInt64 = 1
        while bytes / scale >= 1024, unit < units.count - 1 {
            scale <<= 10
            unit += 1
        }
        let (quotient, remainder) = bytes.quotientAndRemainder(dividingBy: scale)
        tenths = scale == 1 ? 0 : remainder / (scale / 1024) * 10 / 1024
        return tenths == 0 ? "\(quotient) \(units[unit])" : "\(quotient).\(tenths) \(units[unit])"
    }
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, written in RFC 3339.
public struct Timestamp: Hashable, Sendable, Comparable, Codable, CustomStringConvertible {
    /// Milliseconds since the Unix epoch.
    public var millisecondsSinceEpoch: Int64

    /// The point `millisecondsSinceEpoch` after the Unix epoch.
    public init(millisecondsSinceEpoch: Int64) { self.millisecondsSinceEpoch = millisecondsSinceEpoch }

    /// This point moved by `duration`; the first or last that there is, when that is beyond it.
    public func advanced(by duration: Duration) -> Timestamp {
        let (sum, isBeyond) = millisecondsSinceEpoch.addingReportingOverflow(duration.milliseconds)
        guard isBeyond else { return Timestamp(millisecondsSinceEpoch: sum) }
        return Timestamp(millisecondsSinceEpoch: duration < .zero ? .min : .max)
    }

    /// The time from `earlier` to this point, at most what milliseconds can count: some times are what machines say.
    public func since(_ earlier: Timestamp) -> Duration {
        let (difference, isBeyond) =
            millisecondsSinceEpoch.subtractingReportingOverflow(earlier.millisecondsSinceEpoch)
        return .milliseconds(isBeyond ? (self < earlier ? .min : .max) : difference)
    }

    public init(from decoder: any Decoder) throws {
        millisecondsSinceEpoch = try decoder.singleValueContainer().decode(Int64.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(millisecondsSinceEpoch)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.millisecondsSinceEpoch < right.millisecondsSinceEpoch
    }

    /// Parses RFC 3339 in UTC with whole seconds, for example `2026-11-23T20:48:25Z`; throws `InvalidValue`.
    public init(rfc3339 text: String) throws(InvalidValue) {
        let wrong = InvalidValue("time", text, expected: "RFC 3339 in UTC, such as 2026-11-23T20:48:25Z")
        let bytes = Array(text.utf8)
        guard bytes.count == 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            bytes[19] == UInt8(ascii: "Z")
        else { throw wrong }
        func number(_ range: Range<Int>) -> Int? {
            let digits = bytes[range]
            guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
            return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19), (1970...9999).contains(year),
            (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 60
        else { throw wrong }
        // Days from civil, the inverse of `civil(fromDays:)`.
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let yearOfEra = shifted - era * 400
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        self.init(millisecondsSinceEpoch: Int64((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000))
        guard description == text else { throw wrong }
    }

    /// RFC 3339 in UTC with seconds, for example `2026-11-23T20:48:25Z`.
    public var description: String {
        let seconds = Int((Double(millisecondsSinceEpoch) / 1000).rounded(.down))
        let days = Int((Double(seconds) / 86400).rounded(.down))
        let rest = seconds - days * 86400
        let (year, month, day) = Self.civil(fromDays: days)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(two(month))-\(two(day))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
    }

    /// Year, month and day of a day count since 1970-01-01 in the proleptic Gregorian calendar.
    private static func civil(fromDays days: Int) -> (Int, Int, Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}

extension Duration {
    /// Whole milliseconds, rounded toward zero.
    public var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
