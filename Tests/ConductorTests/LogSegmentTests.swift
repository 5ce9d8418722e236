import AgentProtocol
import FleetAPI
import Foundation
import Primitives
import TestSupport
import Testing

@testable import ConductorServer

/// What nodes' logs and consoles become on the conductor's disk.
@Suite struct LogSegmentTests {
    private static let node = try! NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b842")
    private static let other = try! NodeID("3f2a91c4-07d8-4be1-9c35-d1e6f0a7b843")

    private static func line(_ number: Int, _ size: Int = 100) -> String {
        let head = "2026-01-01T00:00:\(number % 60 < 10 ? "0" : "")\(number % 60)Z info line \(number) "
        return head + String(repeating: "x", count: max(0, size - head.utf8.count - 1)) + "\n"
    }

    private static func numbers(_ page: LogPage) -> [Int] {
        page.lines.compactMap { Int($0.split(separator: " ")[3]) }
    }

    @Test func `the newest lines are kept in few files, and a reader goes on where it was after a restart`() throws {
        let directory = try TemporaryDirectory("logs")
        let limits = LogSegments.Limits(segmentSize: 1000, segmentCount: 3)
        var logs = LogSegments(directory: directory.path)
        for number in 0..<25 { try logs.append(Self.line(number), node: Self.node, source: "a", limits: limits) }
        let page = logs.read(Self.node, source: "a", LogQuestion(count: 5))
        #expect(Self.numbers(page) == [20, 21, 22, 23, 24])
        for number in 25..<50 { try logs.append(Self.line(number), node: Self.node, source: "a", limits: limits) }
        let files = try FileManager.default.contentsOfDirectory(atPath: "\(directory.path)/\(Self.node)")
        #expect(files.sorted() == ["a.3.log", "a.4.log", "a.5.log"])
        #expect(logs.size == 3000)

        logs = LogSegments(directory: directory.path)
        #expect(logs.size == 3000)
        let next = logs.read(Self.node, source: "a", LogQuestion(count: 10, after: page.end))
        #expect(Self.numbers(next) == Array(25..<35), "in order, and no more than was asked for")
        let rest = logs.read(Self.node, source: "a", LogQuestion(count: 100, after: next.end))
        #expect(Self.numbers(rest) == Array(35..<50))
        #expect(logs.read(Self.node, source: "a", LogQuestion(count: 100, after: rest.end)).lines.isEmpty)
        try logs.append(Self.line(50), node: Self.node, source: "a", limits: limits)
        #expect(Self.numbers(logs.read(Self.node, source: "a", LogQuestion(count: 9, after: rest.end))) == [50])
        // A place in a file that is gone: the reader goes on with the oldest there is.
        let gap = logs.read(Self.node, source: "a", LogQuestion(count: 1, after: LogPosition(segment: 1, offset: 7)))
        #expect(Self.numbers(gap) == [30] || Self.numbers(gap) == [20], "\(gap)")
        let late = logs.read(
            Self.node, source: "a",
            LogQuestion(count: 100, since: try Timestamp(rfc3339: "2026-01-01T00:00:45Z")))
        #expect(Self.numbers(late) == [45, 46, 47, 48, 49, 50])
        logs.remove(Self.node)
        #expect(logs.size == 0 && !FileManager.default.fileExists(atPath: "\(directory.path)/\(Self.node)"))
        withExtendedLifetime(directory) {}
    }

    @Test func `all nodes together have a bound, and the one that is quiet longest goes first`() throws {
        let directory = try TemporaryDirectory("logs")
        let limits = LogSegments.Limits(segmentSize: 1000, segmentCount: 4)
        let logs = LogSegments(directory: directory.path, totalSize: 5000)
        for number in 0..<10 { try logs.append(Self.line(number), node: Self.other, source: "a", limits: limits) }
        for number in 0..<100 { try logs.append(Self.line(number), node: Self.node, source: "a", limits: limits) }
        for number in 0..<20 { try logs.append(Self.line(number), node: Self.node, source: "b", limits: limits) }
        #expect(logs.size <= 5000)
        #expect(logs.read(Self.other, source: "a", LogQuestion(count: 9)).lines.isEmpty)
        #expect(logs.read(Self.node, source: "a", LogQuestion(count: 9)).lines.count == 9)
        var onDisk = 0
        for path in try FileManager.default.subpathsOfDirectory(atPath: directory.path) where path.hasSuffix(".log") {
            onDisk +=
                (try FileManager.default.attributesOfItem(atPath: "\(directory.path)/\(path)")[.size] as? Int) ?? 0
        }
        #expect(onDisk == logs.size)
        withExtendedLifetime(directory) {}
    }

