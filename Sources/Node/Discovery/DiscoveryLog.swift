import AgentProtocol
import Glibc
import Primitives
import Synchronization

/// Log lines for the console at once and for the conductor in batches; the oldest go when it is full.
final class DiscoveryLog: Sendable {
    private static let lineCountMax = 2000

    private let clock: any WallClock
    private let lines = Mutex<[LogBatch.Line]>([])

    init(clock: any WallClock) { self.clock = clock }

    func write(_ level: String, _ text: String) {
        let text = text.printable(limit: LogBatch.lineLengthMax - 1)
        let line = LogBatch.Line(time: clock.now, level: level, text: text)
        lines.withLock { lines in
            lines.append(line)
            if lines.count > Self.lineCountMax { lines.removeFirst(lines.count - Self.lineCountMax) }
        }
        let bytes = Array("discovery-agent: \(level): \(text)\n".utf8)
        _ = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }

    /// The oldest lines, which stay until they are `dropped`; nil when there are none.
    func batch() -> LogBatch? {
        lines.withLock { lines in
            lines.isEmpty
                ? nil : LogBatch(source: "discovery-agent", lines: Array(lines.prefix(LogBatch.lineCountMax)))
        }
    }

    /// Forgets the lines of a batch that has arrived.
    func drop(_ batch: LogBatch) {
        lines.withLock { lines in
            guard let first = lines.firstIndex(of: batch.lines[0]) else { return }
            lines.removeFirst(min(lines.count, first + batch.lines.count))
        }
    }
}
