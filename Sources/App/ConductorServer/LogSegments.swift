import AgentProtocol
import FleetAPI
import Glibc
import Primitives
import Synchronization

/// Lines in files of bounded size and number, for each node and source, and of bounded size in all.
///
/// A file is `<directory>/<node>/<source>.<number>.log`; the number rises, so that a reader who comes back goes on where it
/// was, also after a restart. The oldest file of a source goes when it has too many, the oldest of all when they are too
/// large together.
final class LogSegments: Sendable {
    /// The most that is kept.
    struct Limits: Hashable, Sendable {
        /// Bytes of a file.
        var segmentSize = 1 << 20
        /// Files of a source.
        var segmentCount = 4
        /// Bytes of all files of all nodes.
        var totalSize = 8 << 30

        /// What a machine gets that nobody has let in.
        static let stranger = Limits(segmentSize: 128 << 10, segmentCount: 2)
    }

    /// The most bytes that one reading looks at.
    static let readSizeMax = 8 << 20

    private struct Source: Hashable {
        let node: String
        let name: String
    }

    private struct Segment {
        let number: UInt64
        var size: Int
        /// Rises with each write of any file: the oldest file is the one with the least.
        var touched: UInt64
    }

    private struct State {
        var segments: [Source: [Segment]] = [:]
        var total = 0
        var writes: UInt64 = 0
    }

    private let directory: String
    private let totalSize: Int
    private let state: Mutex<State>

    /// Takes up the files that are there.
    init(directory: String, totalSize: Int = Limits().totalSize) {
        self.directory = directory
        self.totalSize = totalSize
        state = Mutex(Self.scan(directory))
    }

    /// How many bytes are kept in all.
    var size: Int { state.withLock { $0.total } }

    /// Appends whole lines, each with its end, to a source. Throws `NodeLogError.file`.
    func append(_ lines: String, node: NodeID, source name: String, limits: Limits = Limits()) throws(NodeLogError) {
        let source = Source(node: node.raw, name: name)
        try state.withLock { (state) throws(NodeLogError) in
            var rest = Array(lines.utf8)[...]
            while !rest.isEmpty {
                // As many whole lines as fit into a file; a line alone is always shorter than one.
                let piece = rest.prefix(limits.segmentSize)
                let end =
                    piece.count == rest.count ? piece.endIndex : piece.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
                let bytes = rest[..<(end ?? piece.endIndex)]
                rest = rest[bytes.endIndex...]
                try append(bytes, to: source, limits, &state)
            }
            if state.total > totalSize { shrink(&state) }
        }
    }

    private func append(
        _ bytes: ArraySlice<UInt8>, to source: Source, _ limits: Limits, _ state: inout State
    ) throws(NodeLogError) {
        var own = state.segments[source] ?? []
        if own.last.map({ $0.size + bytes.count > limits.segmentSize }) ?? true {
            own.append(Segment(number: (own.last?.number ?? 0) + 1, size: 0, touched: 0))
        }
        mkdir(directory, 0o700)
        mkdir("\(directory)/\(source.node)", 0o700)
        let last = own.count - 1
        try Self.write(bytes, to: path(source, own[last].number))
        state.writes += 1
        own[last].size += bytes.count
        own[last].touched = state.writes
        state.total += bytes.count
        while own.count > limits.segmentCount {
            let oldest = own.removeFirst()
            unlink(path(source, oldest.number))
            state.total -= oldest.size
        }
        state.segments[source] = own
    }

    /// Removes the files that were written to least lately until a twentieth of the room is free.
    private func shrink(_ state: inout State) {
        let all = state.segments.flatMap { source, own in own.map { (source, $0) } }
        for (source, segment) in all.sorted(by: { $0.1.touched < $1.1.touched }) {
            guard state.total > totalSize / 20 * 19 else { return }
            unlink(path(source, segment.number))
            state.total -= segment.size
            state.segments[source]?.removeAll { $0.number == segment.number }
            if state.segments[source]?.isEmpty == true { state.segments[source] = nil }
        }
    }

    /// The lines that are asked for, at most `readSizeMax` bytes of them: the last ones, or the first after a place.
    func read(_ node: NodeID, source name: String, _ question: LogQuestion) -> LogPage {
        let source = Source(node: node.raw, name: name)
        return state.withLock { state in
            let own = state.segments[source] ?? []
            let end = own.last.map { LogPosition(segment: $0.number, offset: $0.size) } ?? LogPosition()
            var page = LogPage(lines: [], end: end)
            if let after = question.after, after <= end {
                page = forward(source, own, after, question)
            } else {
                page.lines = backward(source, own, question)
            }
            return page
        }
    }

