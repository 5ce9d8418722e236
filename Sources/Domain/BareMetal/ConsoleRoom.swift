import Primitives

/// Who looks at one machine's console and who may type, as a pure step. All see the same; one types at a time. A console
/// that is recorded stays open without anybody.
public struct ConsoleRoom: Sendable, Hashable {
    /// The most that look at one console.
    public static let viewerCountMax = 8

    /// What happens.
    public enum Event: Sendable, Hashable {
        /// Somebody comes; `writes` to type if nobody does, `takes` also if somebody does.
        case joined(UInt64, who: String, writes: Bool, takes: Bool)
        /// Somebody has gone.
        case left(UInt64)
        /// Whether the console is to be recorded, with or without anybody; asked again, it is opened if it is closed.
        case recording(Bool)
        /// The console is open.
        case opened
        /// The console is gone, or could not be opened.
        case ended(String)
        /// Somebody typed so many bytes.
        case typed(UInt64, count: Int)
    }

    /// What is to be done.
    public enum Effect: Sendable, Hashable {
        /// Open the console; `takesOver` ends what others have open.
        case open(takesOver: Bool)
        /// Close the console.
        case close
        /// Send what was typed to the machine.
        case forward
        /// Tell one that looks.
        case tell(UInt64, Note)
        /// Tell one that it has no place here (any more), and why.
        case dismiss(UInt64, String)
        /// Keep in the audit log that somebody typed; not what.
        case record(who: String, count: Int, from: Timestamp, until: Timestamp)
    }

    /// What is told.
    public enum Note: Sendable, Hashable {
        /// The place is taken; whether it may type, and who does otherwise.
        case seated(isWriter: Bool, writer: String?)
        /// The console is open.
        case opened
        /// Somebody else types from now on.
        case writerIs(String)
        /// Nobody types any more: coming again is enough to do so.
        case writerLeft(String)
        /// What was typed was not sent.
        case notTheWriter(String?)
    }

    private struct Viewer: Hashable {
        var who: String
        var count = 0
        var first: Timestamp?
        var last: Timestamp?
    }

    private enum Line {
        case closed
        case opening
        case open
    }

    private var line = Line.closed
    private var viewers: [UInt64: Viewer] = [:]
    private var writer: UInt64?
    /// Whether the console is to be recorded always.
    public private(set) var isRecorded = false

    /// Nobody is here and nothing is open.
    public init() {}

    /// Whether nobody is here and nothing is recorded.
    public var isEmpty: Bool { viewers.isEmpty && !isRecorded }

    /// Whether it is to be recorded and is not open.
    public var lacksRecording: Bool { isRecorded && line == .closed }

    /// Takes `event`, and says what is to be done.
    public mutating func step(_ event: Event, at now: Timestamp) -> [Effect] {
        switch event {
        case .joined(let id, let who, let writes, let takes): return join(id, who, writes, takes)
        case .left(let id): return leave(id)
        case .recording(let isWanted): return record(isWanted)
        case .opened:
            guard line == .opening else { return [] }
            line = .open
            return ids.map { .tell($0, .opened) }
        case .ended(let reason):
            let effects = ids.flatMap { record($0) } + ids.map { .dismiss($0, reason) }
            (line, viewers, writer) = (.closed, [:], nil)
            return effects
        case .typed(let id, let count):
            guard writer == id, var viewer = viewers[id] else {
                return viewers[id] == nil ? [] : [.tell(id, .notTheWriter(writer.flatMap { viewers[$0]?.who }))]
            }
            guard line == .open else { return [] }
            viewer.count += count
            viewer.first = viewer.first ?? now
            viewer.last = now
            viewers[id] = viewer
            return [.forward]
        }
    }

    private var ids: [UInt64] { viewers.keys.sorted() }

    private mutating func join(_ id: UInt64, _ who: String, _ writes: Bool, _ takes: Bool) -> [Effect] {
        guard viewers.count < Self.viewerCountMax else {
            return [.dismiss(id, "\(Self.viewerCountMax) look at this console already; wait until one has left.")]
        }
        viewers[id] = Viewer(who: who)
        var effects: [Effect] = []
        if writes, writer == nil || takes {
            if let before = writer {
                effects += record(before)
                effects += ids.filter { $0 != id }.map { .tell($0, .writerIs(who)) }
            }
            writer = id
        }
        effects.append(.tell(id, .seated(isWriter: writer == id, writer: writer.flatMap { viewers[$0]?.who })))
        switch line {
        case .closed:
            line = .opening
            effects.append(.open(takesOver: takes))
        case .opening: break
        case .open: effects.append(.tell(id, .opened))
        }
        return effects
    }

    private mutating func leave(_ id: UInt64) -> [Effect] {
        guard let viewer = viewers[id] else { return [] }
        var effects = record(id)
        viewers[id] = nil
        if writer == id {
            writer = nil
            effects += ids.map { .tell($0, .writerLeft(viewer.who)) }
        }
        return effects + closeIfUnused()
    }

    private mutating func record(_ isWanted: Bool) -> [Effect] {
        isRecorded = isWanted
        guard isWanted else { return closeIfUnused() }
        guard line == .closed else { return [] }
        line = .opening
        return [.open(takesOver: false)]
    }

    private mutating func closeIfUnused() -> [Effect] {
        guard isEmpty, line != .closed else { return [] }
        line = .closed
        return [.close]
    }

    /// What one typed, once; then it is counted anew.
    private mutating func record(_ id: UInt64) -> [Effect] {
        guard var viewer = viewers[id], viewer.count > 0, let first = viewer.first, let last = viewer.last else {
            return []
        }
        let effect = Effect.record(who: viewer.who, count: viewer.count, from: first, until: last)
        (viewer.count, viewer.first, viewer.last) = (0, nil, nil)
        viewers[id] = viewer
        return [effect]
    }
}
