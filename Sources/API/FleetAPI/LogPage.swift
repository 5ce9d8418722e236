import FleetContract
import Primitives

/// A place in the lines of one source.
public struct LogPosition: Hashable, Sendable, Comparable {
    /// Which file.
    public var segment: UInt64
    /// Bytes of it before the place.
    public var offset: Int

    /// A place; by default before everything.
    public init(segment: UInt64 = 0, offset: Int = 0) {
        self.segment = segment
        self.offset = offset
    }

    public static func < (left: LogPosition, right: LogPosition) -> Bool {
        (left.segment, left.offset) < (right.segment, right.offset)
    }
}

/// Which lines of a source are asked for.
public struct LogQuestion: Hashable, Sendable {
    /// At most so many.
    public var count: Int
    /// None that is older.
    public var since: Timestamp?
    /// The first after this place; nil: the last that there are.
    public var after: LogPosition?

    /// A question.
    public init(count: Int, since: Timestamp? = nil, after: LogPosition? = nil) {
        self.count = count
        self.since = since
        self.after = after
    }
}

/// Lines of a source.
public struct LogPage: Hashable, Sendable {
    /// The lines, oldest first.
    public var lines: [String]
    /// The place after them.
    public var end: LogPosition

    /// Lines.
    public init(lines: [String] = [], end: LogPosition = LogPosition()) {
        self.lines = lines
        self.end = end
    }
}

/// Places in several sources as one text, for example `network-agent:3:1024~discovery-agent:1:99`.
struct LogCursor: Hashable, Sendable {
    var places: [String: LogPosition]

    /// The most sources.
    static let countMax = 16

    init(_ places: [String: LogPosition]) { self.places = places }

    /// Parses what `text` is; throws `InvalidValue`.
    init(_ text: String) throws(InvalidValue) {
        let wrong = InvalidValue("place", text, expected: "the 'next' of the answer before")
        places = [:]
        let parts = text.split(separator: "~")
        guard parts.count <= Self.countMax else { throw wrong }
        for part in parts {
            let fields = part.split(separator: ":")
            guard fields.count == 3, fields[0].utf8.count <= 60, let segment = UInt64(fields[1]),
                let offset = Int(fields[2]), offset >= 0
            else { throw wrong }
            places[String(fields[0])] = LogPosition(segment: segment, offset: offset)
        }
    }

    var text: String {
        places.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value.segment):\($0.value.offset)" }
            .joined(separator: "~")
    }
}
