import Testing

@testable import ControlPlaneBed

@Suite struct AgentJudgeTests {
    private static let second: Int64 = 1_000_000_000

    private static func line(_ time: Double, _ node: String, _ endpoint: String?) -> AgentJournal.Line {
        AgentJournal.Line(time: Int64(time * 1e9), node: node, endpoint: endpoint)
    }

    /// Two agents at c1, which dies at 10; one is back at 11, the other at 12.5.
    private static let judge = AgentJudge([
        line(1, "a", "c1"), line(2, "b", "c1"), line(10.1, "a", nil), line(10.2, "b", nil), line(11, "a", "c2"),
        line(12.5, "b", "c3"),
    ])

    @Test func `resettling goes from the fault to the last agent's return`() {
        let (fault, end) = (10 * Self.second, 20 * Self.second)
        #expect(Self.judge.resettling(from: fault, to: end) == .init(lost: 2, seconds: 2.5))
        #expect(Self.judge.resettling(from: fault, to: 12 * Self.second) == .init(lost: 2, seconds: nil))
        #expect(Self.judge.resettling(from: 13 * Self.second, to: end) == .init(lost: 0, seconds: 0))
        #expect(Self.judge.resettling(from: 12 * Self.second, to: end) == .init(lost: 0, seconds: 0.5))
        #expect(Self.judge.returns(from: fault) == [1, 2.5])
        #expect(Self.judge.count == 2)
    }

    @Test func `who has had its stream for long and is told to be gone is found, and nobody else`() {
        func gone(_ begun: Double, _ streams: [String: AgentCensus.Stream]) -> [String] {
            Self.judge.wronglyGone(
                AgentCensus(
                    begun: Int64(begun * 1e9), ended: Int64((begun + 0.1) * 1e9), streams: streams))
        }
        #expect(gone(10.5, ["a": .gone, "b": .gone]).isEmpty)
        #expect(gone(15, ["a": .gone, "b": .unknown]).isEmpty)
        #expect(gone(9.5, ["a": .open, "b": .gone]) == ["b"])
        #expect(gone(30, ["a": .gone, "b": .open, "c": .gone]) == ["a"])
        #expect(gone(9.95, ["a": .unknown, "b": .unknown]).isEmpty)
    }
}
