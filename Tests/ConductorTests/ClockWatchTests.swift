import AgentProtocol
import Primitives
import Testing

@testable import ConductorServer

/// When a node's clock is said to be off, and in step again.
@Suite struct ClockWatchTests {
    /// Offsets in milliseconds as reports bring them, and what each of them tells: `.some(nil)` is in step again.
    static let stories: [(name: String, offsets: [Int64], news: [ClockNews?])] = [
        ("in step from the start is told once", [3, -12, 0], [ClockNews(offset: nil), nil, nil]),
        (
            "one report may have been long on its way", [0, 5000, 0, -5000, 0],
            [ClockNews(offset: nil), nil, nil, nil, nil]
        ),
        (
            "two in a row are off, told once", [0, 1500, 1600, 1700],
            [ClockNews(offset: nil), nil, ClockNews(offset: 1600), nil]
        ),
        ("a clock that cannot be", [.min, .min], [nil, ClockNews(offset: .min)]),
        ("off from the start", [-90_000, -90_001], [nil, ClockNews(offset: -90_001)]),
        (
            "between half a second and one nothing changes", [2000, 2000, 999, 501, 499],
            [nil, ClockNews(offset: 2000), nil, nil, ClockNews(offset: nil)]
        ),
        (
            "a report between breaks the row", [0, 1001, 600, 1001, 1001],
            [ClockNews(offset: nil), nil, nil, nil, ClockNews(offset: 1001)]
        ),
        ("a second sharp is not over it", [0, 1000, 1000, -1000], [ClockNews(offset: nil), nil, nil, nil]),
        (
            "it may go off again", [0, 3000, 3000, 0, 3000, 3000],
            [
                ClockNews(offset: nil), nil, ClockNews(offset: 3000), ClockNews(offset: nil), nil,
                ClockNews(offset: 3000),
            ]
        ),
    ]

    @Test func changesAreToldAndNothingElse() {
        for story in Self.stories {
            var watch = ClockWatch()
            #expect(story.offsets.map { watch.take($0) } == story.news, "\(story.name)")
        }
    }

    @Test func eachNodeHasAWatchOfItsOwnThatIsForgottenWithIt() throws {
        let metrics = NodeMetrics()
        let nodes = try ["1", "2"].map { try NodeID("00000000-0000-4000-8000-00000000000" + $0) }
        let now = Timestamp(millisecondsSinceEpoch: 1_795_000_000_000)
        func take(_ node: NodeID, _ ahead: Int64) -> ClockNews? {
            metrics.take(
                MetricsReport(time: now.advanced(by: .milliseconds(ahead)), samples: []), from: node, at: now)
        }
        #expect(take(nodes[0], 2000) == nil)
        #expect(take(nodes[1], 2000) == nil, "the other's report is not the second of the first")
        #expect(take(nodes[0], 2100) == ClockNews(offset: 2100))
        let text = try #require(metrics.text(for: nodes[0], name: "n1", at: now))
        #expect(text.contains("muster_node_clock_offset_seconds{node=\"n1\"} 2.1"))
        metrics.remove(nodes[0])
        #expect(metrics.text(for: nodes[0], name: "n1", at: now) == nil)
        #expect(take(nodes[0], 2000) == nil, "a node that comes anew begins anew")
        #expect(take(nodes[1], 2000) == ClockNews(offset: 2000))
    }
}
