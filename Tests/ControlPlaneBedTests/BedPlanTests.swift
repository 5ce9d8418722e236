import FoundationEssentials
import Testing

@testable import ControlPlaneBed

@Suite struct BedPlanTests {
    @Test func `members vote as those of the controller role do`() throws {
        let golden = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Golden/node/etcd.yaml")
        let role = try String(contentsOf: golden, encoding: .utf8).split(separator: "\n")
        func setting(_ name: String) -> Substring? {
            role.first { $0.hasPrefix("\(name): ") }?.dropFirst(name.count + 2)
        }
        let words = BedPlan(count: 3, root: "/bed", programs: "/programs").etcd("c1")
        for name in ["heartbeat-interval", "election-timeout"] {
            let place = try #require(words.firstIndex(of: "--\(name)"))
            #expect(setting(name) == words[place + 1][...])
        }
        #expect(setting("pre-vote") == "\(words.contains("--pre-vote"))"[...])
    }
}
