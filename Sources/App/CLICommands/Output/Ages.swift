import Primitives

/// Times as people read them.
enum Ages {
    /// A duration in its largest units, for example `42s`, `7m`, `3h20m`, `12d`.
    static func text(_ duration: Duration) -> String {
        let seconds = max(0, duration.milliseconds / 1000)
        switch seconds {
        case ..<120: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m"
        case ..<86_400:
            let minutes = seconds / 60 % 60
            return minutes == 0 ? "\(seconds / 3600)h" : "\(seconds / 3600)h\(minutes < 10 ? "0" : "")\(minutes)m"
        default: return "\(seconds / 86_400)d"
        }
    }

    /// How long before `now` something was.
    static func since(_ time: Timestamp, now: Timestamp) -> String { text(now.since(time)) }

    /// `in 5m` or `5m ago`.
    static func until(_ time: Timestamp, now: Timestamp) -> String {
        let left = time.since(now)
        return left < .zero ? "\(text(now.since(time))) ago" : "in \(text(left))"
    }

    /// The time of day in UTC, for example `20:48:25`.
    static func clock(_ time: Timestamp) -> String { String(time.description.dropFirst(11).prefix(8)) }

    /// Parses `90s`, `30m`, `24h` or `7d`; throws `InvalidValue` for anything else.
    static func parse(_ text: String) throws(InvalidValue) -> Duration {
        let factors: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = text.last, let factor = factors[unit], let count = Int(text.dropLast()),
            (0...1_000_000).contains(count)
        else { throw InvalidValue("duration", text, expected: "a number with s, m, h or d, such as 24h") }
        return .seconds(count * factor)
    }
}

/// A bar that fills.
enum ProgressBar {
    /// `[######----]  61 %` for `percent`, 0 to 100.
    static func text(percent: Int, width: Int = 20) -> String {
        let filled = percent * width / 100
        let number = String(repeating: " ", count: percent < 10 ? 2 : percent < 100 ? 1 : 0) + "\(percent)"
        return "[\(String(repeating: "#", count: filled))\(String(repeating: "-", count: width - filled))] \(number) %"
    }
}
