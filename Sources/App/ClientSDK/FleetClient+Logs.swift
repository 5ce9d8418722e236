import FleetContract
import Primitives

/// Which lines are asked for.
public struct LineFilter: Sendable, Hashable {
    /// At most so many.
    public var lines: Int
    /// Of this program only.
    public var source: String?
    /// Of the ramdisk (`discovery`) or of the installed system (`agent`) only.
    public var boot: String?
    /// None that is older.
    public var since: Timestamp?
    /// Those after the `next` of an answer.
    public var after: String?

    /// A filter.
    public init(
        lines: Int = 200, source: String? = nil, boot: String? = nil, since: Timestamp? = nil, after: String? = nil
    ) {
        self.lines = lines
        self.source = source
        self.boot = boot
        self.since = since
        self.after = after
    }

    var query: [(String, String?)] {
        [
            ("lines", String(lines)), ("source", source), ("boot", boot),
            ("since", since.map { String($0.millisecondsSinceEpoch) }), ("after", after),
        ]
    }
}

extension FleetClient {
    /// How it goes with all nodes.
    public func top() async throws -> TopReply { try await get(FleetPath.below("top")) }

    /// Lines of a node's logs.
    public func logs(of node: String, _ filter: LineFilter = LineFilter()) async throws -> LogReply {
        try await get(FleetPath.below("nodes", node, "logs"), query: filter.query)
    }

    /// Lines that a node's serial console has shown.
    public func console(of node: String, _ filter: LineFilter = LineFilter()) async throws -> ConsoleReply {
        try await get(FleetPath.below("nodes", node, "console"), query: filter.query)
    }
}
