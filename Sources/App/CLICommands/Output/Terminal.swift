import Glibc
import Primitives

/// Where a command's output goes and what it can show.
struct Terminal: Sendable {
    /// Columns; nil: no limit, as in a pipe.
    var width: Int?
    /// Whether lines may be drawn over and colours used.
    var isInteractive: Bool
    /// Whether machines read it.
    var isJSON: Bool
    /// Whether it is a terminal whose whole screen can be drawn on, in colours or without.
    var isScreen = false
    /// The time, to tell ages by.
    var clock: any WallClock = SystemWallClock()

    /// This process's standard output; COLUMNS overrides its width, NO_COLOR its colours (no-color.org).
    static func standardOutput(asJSON: Bool) -> Terminal {
        let isTerminal = isatty(STDOUT_FILENO) == 1
        var width = ConnectionOptions.variable("COLUMNS").flatMap(Int.init)
        var size = winsize()
        if width == nil, isTerminal, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 {
            width = Int(size.ws_col)
        }
        let isColourful = isTerminal && ConnectionOptions.variable("NO_COLOR") == nil && !asJSON
        return Terminal(
            width: width.map { max(40, $0) }, isInteractive: isColourful, isJSON: asJSON,
            isScreen: isTerminal && !asJSON && ConnectionOptions.variable("TERM") != "dumb")
    }

    /// Writes `text` and a newline.
    func print(_ text: String) { Self.write(text + "\n", to: STDOUT_FILENO) }

    /// Writes over the current line; for interactive terminals only.
    func redraw(_ text: String) { Self.write("\r\u{1B}[K" + text, to: STDOUT_FILENO) }

    /// Writes `text` and a newline to standard error.
    static func standardError(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }

    /// Prints `value` as JSON.
    func json(_ value: some Encodable) { print(JSONText.of(value)) }

    /// `text` in a style where styles can be shown.
    func styled(_ text: String, _ style: Style) -> String {
        guard isInteractive, style != .plain, !text.isEmpty else { return text }
        return "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m"
    }
}

/// How a text looks (ECMA-48, SGR).
enum Style: String, Sendable {
    case plain = "0"
    case bold = "1"
    case dim = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"
}