    @Test func `a batch larger than a file is cut into files, and only as much as a stranger gets is kept`() throws {
        let directory = try TemporaryDirectory("logs")
        let logs = NodeLogs(directory: directory.path, clock: ManualWallClock())
        let line = LogBatch.Line(
            time: Timestamp(millisecondsSinceEpoch: 0), level: "info", text: String(repeating: "é", count: 1900))
        let batch = LogBatch(source: "discovery-agent", lines: Array(repeating: line, count: 200))
        try logs.append(batch, for: Self.node, isStranger: true)
        #expect(logs.samples[0].value <= Double(256 << 10), "\(logs.samples)")
        #expect(logs.read(Self.node, source: "discovery-agent", LogQuestion(count: 5)).lines.count == 5)
        #expect(throws: NodeLogError.unknownSource("../x")) {
            try logs.append(LogBatch(source: "../x", lines: [line]), for: Self.node)
        }
        #expect(throws: NodeLogError.unknownSource("network-agent")) {
            try logs.append(LogBatch(source: "network-agent", lines: [line]), for: Self.node, isStranger: true)
        }
        withExtendedLifetime(directory) {}
    }

    @Test func `who logs too much loses lines and is told so, nobody else does`() throws {
        let directory = try TemporaryDirectory("logs")
        let clock = ManualWallClock()
        let logs = NodeLogs(directory: directory.path, clock: clock)
        let line = LogBatch.Line(time: clock.now, level: "info", text: String(repeating: "x", count: 1970))
        let batch = LogBatch(source: "network-agent", lines: Array(repeating: line, count: 200))
        for _ in 0..<10 { try logs.append(batch, for: Self.node) }
        let dropped = logs.samples[1].value
        #expect(dropped > 1000 && dropped < 2000, "a burst of a MiB is kept: \(dropped)")
        try logs.append(LogBatch(source: "network-agent", lines: [line]), for: Self.other)
        #expect(logs.samples[1].value == dropped)
        clock.advance(by: .seconds(5))
        try logs.append(LogBatch(source: "network-agent", lines: [line]), for: Self.node)
        let tail = logs.read(Self.node, source: "network-agent", LogQuestion(count: 2)).lines
        #expect(tail[0].contains("\(Int(dropped)) lines were dropped"), "\(tail)")
        withExtendedLifetime(directory) {}
    }

    @Test func `what a console sends becomes lines without control characters`() {
        var text = ConsoleText()
        #expect(text.take("a\u{1B}[31mred\u{1B}[0m\r\nlog".utf8) == ["ared"])
        #expect(text.take("in: \u{1B}]0;title\u{07}x\u{08}\n".utf8) == ["login: "])
        #expect(text.take("\u{1B}".utf8) == [] && text.take("[2Jclear\n".utf8) == ["clear"], "parts of a sequence")
        #expect(text.take("\u{01}\u{9B}31m\n".utf8) == ["\\u{1}\\u{9b}31m"])
        #expect(text.take([0xFF, 0xFE, 0x0A]) == ["\u{FFFD}\u{FFFD}"])
        #expect(text.take(String(repeating: "y", count: 2500).utf8).map(\.count) == [1000, 1000])
        #expect(text.flush()?.count == 500 && text.flush() == nil)
        var random = SeededRandom(seed: 7)
        for _ in 0..<200 {
            let bytes = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
            for line in text.take(bytes) {
                #expect(line.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) })
            }
        }
    }

    @Test func `times are read as they are written`() throws {
        for text in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-11-24T20:00:01Z", "2000-03-01T12:00:00Z"] {
            #expect(try Timestamp(rfc3339: text).description == text)
        }
        for text in [
            "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01 00:00:00Z", "now", "2026-01-01T24:00:00Z",
        ] {
            #expect(throws: InvalidValue.self, "\(text)") { try Timestamp(rfc3339: text) }
        }
    }
}
