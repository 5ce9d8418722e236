import AgentProtocol
import Glibc
import Logging
import Primitives
import Synchronization

/// Keeps the newest log lines until they have gone to the conductor; the oldest are dropped when it is full.
public final class LogBuffer: Sendable {
    /// The most lines kept.
    public static let lineCountMax = 2000

    private struct State {
        var lines: [LogBatch.Line] = []
        var dropped = 0
    }

    private let state = Mutex(State())

    /// An empty buffer.
    public init() {}

    /// Adds a line, cut to the longest that a batch may hold.
    public func append(_ line: LogBatch.Line) {
        var line = line
        line.text = line.text.printable(limit: LogBatch.lineLengthMax - 1)
        state.withLock { state in
            state.lines.append(line)
            if state.lines.count > Self.lineCountMax {
                let excess = state.lines.count - Self.lineCountMax + 100
                state.lines.removeFirst(excess)
                state.dropped += excess
            }
        }
    }

    /// Takes the oldest lines out, one batch of them; nil when there are none.
    func take(source: String, now: Timestamp) -> LogBatch? {
        state.withLock { state in
            guard !state.lines.isEmpty else { return nil }
            var lines: [LogBatch.Line] = []
            if state.dropped > 0 {
                let text = "\(state.dropped) older lines were dropped: the buffer was full."
                lines.append(LogBatch.Line(time: now, level: "warning", text: text))
                state.dropped = 0
            }
            let count = min(LogBatch.lineCountMax - lines.count, state.lines.count)
            lines += state.lines.prefix(count)
            state.lines.removeFirst(count)
            return LogBatch(source: source, lines: lines)
        }
    }
}

/// Writes log lines to standard error, where the service manager keeps them, and into a buffer for the conductor.
public struct AgentLogHandler: LogHandler {
    public var logLevel = Logger.Level.info
    public var metadata = Logger.Metadata()
    private let buffer: LogBuffer
    private let clock: any WallClock

    /// A handler.
    public init(buffer: LogBuffer, clock: any WallClock = SystemWallClock()) {
        self.buffer = buffer
        self.clock = clock
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var text = "\(event.message)"
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { text += " \(key)=\(value)" }
        buffer.append(LogBatch.Line(time: clock.now, level: "\(event.level)", text: text))
        let line = Array("\(event.level): \(text.printable(limit: LogBatch.lineLengthMax))\n".utf8)
        _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
