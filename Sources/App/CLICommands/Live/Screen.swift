import FleetContract
import Glibc

/// The whole screen of a terminal (xterm's control sequences).
enum Screen {
    /// Leaves the alternate screen and shows the cursor again.
    static let leaving = "\u{1B}[?25h\u{1B}[?1049l"

    /// Takes the alternate screen and hides the cursor.
    static func enter() { Terminal.write("\u{1B}[?1049h\u{1B}[?25l", to: STDOUT_FILENO) }

    /// Lines of the terminal.
    static var height: Int {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0 else { return 24 }
        return Int(size.ws_row)
    }

    /// Draws over what is there, in one write, so that nothing flickers.
    static func draw(_ view: TopView, _ reply: TopReply, _ problem: String?, _ terminal: Terminal) {
        var now = terminal
        now.width = Terminal.standardOutput(asJSON: false).width ?? 80
        var lines = view.lines(reply, now, height: height)
        if let problem { lines[0] = now.styled(problem.cut(to: now.width ?? 80), .red) }
        Terminal.write(frame(lines), to: STDOUT_FILENO)
    }

    /// Each line over the old one, the rest of it emptied.
    static func frame(_ lines: [String]) -> String {
        "\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J"
    }
}
