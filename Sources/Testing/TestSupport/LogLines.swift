import Logging
import Synchronization

/// What was logged, a line each: the level, the message, and the metadata in the order of their names.
public final class LogLines: Sendable {
    private let level: Logger.Level
    private let lines = Mutex<[String]>([])

    /// Keeps what is logged at `level` or louder.
    public init(from level: Logger.Level = .debug) { self.level = level }

    /// The lines so far.
    public var all: [String] { lines.withLock { $0 } }
    /// Logs to here.
    public var logger: Logger { Logger(label: "test") { _ in Handler(lines: self, logLevel: self.level) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel: Logger.Level

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
            let words = ["\(event.level)", "\(event.message)"] + all.map { "\($0.key)=\($0.value)" }
            lines.lines.withLock { $0.append(words.joined(separator: " ")) }
        }
    }
}