    private func backward(_ source: Source, _ own: [Segment], _ question: LogQuestion) -> [String] {
        var lines: [String] = []
        var left = Self.readSizeMax
        for segment in own.reversed() where lines.count < question.count && left > 0 {
            let text = Self.lines(
                Self.bytes(path(source, segment.number), from: 0, count: min(left, segment.size)).bytes)
            lines = text + lines
            left -= segment.size
            if let since = question.since, let first = text.first, first.prefix(19) < since.description.prefix(19) {
                break
            }
        }
        return Array(Self.filter(lines, question).suffix(question.count))
    }

    private func forward(
        _ source: Source, _ own: [Segment], _ after: LogPosition, _ question: LogQuestion
    ) -> LogPage {
        var page = LogPage(lines: [], end: after)
        var left = Self.readSizeMax
        for segment in own where segment.number >= after.segment && page.lines.count < question.count && left > 0 {
            let start = segment.number == after.segment ? after.offset : 0
            let found = Self.bytes(path(source, segment.number), from: start, count: min(left, segment.size - start))
            let (lines, used) = Self.lines(found.bytes, atMost: question.count - page.lines.count)
            page.lines += lines
            page.end = LogPosition(segment: segment.number, offset: start + used)
            left -= used
            if start + used < segment.size { break }
        }
        page.lines = Self.filter(page.lines, question)
        return page
    }

    /// Lines begin with their time, which is RFC 3339 in UTC: texts are in the order of times.
    private static func filter(_ lines: [String], _ question: LogQuestion) -> [String] {
        guard let since = question.since?.description.prefix(19) else { return lines }
        return lines.filter { $0.prefix(19) >= since }
    }

    /// Removes all lines of a node.
    func remove(_ node: NodeID) {
        state.withLock { state in
            for (source, own) in state.segments where source.node == node.raw {
                for segment in own {
                    unlink(path(source, segment.number))
                    state.total -= segment.size
                }
                state.segments[source] = nil
            }
            rmdir("\(directory)/\(node.raw)")
        }
    }

    // MARK: Files

    private func path(_ source: Source, _ number: UInt64) -> String {
        "\(directory)/\(source.node)/\(source.name).\(number).log"
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to path: String) throws(NodeLogError) {
        let file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .file(path, errno) }
        defer { close(file) }
        var rest = bytes
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .file(path, errno) }
            rest = rest.dropFirst(written)
        }
    }

    private static func bytes(_ path: String, from start: Int, count: Int) -> (bytes: [UInt8], isWhole: Bool) {
        guard count > 0 else { return ([], true) }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return ([], false) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes {
                pread(file, $0.baseAddress?.advanced(by: filled), count - filled, off_t(start + filled))
            }
            guard got > 0 else { break }
            filled += got
        }
        return (Array(bytes[..<filled]), filled == count)
    }

    /// The whole lines, at most so many, and how many bytes they take.
    private static func lines(_ bytes: [UInt8], atMost limit: Int = .max) -> (lines: [String], used: Int) {
        var lines: [String] = []
        var used = 0
        while lines.count < limit, let end = bytes[used...].firstIndex(of: UInt8(ascii: "\n")) {
            lines.append(String(decoding: bytes[used..<end], as: UTF8.self).printable(limit: NodeLogs.lineLengthMax))
            used = end + 1
        }
        return (lines, used)
    }

    private static func lines(_ bytes: [UInt8]) -> [String] { lines(bytes, atMost: .max).lines }

    /// What is there; files whose names are none of ours are left alone.
    private static func scan(_ directory: String) -> State {
        var state = State()
        var found: [(source: Source, segment: Segment, time: Int)] = []
        for node in names(in: directory) where (try? NodeID(node)) != nil {
            for name in names(in: "\(directory)/\(node)") {
                let parts = name.split(separator: ".")
                var info = stat()
                guard parts.count == 3, parts[2] == "log", let number = UInt64(parts[1]),
                    stat("\(directory)/\(node)/\(name)", &info) == 0, info.st_mode & S_IFMT == S_IFREG
                else { continue }
                found.append(
                    (
                        Source(node: node, name: String(parts[0])),
                        Segment(number: number, size: Int(info.st_size), touched: 0), Int(info.st_mtim.tv_sec)
                    ))
            }
        }
        for entry in found.sorted(by: { ($0.time, $0.segment.number) < ($1.time, $1.segment.number) }) {
            state.writes += 1
            state.total += entry.segment.size
            var segment = entry.segment
            segment.touched = state.writes
            state.segments[entry.source, default: []].append(segment)
        }
        for source in state.segments.keys { state.segments[source]?.sort { $0.number < $1.number } }
        return state
    }

    private static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }
}
