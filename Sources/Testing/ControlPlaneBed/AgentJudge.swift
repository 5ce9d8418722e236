import Primitives

/// What the catalog says of the agents' streams, read between two moments.
struct AgentCensus: Sendable, Hashable {
    enum Stream: Sendable, Hashable {
        case open, unknown, gone
    }

    /// Monotonic, in nanoseconds: when the reading began and ended.
    var begun: Int64
    var ended: Int64
    /// By node; who has no agent yet is not there.
    var streams: [String: Stream]

    /// How many are `stream`.
    func count(_ stream: Stream) -> Int { streams.values.count { $0 == stream } }
}

/// Holds what agents saw of their streams against what the catalog said meanwhile; pure.
struct AgentJudge: Sendable {
    /// How long a conductor may take to note that a stream is open: the store's patience, and a little.
    static let noteTime: Int64 = 7_000_000_000

    /// What became of the streams in a time.
    struct Resettling: Sendable, Hashable {
        /// Agents that have lost their stream.
        var lost = 0
        /// Seconds from the beginning until all had one again; nil: some have none at the end.
        var seconds: Double? = 0
    }

    private var openings: [String: [(time: Int64, endpoint: String?)]] = [:]
    private let lines: [AgentJournal.Line]

    init(_ lines: [AgentJournal.Line]) {
        self.lines = lines.filter { $0.failure == nil }
        for line in self.lines { openings[line.node, default: []].append((line.time, line.endpoint)) }
    }

    /// The agents that have had a stream.
    var count: Int { openings.count }

    /// Streams that ended from `start` on, and when all were there again.
    func resettling(from start: Int64, to end: Int64) -> Resettling {
        var without: Set<String> = []
        for line in lines where line.time < start {
            if line.endpoint == nil { without.insert(line.node) } else { without.remove(line.node) }
        }
        var (result, lost) = (Resettling(), Set<String>())
        var whole: Int64? = without.isEmpty ? start : nil
        for line in lines where line.time >= start && line.time <= end {
            if line.endpoint == nil {
                lost.insert(line.node)
                without.insert(line.node)
                whole = nil
            } else {
                without.remove(line.node)
                whole = without.isEmpty ? whole ?? line.time : nil
            }
        }
        result.lost = lost.count
        result.seconds = whole.map { Double($0 - start) / 1e9 }
        return result
    }

    /// Times from `start`, in seconds and in order, at which agents that had lost their streams had one again.
    func returns(from start: Int64) -> [Double] {
        var lost: Set<String> = []
        var times: [Double] = []
        for line in lines where line.time >= start {
            if line.endpoint == nil {
                lost.insert(line.node)
            } else if lost.remove(line.node) != nil {
                times.append(Double(line.time - start) / 1e9)
            }
        }
        return times
    }

    /// Agents that the catalog had as gone though their stream was open all the time, and long enough to be noted.
    func wronglyGone(_ census: AgentCensus) -> [String] {
        census.streams.filter { $0.value == .gone }.keys.filter { node in
            guard let events = openings[node], let last = events.last(where: { $0.time <= census.ended }) else {
                return false
            }
            return last.endpoint != nil && last.time + Self.noteTime < census.begun
        }.sorted()
    }
}
