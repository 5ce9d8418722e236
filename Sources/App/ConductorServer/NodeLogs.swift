import AgentProtocol
import FleetAPI
import Glibc
import Primitives
import Synchronization

/// Nodes' log lines and what their serial consoles show, kept in `LogSegments`: at most four files of 1 MiB a node and
/// source, of a machine that nobody has let in two of 128 KiB, and only so much in a second.
final class NodeLogs: Sendable {
    private let segments: LogSegments
    private let allowances = Mutex<[NodeID: LogAllowance]>([:])
    private let clock: any WallClock
    private let drops = Mutex<UInt64>(0)

    /// The most characters of a line that is read.
    static let lineLengthMax = 4000
    /// What a machine may log before it is let in.
    static let strangerSource = "discovery-agent"
    /// The programs whose lines are kept.
    static let sources: Set<String> = [
        "discovery-agent", "network-agent", "compute-agent", "storage-agent", "controller-agent", "node-agent",
    ]
    /// What the serial console shows.
    static let console = "console"

    init(
        directory: String, totalSize: Int = LogSegments.Limits().totalSize, clock: any WallClock = SystemWallClock()
    ) {
        segments = LogSegments(directory: directory, totalSize: totalSize)
        self.clock = clock
    }

    /// Appends a batch; lines over the limits of `LogBatch` are cut, what is too much for a second is dropped and said so.
    /// Throws `NodeLogError`.
    func append(_ batch: LogBatch, for node: NodeID, isStranger: Bool = false) throws(NodeLogError) {
        let isKnown = isStranger ? batch.source == Self.strangerSource : Self.sources.contains(batch.source)
        guard isKnown else { throw .unknownSource(batch.source.printable(limit: 60)) }
        let lines = batch.lines.prefix(LogBatch.lineCountMax).map { line in
            "\(line.time) \(line.level.printable(limit: 12)) \(line.text.printable(limit: LogBatch.lineLengthMax))"
        }
        try append(lines, for: node, source: batch.source, limits: isStranger ? .stranger : LogSegments.Limits())
    }

    /// Appends lines that the node's console has shown just now.
    func appendConsole(_ lines: [String], for node: NodeID) throws(NodeLogError) {
        let now = clock.now
        try append(
            lines.map { "\(now) \($0.printable(limit: ConsoleText.lineLengthMax))" }, for: node, source: Self.console,
            limits: LogSegments.Limits())
    }

    private func append(
        _ lines: [String], for node: NodeID, source: String, limits: LogSegments.Limits
    ) throws(NodeLogError) {
        let now = clock.now
        let (taken, told) = allowances.withLock { allowances in
            if allowances.count > Self.nodeCountMax { allowances.removeAll() }
            return allowances[node, default: LogAllowance(now: now)].take(lines.map { $0.utf8.count + 1 }, at: now)
        }
        let dropped = lines.count - taken
        if dropped > 0 { drops.withLock { $0 += UInt64(dropped) } }
        var text = told.map { "\(now) warning \($0) lines were dropped: more came than is kept in a second.\n" } ?? ""
        for line in lines.prefix(taken) { text += line + "\n" }
        try segments.append(text, node: node, source: source, limits: limits)
    }

    /// Allowances that are remembered; forgetting them costs nothing but a burst.
    private static let nodeCountMax = 20_000

    /// The lines of a source that are asked for; none of a source that is not kept.
    func read(_ node: NodeID, source: String, _ question: LogQuestion) -> LogPage {
        guard Self.sources.contains(source) || source == Self.console else { return LogPage() }
        return segments.read(node, source: source, question)
    }

    /// Removes all lines of a node.
    func remove(_ node: NodeID) {
        segments.remove(node)
        allowances.withLock { $0[node] = nil }
    }

    /// How much is kept, and how many lines were dropped, for Prometheus.
    var samples: [MetricsReport.Sample] {
        [
            .init(name: "muster_logs_bytes", value: Double(segments.size)),
            .init(name: "muster_log_lines_dropped_total", value: Double(drops.withLock { $0 }), isCounter: true),
        ]
    }
}

/// How much one node may log: a burst, and so many bytes a second.
struct LogAllowance: Hashable, Sendable {
    /// Bytes at once.
    static let burst = 1 << 20
    /// Bytes a second.
    static let rate = 32 << 10

    private var left = burst
    private var since: Timestamp
    private var dropped = 0

    init(now: Timestamp) { since = now }

    /// How many of the lines, from the first, are taken; and how many were dropped before them, when that is to be told.
    mutating func take(_ sizes: [Int], at now: Timestamp) -> (taken: Int, told: Int?) {
        let passed = max(0, min(now.since(since).milliseconds, Int64(Self.burst / Self.rate + 1) * 1000))
        left = min(Self.burst, left + Int(passed) * Self.rate / 1000)
        since = now
        var taken = 0
        for size in sizes where taken < sizes.count {
            guard size <= left else { break }
            left -= size
            taken += 1
        }
        let told = taken > 0 && dropped > 0 ? dropped : nil
        if told != nil { dropped = 0 }
        dropped += sizes.count - taken
        return (taken, told)
    }
}

/// Why a log batch was not kept.
enum NodeLogError: UserFacingError, Hashable {
    case unknownSource(String)
    case file(String, Int32)

    var publicMessage: String {
        switch self {
        case .unknownSource(let source): "'\(source)' is not a source of logs."
        case .file: "The conductor cannot keep logs now; look at its disk."
        }
    }

    var diagnostic: String {
        if case .file(let path, let code) = self {
            "\(path): \(String(cString: strerror(code)))"
        } else {
            publicMessage
        }
    }
}
